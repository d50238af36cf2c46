//! What the rounds say: medians, ratios, a table and a JSON object.
//!
//! Owns: the arithmetic. The ratios are of CPU per request, ours divided by the peer's, between the medians over the
//! rounds: below 1 we need less.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{load::Load, rounds::Plan, scenario::Scenario};

/// One proxy under load once.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    requests: u64,
    errors: u64,
    cpu_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Round {
    /// From the growth of the proxy's CPU time and what the load generator saw.
    #[allow(clippy::cast_precision_loss, reason = "requests of a round are far below 2^52")]
    pub(crate) fn new(cpu: Duration, load: &Load) -> Self {
        Self {
            requests: load.requests,
            errors: load.errors,
            cpu_us_per_request: microseconds(cpu) / load.requests as f64,
            requests_per_second: load.per_second,
            p50_us: microseconds(load.median),
            p99_us: microseconds(load.p99),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_us_per_request, requests_per_second, errors, .. } = self;
        write!(
            f,
            "{cpu_us_per_request:8.2} µs CPU a request, {requests_per_second:8.0} requests/s, {errors} errors"
        )
    }
}

/// The medians over one proxy's rounds.
#[derive(Debug, Clone, Default, Serialize)]
struct Figures {
    cpu_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    peak_rss_bytes: u64,
    requests: u64,
    errors: u64,
    rounds: Vec<Round>,
}

impl Figures {
    fn add(&mut self, round: Round) {
        self.requests += round.requests;
        self.errors += round.errors;
        self.rounds.push(round);
        let of = |figure: fn(&Round) -> f64| median(self.rounds.iter().map(figure).collect());
        self.cpu_us_per_request = of(|round| round.cpu_us_per_request);
        self.requests_per_second = of(|round| round.requests_per_second);
        self.p50_us = of(|round| round.p50_us);
        self.p99_us = of(|round| round.p99_us);
    }
}

/// Everything a run has shown.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: Scenario,
    connections: u32,
    seconds_per_round: u64,
    ratio_to_haproxy: Option<f64>,
    ratio_to_nginx: Option<f64>,
    proxies: BTreeMap<&'static str, Figures>,
}

impl Report {
    /// A report without rounds.
    pub(crate) const fn new(plan: &Plan) -> Self {
        Self {
            scenario: plan.scenario,
            connections: plan.connections,
            seconds_per_round: plan.length.as_secs(),
            ratio_to_haproxy: None,
            ratio_to_nginx: None,
            proxies: BTreeMap::new(),
        }
    }

    /// Adds a round of a proxy.
    pub(crate) fn add(&mut self, proxy: &'static str, round: Round) {
        self.proxies.entry(proxy).or_default().add(round);
        self.ratio_to_haproxy = self.ratio_to("haproxy");
        self.ratio_to_nginx = self.ratio_to("nginx");
    }

    /// Notes the most memory that a proxy has had.
    pub(crate) fn set_peak_memory(&mut self, proxy: &'static str, bytes: u64) {
        self.proxies.entry(proxy).or_default().peak_rss_bytes = bytes;
    }

    /// Our CPU per request divided by a peer's.
    fn ratio_to(&self, peer: &str) -> Option<f64> {
        Some(self.proxies.get("evenkeel")?.cpu_us_per_request / self.proxies.get(peer)?.cpu_us_per_request)
    }

    /// The medians as a table in Markdown.
    #[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "\n| proxy | CPU µs per request | ours / its | requests/s | p50 ms | p99 ms | peak RSS MiB | errors |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for (name, figures) in &self.proxies {
            let ratio = self.ratio_to(name).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            table += &format!(
                "| {name} | {:.1} | {ratio} | {:.0} | {:.2} | {:.2} | {:.1} | {} |\n",
                figures.cpu_us_per_request,
                figures.requests_per_second,
                figures.p50_us / 1e3,
                figures.p99_us / 1e3,
                figures.peak_rss_bytes as f64 / f64::from(1 << 20),
                figures.errors,
            );
        }
        table
    }

    /// A run with a failed request measured something else than it meant to.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, figures) in &self.proxies {
            let Figures { errors, requests, .. } = figures;
            ensure!(*errors == 0, "{name}: {errors} of {requests} requests failed; the figures mean nothing");
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
mod tests {
    use super::*;

    fn report(rounds: &[(&'static str, u64, u64)]) -> Report {
        let plan = Plan {
            scenario: Scenario::Keepalive,
            rounds: 1,
            length: Duration::from_secs(4),
            connections: 256,
            evenkeel: None,
        };
        let mut report = Report::new(&plan);
        for (proxy, microseconds, errors) in rounds {
            let time = Duration::from_millis(1);
            let load = Load { requests: 1000, errors: *errors, per_second: 250.0, median: time, p99: time };
            report.add(proxy, Round::new(Duration::from_millis(*microseconds), &load));
        }
        report
    }

    #[test]
    fn ratios_compare_medians() {
        let report = report(&[
            ("evenkeel", 15, 0),
            ("haproxy", 20, 0),
            ("evenkeel", 90, 0),
            ("haproxy", 30, 0),
            ("evenkeel", 5, 0),
        ]);
        assert_eq!(report.ratio_to_haproxy, Some(15.0 / 25.0));
        assert_eq!(report.ratio_to_nginx, None);
        assert!(report.table().contains("| evenkeel | 15.0 | 1.00 |"), "{}", report.table());
    }

    #[test]
    fn the_json_object_carries_ratios_and_figures() {
        let report = report(&[("evenkeel", 15, 0), ("haproxy", 20, 0), ("nginx", 30, 0)]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ratio_to_haproxy"], 0.75);
        assert_eq!(json["ratio_to_nginx"], 0.5);
        assert_eq!(json["proxies"]["nginx"]["cpu_us_per_request"], 30.0);
        assert_eq!(json["scenario"], "keepalive");
    }

    #[test]
    fn a_single_failed_request_fails_the_run() {
        assert!(report(&[("evenkeel", 15, 0)]).check().is_ok());
        assert!(report(&[("evenkeel", 15, 1)]).check().is_err());
    }
}
