//! What one worker knows of one server's health.
//!
//! Owns: the server's standing and the rules by which it alone changes. Leaves to others (`pool`): what
//! depends on the other servers. Invariant: a server that is left out for failures has a time of return.

use core::{num::NonZeroU32, time::Duration};

use evenkeel_config::{Weight, balancer};
use evenkeel_units::{Instant, PerMille};

use crate::Verdict;

/// The share of its weight with which a server that has come back begins.
///
/// A tenth: enough requests to be judged by, few enough to be borne with cold caches.
pub const RAMP_START: PerMille = match PerMille::new(100) {
    Ok(share) => share,
    Err(_) => PerMille::WHOLE,
};

/// Steps of a ramp: what differs by less cannot be told apart in traffic.
const RAMP_STEPS: u32 = 100;

/// Thousandths of a weight of one, so that a ramp has fine steps.
const WEIGHT_SCALE: u32 = 1000;

/// Whether a server may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Yes.
    Usable,
    /// It failed too often in a row and is left out for a while.
    Ejected,
    /// Its checks fail.
    Down,
    /// An operator lets it finish what it has.
    Draining,
}

impl Standing {
    /// A word for metrics and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }
}

/// A server as this worker sees it, for status pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Whether it may be picked.
    pub standing: Standing,
    /// Requests or connections in flight.
    pub active: u32,
    /// Failures in a row.
    pub failures: u32,
    /// When it may be picked again, when it is left out for failures.
    pub ejected_until: Option<Instant>,
    /// How far it has come back after having been out.
    pub share: PerMille,
    /// Its rank by priority and zone; 0 is taken first.
    pub rank: u8,
    /// Whether requests are given to it now.
    pub taken: Taken,
    /// How long its answers take, as far as the last ones tell; zero when nothing is known.
    pub latency: Duration,
    /// Most requests that it may have in flight from this worker now.
    pub limit: NonZeroU32,
}

/// Whether requests are given to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taken {
    /// Yes.
    Yes,
    /// No: it is not usable, or stands by.
    No,
}

/// How far the server is trusted, by its own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It has proven itself.
    Full,
    /// It is left out, for the `times`th time in a row.
    Out { until: Instant, times: u32 },
    /// It came back at `since`; one failure sends it out again, for twice as long.
    Probation { since: Instant, times: u32 },
}

/// An operator's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    In,
    Draining,
}

#[derive(Debug, Clone)]
pub(crate) struct Server {
    weight: u32,
    failures: u32,
    verdict: Verdict,
    service: Service,
    trust: Trust,
    ramp: Option<Instant>,
}

impl Server {
    pub(crate) fn new(weight: Weight) -> Self {
        Self {
            weight: u32::from(weight.as_u16()) * WEIGHT_SCALE,
            failures: 0,
            verdict: Verdict::Up,
            service: Service::In,
            trust: Trust::Full,
            ramp: None,
        }
    }

    /// The health that the same server had before a reload.
    pub(crate) fn adopt(&mut self, before: &Self) {
        self.failures = before.failures;
        self.verdict = before.verdict;
        self.service = before.service;
        self.trust = before.trust;
        self.ramp = before.ramp;
    }

    pub(crate) fn standing(&self) -> Standing {
        match (self.service, self.verdict, self.trust) {
            (Service::Draining, ..) => Standing::Draining,
            (Service::In, Verdict::Down, _) => Standing::Down,
            (Service::In, Verdict::Up, Trust::Out { .. }) => Standing::Ejected,
            (Service::In, Verdict::Up, Trust::Full | Trust::Probation { .. }) => Standing::Usable,
        }
    }

    pub(crate) fn status(&self, now: Instant, slow_start: Duration, active: u32) -> ServerStatus {
        let ejected_until = match self.trust {
            Trust::Out { until, .. } => Some(until),
            Trust::Full | Trust::Probation { .. } => None,
        };
        let (standing, failures) = (self.standing(), self.failures);
        ServerStatus {
            standing,
            active,
            failures,
            ejected_until,
            share: self.share(now, slow_start),
            rank: 0,
            taken: Taken::No,
            latency: Duration::ZERO,
            limit: NonZeroU32::MIN,
        }
    }

    /// The whole weight in thousandths.
    pub(crate) const fn full_weight(&self) -> u32 {
        self.weight
    }

    /// An operator's other weight.
    pub(crate) fn set_weight(&mut self, weight: Weight) {
        self.weight = u32::from(weight.as_u16()) * WEIGHT_SCALE;
    }

    /// The weight at `now` in thousandths, at least 1.
    pub(crate) fn weight(&self, now: Instant, slow_start: Duration) -> u32 {
        let weight = self.share(now, slow_start).of(u64::from(self.weight));
        u32::try_from(weight).unwrap_or(self.weight)
    }

    /// The part of its weight that the server has at `now`.
    fn share(&self, now: Instant, slow_start: Duration) -> PerMille {
        let Some(since) = self.ramp else { return PerMille::WHOLE };
        let passed = now.since(since).as_millis() * 1000;
        let thousandths = passed.checked_div(slow_start.as_millis()).unwrap_or(1000).min(1000);
        let thousandths = u16::try_from(thousandths).unwrap_or(1000);
        PerMille::new(thousandths).unwrap_or(PerMille::WHOLE).max(RAMP_START)
    }

    /// Begins again slowly.
    pub(crate) fn begin_ramp(&mut self, now: Instant) {
        self.ramp = Some(now);
    }

    /// The server answered.
    pub(crate) fn served(&mut self, now: Instant, ejection: &balancer::Ejection) {
        self.failures = 0;
        if let Trust::Probation { since, times } = self.trust
            && now.since(since) >= time_out(times, ejection)
        {
            self.trust = Trust::Full;
        }
    }

    /// The server failed; whether it should now be left out, should the others allow it.
    pub(crate) fn failed(&mut self, ejection: &balancer::Ejection) -> bool {
        self.failures = self.failures.saturating_add(1);
        match self.trust {
            Trust::Full => self.failures >= ejection.consecutive_failures.get(),
            Trust::Probation { .. } => true,
            Trust::Out { .. } => false,
        }
    }

    /// Leaves the server out; the time of its return.
    pub(crate) fn eject(&mut self, now: Instant, ejection: &balancer::Ejection) -> Instant {
        let times = match self.trust {
            Trust::Full => 1,
            Trust::Out { times, .. } | Trust::Probation { times, .. } => times.saturating_add(1),
        };
        let until = now + time_out(times, ejection);
        self.trust = Trust::Out { until, times };
        until
    }

    /// Whether the server is left out for failures, whatever else is wrong with it.
    pub(crate) const fn is_out(&self) -> bool {
        matches!(self.trust, Trust::Out { .. })
    }

    /// Lets the server return when its time is over; whether it did.
    pub(crate) fn try_return(&mut self, now: Instant) -> bool {
        let Trust::Out { until, times } = self.trust else { return false };
        let over = until <= now;
        if over {
            self.failures = 0;
            self.trust = Trust::Probation { since: now, times };
        }
        over
    }

    /// Ends the ramp when it is over; the time of its next step when it is not.
    pub(crate) fn next_step(&mut self, now: Instant, slow_start: Duration) -> Option<Instant> {
        let end = self.ramp? + slow_start;
        if end <= now {
            self.ramp = None;
            return None;
        }
        Some(end.min(now + slow_start / RAMP_STEPS))
    }

    /// When the server returns, when it is left out for failures.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self.trust {
            Trust::Out { until, .. } => Some(until),
            Trust::Full | Trust::Probation { .. } => None,
        }
    }

    /// Takes in what checks say; whether that is news. Checks that pass again clear what failures left.
    pub(crate) fn set_verdict(&mut self, verdict: Verdict) -> bool {
        let news = self.verdict != verdict;
        self.verdict = verdict;
        if news && verdict == Verdict::Up {
            self.failures = 0;
            self.trust = Trust::Full;
        }
        news
    }

    /// Whether the server drains and nothing else is wrong with it.
    pub(crate) fn drains_well(&self) -> bool {
        self.service == Service::Draining && self.verdict == Verdict::Up && !self.is_out()
    }

    pub(crate) fn drain(&mut self) {
        self.service = Service::Draining;
    }

    /// Takes the server into service again; whether it was not.
    pub(crate) fn resume(&mut self) -> bool {
        let news = self.service == Service::Draining;
        self.service = Service::In;
        news
    }
}

/// How long a server is left out the `times`th time in a row, `times` counted from 1.
fn time_out(times: u32, ejection: &balancer::Ejection) -> Duration {
    let doubled = 2u32.saturating_pow(times.saturating_sub(1));
    ejection.base_time.saturating_mul(doubled).min(ejection.max_time)
}
