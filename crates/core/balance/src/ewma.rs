//! How long a server takes to answer, as far as its last answers tell.
//!
//! Owns: the average that follows rises at once and forgets them slowly (peak-EWMA, as Finagle has it). Invariant:
//! without answers it falls to zero, so that a server that was slow once is asked again.

use core::time::Duration;

use evenkeel_units::Instant;

/// In about this time half of a difference is forgotten.
///
/// Finagle forgets to 1/e in 10 s, which is half in 7 s; a server that was slow is asked again a little sooner.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// The average of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ewma {
    nanos: u64,
    at: Instant,
}

impl Ewma {
    /// Of a server that has not answered yet.
    pub(crate) const UNKNOWN: Self = Self { nanos: 0, at: Instant::START };

    /// An answer took so long.
    pub(crate) fn observe(&mut self, now: Instant, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let above = self.nanos.saturating_sub(took);
        self.nanos = took + halved(above, now.since(self.at));
        self.at = self.at.max(now);
    }

    /// The average at `now`; zero when nothing is known.
    pub(crate) fn value(&self, now: Instant) -> Duration {
        Duration::from_nanos(halved(self.nanos, now.since(self.at)))
    }
}

/// What is left of `value` after `passed`: half for each [`HALF_LIFE`], between two in a straight line.
fn halved(value: u64, passed: Duration) -> u64 {
    let half_life = HALF_LIFE.as_nanos() as u64;
    let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
    let whole = value.checked_shr(u32::try_from(passed / half_life).unwrap_or(u32::MAX)).unwrap_or(0);
    // In 2^16ths, so that nothing wider than 64 bits is divided: five seconds are below 2^33 ns.
    let lost = ((passed % half_life) << 16) / (2 * half_life);
    whole - ((whole >> 16) * lost + (((whole & 0xFFFF) * lost) >> 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_rise_is_followed_at_once_and_forgotten_by_half_every_five_seconds() {
        let mut ewma = Ewma::UNKNOWN;
        assert_eq!(ewma.value(at(0)), Duration::ZERO);
        ewma.observe(at(0), Duration::from_millis(20));
        ewma.observe(at(1), Duration::from_secs(2));
        assert_eq!(ewma.value(at(1)), Duration::from_secs(2));
        assert_eq!(ewma.value(at(6)), Duration::from_secs(1));
        ewma.observe(at(6), Duration::from_millis(20));
        assert_eq!(ewma.value(at(6)), Duration::from_millis(20 + 990));
        assert_eq!(ewma.value(at(1000)), Duration::ZERO);
    }
}
