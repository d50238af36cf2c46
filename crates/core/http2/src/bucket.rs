//! How often something may happen: so much at once, and so much more with time or by merit.
//!
//! Invariant: from the beginning on at most the burst, what the time refills and what was earned happen; over any later
//! stretch of time at most the burst once more, for a bucket is refilled only when it is empty.

use evenkeel_units::Instant;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How often at once.
    pub burst: u32,
    /// How often in each second after that.
    pub per_second: u32,
}

/// What is left of an allowance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// In thousandths.
    left: u64,
    filled: Instant,
}

/// One time, in the thousandths in which time refills.
const ONCE: u64 = 1000;

impl Bucket {
    pub(crate) const fn full(allowance: Allowance, now: Instant) -> Self {
        Self { left: allowance.burst as u64 * ONCE, filled: now }
    }

    /// Something was earned; never beyond the burst.
    pub(crate) fn earn(&mut self, allowance: Allowance, times: u32) {
        self.left = (self.left + u64::from(times) * ONCE).min(u64::from(allowance.burst) * ONCE);
    }

    /// It happens; whether it may.
    pub(crate) fn take(&mut self, allowance: Allowance, now: Instant) -> bool {
        if self.left < ONCE {
            self.fill(allowance, now);
        }
        let granted = self.left >= ONCE;
        self.left = self.left.saturating_sub(ONCE);
        granted
    }

    /// Refilled only when empty, so that the common case reads no clock and divides nothing. Who saves half of a burst
    /// for an hour has it and a whole one then; never more than that.
    fn fill(&mut self, allowance: Allowance, now: Instant) {
        let millis = u64::try_from(now.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(u64::from(allowance.per_second));
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(u64::from(allowance.burst) * ONCE);
            self.filled = now;
        }
    }
}
