//! What the rounds say: medians and ratios.
//!
//! Owns: the arithmetic. The ratios are of CPU per request, ours divided by the peer's, between the medians over the
//! rounds: below 1 we need less. Leaves the tables to `table`.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Error, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    load::Load,
    rounds::Plan,
    scenario::{Against, Mark, Scenario},
};

/// What we are called in a report.
pub(crate) const OURS: &str = "evenkeel";

/// One proxy under load once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Round {
    requests: u64,
    errors: u64,
    cpu_us_per_request: f64,
    user_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

impl Round {
    /// From the growth of the proxy's CPU time, all of it and in programs, and what the load generator saw.
    #[allow(clippy::cast_precision_loss, reason = "requests of a round are far below 2^52")]
    pub(crate) fn new(cpu: Duration, user: Duration, load: &Load) -> Self {
        Self {
            requests: load.requests,
            errors: load.errors,
            cpu_us_per_request: microseconds(cpu) / load.requests as f64,
            user_us_per_request: microseconds(user) / load.requests as f64,
            requests_per_second: load.per_second,
            p50_us: load.p50_us,
            p99_us: load.p99_us,
            p999_us: load.p999_us,
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_us_per_request, user_us_per_request, requests_per_second, errors, .. } = self;
        write!(
            f,
            "{cpu_us_per_request:8.2} µs CPU a request ({user_us_per_request:.2} in the program), \
             {requests_per_second:8.0} requests/s, {errors} errors"
        )
    }
}

/// The medians over one proxy's rounds, and what was measured beside them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// What the program says of itself.
    pub(crate) version: String,
    /// Why there are no figures.
    pub(crate) left_out: Option<String>,
    /// In programs and in the kernel.
    pub(crate) cpu_us_per_request: f64,
    /// In programs alone.
    pub(crate) user_us_per_request: f64,
    /// Answers a second.
    pub(crate) requests_per_second: f64,
    /// Half of the answers came within this time.
    pub(crate) p50_us: f64,
    /// All but one in a hundred came within this time.
    pub(crate) p99_us: f64,
    /// All but one in a thousand came within this time.
    pub(crate) p999_us: f64,
    /// The most memory at once.
    pub(crate) peak_rss_bytes: u64,
    /// Growth of the memory by each idle connection.
    pub(crate) idle_bytes_per_connection: Option<u64>,
    /// Idle connections that were not kept until the end.
    pub(crate) lost_idle: u32,
    /// Counted by strace.
    pub(crate) system_calls_per_request: Option<f64>,
    /// Over all rounds.
    pub(crate) requests: u64,
    /// Over all rounds.
    pub(crate) errors: u64,
    rounds: Vec<Round>,
}

impl Figures {
    fn add(&mut self, round: Round) {
        self.requests += round.requests;
        self.errors += round.errors;
        self.rounds.push(round);
        let of = |figure: fn(&Round) -> f64| median(self.rounds.iter().map(figure).collect());
        self.cpu_us_per_request = of(|round| round.cpu_us_per_request);
        self.user_us_per_request = of(|round| round.user_us_per_request);
        self.requests_per_second = of(|round| round.requests_per_second);
        self.p50_us = of(|round| round.p50_us);
        self.p99_us = of(|round| round.p99_us);
        self.p999_us = of(|round| round.p999_us);
    }
}

/// Everything a run of one scenario has shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The kind of traffic.
    pub(crate) scenario: Scenario,
    /// Client connections with traffic.
    pub(crate) connections: u32,
    /// Length of a round.
    pub(crate) seconds_per_round: u64,
    /// Rounds of each proxy.
    pub(crate) rounds: u32,
    ratio_to_haproxy: Option<f64>,
    ratio_to_nginx: Option<f64>,
    ratio_to_best: Option<f64>,
    /// Figures by name.
    pub(crate) proxies: BTreeMap<String, Figures>,
}

impl Report {
    /// A report without rounds.
    pub(crate) const fn new(plan: &Plan) -> Self {
        Self {
            scenario: plan.scenario,
            connections: plan.connections,
            seconds_per_round: plan.length.as_secs(),
            rounds: plan.rounds,
            ratio_to_haproxy: None,
            ratio_to_nginx: None,
            ratio_to_best: None,
            proxies: BTreeMap::new(),
        }
    }

    /// Adds a round of a proxy.
    pub(crate) fn add(&mut self, proxy: &str, round: Round) {
        self.figures(proxy).add(round);
        self.ratio_to_haproxy = self.ratio_to("haproxy");
        self.ratio_to_nginx = self.ratio_to("nginx");
        self.ratio_to_best = self.ratio(Against::Best);
    }

    fn figures(&mut self, proxy: &str) -> &mut Figures {
        self.proxies.entry(proxy.to_owned()).or_default()
    }

    /// Notes a proxy's version.
    pub(crate) fn set_version(&mut self, proxy: &str, version: String) {
        self.figures(proxy).version = version;
    }

    /// Notes why a proxy has no figures.
    pub(crate) fn leave_out(&mut self, proxy: &str, error: &Error) {
        // What a program says last is what it failed for.
        let text = format!("{error:#}");
        let reason = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        self.figures(proxy).left_out = Some(reason.trim().to_owned());
    }

    /// Notes the most memory that a proxy has had.
    pub(crate) fn set_peak_memory(&mut self, proxy: &str, bytes: u64) {
        self.figures(proxy).peak_rss_bytes = bytes;
    }

    /// Notes what each idle connection needs.
    pub(crate) fn set_idle_memory(&mut self, proxy: &str, bytes: u64) {
        self.figures(proxy).idle_bytes_per_connection = Some(bytes);
    }

    /// Notes how many idle connections were gone in the end.
    pub(crate) fn set_lost_idle(&mut self, proxy: &str, connections: u32) {
        self.figures(proxy).lost_idle = connections;
    }

    /// Notes the system calls of each request.
    pub(crate) fn set_system_calls(&mut self, proxy: &str, calls: f64) {
        self.figures(proxy).system_calls_per_request = Some(calls);
    }

    /// CPU per request of a proxy that was measured.
    fn cpu(&self, proxy: &str) -> Option<f64> {
        let figures = self.proxies.get(proxy)?;
        (figures.requests > 0).then_some(figures.cpu_us_per_request)
    }

    /// Our CPU per request divided by a proxy's.
    pub(crate) fn ratio_to(&self, proxy: &str) -> Option<f64> {
        Some(self.cpu(OURS)? / self.cpu(proxy)?)
    }

    /// Our CPU per request divided by what it is compared with.
    pub(crate) fn ratio(&self, against: Against) -> Option<f64> {
        match against {
            Against::Peer(peer) => self.ratio_to(peer),
            Against::Best => {
                let peers = self.proxies.keys().filter(|name| *name != OURS);
                peers.filter_map(|peer| self.ratio_to(peer)).reduce(f64::max)
            }
        }
    }

    /// Whether a mark is kept, where that can be told.
    pub(crate) fn keeps(&self, mark: Mark) -> Option<bool> {
        Some(self.ratio(mark.against)? <= f64::from(mark.per_mille) / 1e3)
    }

    /// A run with a failed request measured something else than it meant to.
    ///
    /// # Errors
    /// When a proxy failed a request, was not measured, or did not keep an idle connection.
    pub(crate) fn check(&self) -> Result<()> {
        let scenario = self.scenario;
        for (name, figures) in &self.proxies {
            let Figures { errors, requests, left_out, lost_idle, .. } = figures;
            ensure!(
                *errors == 0,
                "{scenario}: {errors} of {requests} requests of {name} failed; the figures mean nothing"
            );
            ensure!(*lost_idle == 0, "{scenario}: {name} did not keep {lost_idle} idle connections");
            if let Some(reason) = left_out {
                anyhow::bail!("{scenario}: {name} was not measured: {reason}");
            }
        }
        Ok(())
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The middle value, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    values.get(low..=high).map_or(f64::NAN, |middle| middle.iter().sum::<f64>() / (high - low + 1) as f64)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of rounds with so many µs of CPU and so many failed requests.
    pub(crate) fn report(scenario: Scenario, rounds: &[(&str, u64, u64)]) -> Report {
        let plan =
            Plan { scenario, rounds: 1, length: Duration::from_secs(4), connections: 256, kinds: Vec::new() };
        let mut report = Report::new(&plan);
        for (proxy, microseconds, errors) in rounds {
            let load = Load {
                requests: 1000,
                errors: *errors,
                received_bytes: 1_024_000,
                per_second: 250.0,
                p50_us: 1e3,
                p99_us: 2e3,
                p999_us: 3e3,
            };
            let cpu = Duration::from_millis(*microseconds);
            report.add(proxy, Round::new(cpu, cpu / 4, &load));
        }
        report
    }

    #[test]
    fn ratios_compare_medians() {
        let report = report(
            Scenario::Keepalive,
            &[(OURS, 15, 0), ("haproxy", 20, 0), (OURS, 90, 0), ("haproxy", 30, 0), (OURS, 5, 0)],
        );
        assert_eq!(report.ratio_to_haproxy, Some(15.0 / 25.0));
        assert_eq!(report.ratio_to_nginx, None);
        assert_eq!(report.proxies[OURS].user_us_per_request, 3.75);
    }

    #[test]
    fn the_best_peer_is_the_one_that_needs_least() {
        let report = report(Scenario::NewConnection, &[(OURS, 15, 0), ("haproxy", 20, 0), ("nginx", 30, 0)]);
        assert_eq!(report.ratio_to_best, Some(0.75));
        let best = |per_mille| Mark { against: Against::Best, per_mille };
        assert_eq!(report.keeps(best(750)), Some(true));
        assert_eq!(report.keeps(best(749)), Some(false));
        assert_eq!(report.keeps(Mark { against: Against::Peer("envoy"), per_mille: 1 }), None);
    }

    #[test]
    fn the_json_object_carries_ratios_and_figures() {
        let report = report(Scenario::Body1M, &[(OURS, 15, 0), ("haproxy", 20, 0), ("nginx", 30, 0)]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ratio_to_haproxy"], 0.75);
        assert_eq!(json["ratio_to_nginx"], 0.5);
        assert_eq!(json["proxies"]["nginx"]["cpu_us_per_request"], 30.0);
        assert_eq!(json["scenario"], "body-1m");
        let again: Report = serde_json::from_value(json).unwrap();
        assert_eq!(again.proxies["nginx"].requests, 1000);
    }

    #[test]
    fn a_single_failed_request_or_lost_connection_fails_the_run() {
        assert!(report(Scenario::Keepalive, &[(OURS, 15, 0)]).check().is_ok());
        assert!(report(Scenario::Keepalive, &[(OURS, 15, 1)]).check().is_err());
        let mut lost = report(Scenario::Idle(10_000), &[(OURS, 15, 0)]);
        lost.set_lost_idle(OURS, 1);
        assert!(lost.check().is_err());
    }

    #[test]
    fn a_proxy_that_could_not_be_measured_has_no_ratio_and_fails_the_run() {
        let mut report = report(Scenario::Tls, &[("haproxy", 20, 0)]);
        report.leave_out(OURS, &anyhow::anyhow!("it ended at once:\na warning\nit does not start\n"));
        assert_eq!(report.ratio(Against::Best), None);
        let said = report.check().unwrap_err().to_string();
        assert_eq!(said, "tls: evenkeel was not measured: it does not start");
    }
}
