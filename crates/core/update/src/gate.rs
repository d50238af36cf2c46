//! The health gate: what was seen of a release on trial, into a verdict with its reasons.
//!
//! Owns: the rules. Leaves to others: looking (the agent asks the data plane and the update server) and
//! acting on the verdict (the update machine).
//!
//! A release passes when it was good in several looks in a row. It fails when time is up, or as soon as it
//! is plain that it serves and serves badly: nothing is gained by leaving clients with such a release.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use evenkeel_units::{Instant, PerMille};
use serde::{Deserialize, Serialize};

/// Bad looks in a row, at a release that says it is ready, after which waiting longer is of no use.
///
/// Active health checks need up to 3 probes to settle after a start; twice that.
const PLAINLY_BAD_LOOKS: u32 = 6;

/// Fewest requests from which an error rate or a latency says something: one error among them is 50 ‰.
const FEWEST_REQUESTS: u64 = 20;

/// How far above the baseline the error rate may be: 10 ‰, for a restart cuts connections that clients then retry.
const ERROR_RATE_MARGIN: u64 = 10;

/// How far above the baseline the latency may be: three times, and 50 ms for caches that are still cold.
const LATENCY_FACTOR: u32 = 3;
const LATENCY_MARGIN: Duration = Duration::from_millis(50);

/// Most bytes of an error that are kept as evidence: a line of a terminal, twice.
const ERROR_CHARS: usize = 160;

/// How the gate judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Longest time that a release may take to prove itself, from the agent's start.
    pub deadline: Duration,
    /// Good looks in a row that it needs, at least 1.
    pub rounds: u32,
}

/// What the data plane said of itself since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Servers that are healthy, over all pools.
    pub healthy_servers: u32,
    /// Servers that there are.
    pub servers: u32,
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered with a status of 500 or above.
    pub errors: u64,
    /// Time to answer that half of the requests kept to; none while nobody measured it.
    pub latency: Option<Duration>,
}

/// One look at the box. An `Err` says what was asked and what came instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether the data plane says that it is ready: configuration accepted, listeners bound.
    pub ready: Result<(), String>,
    /// What the data plane counts.
    pub traffic: Result<Traffic, String>,
    /// Requests that we sent through the data plane ourselves.
    pub probes: Probes,
    /// Whether the update server answers, for a release that cannot reach it can never be replaced.
    pub update_server: Result<(), String>,
}

/// Requests that the agent sent through the data plane, and how they went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Probes {
    /// How many were sent.
    pub sent: u32,
    /// How many were answered with a status below 500.
    pub answered: u32,
    /// What came instead, of the first that was not.
    pub failure: Option<String>,
}

/// How the box was before the update, recorded before the restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Servers that were healthy.
    pub healthy_servers: u32,
    /// Share of answers that were errors; none when there were too few requests to say.
    pub error_rate: Option<PerMille>,
    /// Time to answer that half of the requests kept to.
    pub latency: Option<Duration>,
    /// Whether requests through the data plane were answered.
    pub answered: bool,
}

impl Baseline {
    /// The baseline that one look gives, as far as the data plane answered at all.
    #[must_use]
    pub fn of(look: &Look) -> Self {
        let traffic = look.traffic.as_ref().copied().unwrap_or_default();
        Self {
            healthy_servers: traffic.healthy_servers,
            error_rate: error_rate(&traffic),
            latency: traffic.latency.filter(|_| traffic.requests >= FEWEST_REQUESTS),
            answered: look.probes.sent > 0 && look.probes.answered == look.probes.sent,
        }
    }
}

/// Errors in thousandths of requests, rounded up; none when there are too few requests to say.
fn error_rate(traffic: &Traffic) -> Option<PerMille> {
    let rate = (u128::from(traffic.errors) * 1000).div_ceil(u128::from(traffic.requests.max(1)));
    let rate = PerMille::new(u16::try_from(rate).unwrap_or(u16::MAX)).unwrap_or(PerMille::WHOLE);
    (traffic.requests >= FEWEST_REQUESTS).then_some(rate)
}

/// One thing that is wrong with a release on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The data plane is not ready.
    NotReady {
        /// What came instead.
        error: String,
    },
    /// The data plane does not say how it is.
    Silent {
        /// What came instead.
        error: String,
    },
    /// Fewer servers are healthy than before.
    Servers {
        /// Healthy now.
        healthy: u32,
        /// Healthy before the update.
        before: u32,
    },
    /// Requests through the data plane were not answered, or with a status of 500 or above.
    Probes(Probes),
    /// More answers are errors than before.
    ErrorRate {
        /// Now.
        rate: PerMille,
        /// Before the update.
        before: PerMille,
    },
    /// Answers take longer than before.
    Latency {
        /// Now.
        latency: Duration,
        /// Before the update.
        before: Duration,
    },
    /// The update server cannot be reached.
    UpdateServer {
        /// What came instead.
        error: String,
    },
}

impl Reason {
    /// Whether a ready data plane with this fault serves badly, so that the fault will not pass by waiting.
    const fn is_plain(&self) -> bool {
        match self {
            Self::Probes(_) | Self::ErrorRate { .. } | Self::Latency { .. } => true,
            Self::NotReady { .. }
            | Self::Silent { .. }
            | Self::Servers { .. }
            | Self::UpdateServer { .. } => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { error } => write!(f, "the data plane is not ready: {error}"),
            Self::Silent { error } => write!(f, "the data plane does not tell its status: {error}"),
            Self::Servers { healthy, before } => {
                write!(f, "{healthy} servers are healthy; before the update it were {before}")
            }
            Self::Probes(Probes { sent, answered, failure }) => {
                let example = failure.as_deref().unwrap_or("no answer");
                write!(f, "{} of {sent} requests through the data plane failed: {example}", sent - answered)
            }
            Self::ErrorRate { rate, before } => {
                let (rate, before) = (u16::from(*rate), u16::from(*before));
                write!(f, "{rate} ‰ of answers are errors; before the update it were {before} ‰")
            }
            Self::Latency { latency, before } => {
                let (latency, before) = (latency.as_millis(), before.as_millis());
                write!(
                    f,
                    "half of the answers take {latency} ms or more; before the update it were {before} ms"
                )
            }
            Self::UpdateServer { error } => write!(f, "the update server cannot be reached: {error}"),
        }
    }
}

/// What the gate says of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Pass,
    /// Roll it back.
    Fail {
        /// Why, in one sentence.
        reason: String,
        /// What was wrong at the last look, one finding each.
        evidence: Vec<String>,
    },
}

/// The gate of one trial: looks in, at last a verdict out.
#[derive(Debug, Clone)]
pub struct Gate {
    settings: Settings,
    baseline: Option<Baseline>,
    started: Instant,
    good: u32,
    plainly_bad: u32,
}

impl Gate {
    /// A gate that starts now. Without a baseline, servers, error rate and latency are not compared.
    #[must_use]
    pub const fn new(settings: Settings, baseline: Option<Baseline>, now: Instant) -> Self {
        Self { settings, baseline, started: now, good: 0, plainly_bad: 0 }
    }

    /// Takes in one look; the verdict once there is one.
    pub fn handle(&mut self, look: &Look, now: Instant) -> Option<Verdict> {
        let reasons = judge(look, self.baseline.as_ref());
        if reasons.is_empty() {
            self.good += 1;
            self.plainly_bad = 0;
            return (self.good >= self.settings.rounds).then_some(Verdict::Pass);
        }
        self.good = 0;
        let plain = look.ready.is_ok() && reasons.iter().any(Reason::is_plain);
        self.plainly_bad = if plain { self.plainly_bad + 1 } else { 0 };
        let elapsed = now.since(self.started);
        if self.plainly_bad >= PLAINLY_BAD_LOOKS.max(self.settings.rounds) {
            Some(fail(&reasons, &format!("in {} looks in a row", self.plainly_bad)))
        } else if elapsed >= self.settings.deadline {
            Some(fail(&reasons, &format!("still after {} s", elapsed.as_secs())))
        } else {
            None
        }
    }
}

fn fail(reasons: &[Reason], when: &str) -> Verdict {
    let evidence: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    // What is plain comes first: clients that get errors weigh more than a server that is still unknown.
    let first = reasons.iter().position(Reason::is_plain).unwrap_or(0);
    Verdict::Fail { reason: format!("{}, {when}", evidence[first]), evidence }
}

/// Everything that one look shows to be wrong.
#[must_use]
pub fn judge(look: &Look, baseline: Option<&Baseline>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Err(error) = &look.ready {
        reasons.push(Reason::NotReady { error: shortened(error) });
    }
    match (&look.traffic, baseline) {
        (Err(error), _) => reasons.push(Reason::Silent { error: shortened(error) }),
        (Ok(traffic), Some(baseline)) => compare(traffic, baseline, &mut reasons),
        (Ok(_), None) => {}
    }
    let answered_before = baseline.is_none_or(|baseline| baseline.answered);
    if answered_before && look.probes.answered < look.probes.sent {
        reasons.push(Reason::Probes(look.probes.clone()));
    }
    if let Err(error) = &look.update_server {
        reasons.push(Reason::UpdateServer { error: shortened(error) });
    }
    reasons
}

fn compare(traffic: &Traffic, baseline: &Baseline, reasons: &mut Vec<Reason>) {
    if traffic.healthy_servers < baseline.healthy_servers {
        reasons.push(Reason::Servers { healthy: traffic.healthy_servers, before: baseline.healthy_servers });
    }
    if let (Some(rate), Some(before)) = (error_rate(traffic), baseline.error_rate)
        && u64::from(u16::from(rate)) > u64::from(u16::from(before)) + ERROR_RATE_MARGIN
    {
        reasons.push(Reason::ErrorRate { rate, before });
    }
    let measured = traffic.latency.filter(|_| traffic.requests >= FEWEST_REQUESTS);
    if let (Some(latency), Some(before)) = (measured, baseline.latency)
        && latency > before.saturating_mul(LATENCY_FACTOR) + LATENCY_MARGIN
    {
        reasons.push(Reason::Latency { latency, before });
    }
}

fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { deadline: Duration::from_secs(140), rounds: 3 };

    const TRAFFIC: Traffic = Traffic {
        healthy_servers: 3,
        servers: 3,
        requests: 1000,
        errors: 2,
        latency: Some(Duration::from_millis(10)),
    };

    fn good() -> Look {
        Look {
            ready: Ok(()),
            traffic: Ok(TRAFFIC),
            probes: Probes { sent: 5, answered: 5, failure: None },
            update_server: Ok(()),
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    /// The verdict on a release that looks the same every 2 s, and when it came.
    fn verdict_on(look: &Look) -> (Verdict, u64) {
        let mut gate = Gate::new(SETTINGS, Some(Baseline::of(&good())), at(0));
        (0..)
            .map(|round| 2 * round)
            .find_map(|second| gate.handle(look, at(second)).map(|verdict| (verdict, second)))
            .expect("the gate has a deadline")
    }

    #[test]
    fn a_release_as_good_as_the_one_before_passes_after_the_rounds_asked_for() {
        assert_eq!(verdict_on(&good()), (Verdict::Pass, 4));
    }

    #[test]
    fn i4_each_fault_alone_fails_the_release_with_its_own_reason() {
        let bad = |change: fn(&mut Look)| {
            let mut look = good();
            change(&mut look);
            look
        };
        for (look, part) in [
            (bad(|l| l.ready = Err("connection refused".into())), "not ready: connection refused"),
            (bad(|l| l.traffic = Err("no answer in 2 s".into())), "does not tell its status"),
            (bad(|l| l.traffic = Ok(Traffic { healthy_servers: 2, ..TRAFFIC })), "2 servers are healthy"),
            (
                bad(|l| l.probes = Probes { sent: 5, answered: 0, failure: Some("500".into()) }),
                "5 of 5 requests through the data plane failed: 500",
            ),
            (bad(|l| l.traffic = Ok(Traffic { errors: 100, ..TRAFFIC })), "100 ‰ of answers"),
            (
                bad(|l| l.traffic = Ok(Traffic { latency: Some(Duration::from_millis(81)), ..TRAFFIC })),
                "take 81 ms",
            ),
            (bad(|l| l.update_server = Err("no route".into())), "update server cannot be reached: no route"),
        ] {
            let (Verdict::Fail { reason, evidence }, _) = verdict_on(&look) else { panic!("{part}: passed") };
            assert!(reason.contains(part), "{reason}");
            assert_eq!(evidence.len(), 1, "{evidence:?}");
        }
    }

    #[test]
    fn a_release_that_serves_errors_is_not_given_until_the_deadline() {
        let mut look = good();
        look.probes = Probes { sent: 5, answered: 0, failure: Some("status 500".into()) };
        let (_, second) = verdict_on(&look);
        assert_eq!(second, 10, "six looks, two seconds apart");
    }

    #[test]
    fn a_release_that_only_comes_up_slowly_is_given_until_the_deadline() {
        let mut look = good();
        look.ready = Err("starting".into());
        look.probes = Probes { sent: 5, answered: 0, failure: Some("connection refused".into()) };
        assert_eq!(verdict_on(&look).1, 140);
    }

    #[test]
    fn one_bad_look_starts_the_count_of_good_ones_again() {
        let mut gate = Gate::new(SETTINGS, None, at(0));
        let mut bad = good();
        bad.update_server = Err("down".into());
        let looks = [good(), good(), bad, good(), good(), good()];
        let verdicts: Vec<_> = looks.iter().map(|look| gate.handle(look, at(1))).collect();
        assert_eq!(verdicts, [None, None, None, None, None, Some(Verdict::Pass)]);
    }

    #[test]
    fn what_failed_before_the_update_is_not_held_against_it() {
        let mut before = good();
        before.traffic = Ok(Traffic { healthy_servers: 0, requests: 0, ..TRAFFIC });
        before.probes = Probes { sent: 5, answered: 0, failure: Some("status 503".into()) };
        assert_eq!(judge(&before, Some(&Baseline::of(&before))), []);
        assert_ne!(judge(&before, None), []);
    }
}
