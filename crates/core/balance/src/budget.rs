//! How many requests may be tried again.
//!
//! Owns: the count. Invariant: over any stretch of time, further tries are at most the budget's part of the
//! requests that arrived, [`RETRY_FLOOR_PER_SECOND`] for each of its seconds, and what was saved before, so
//! that servers in trouble never see a multiple of the load.

use evenkeel_config::balancer;
use evenkeel_units::Instant;

/// Further tries per second that are always granted, so that a quiet site is tried again too.
pub const RETRY_FLOOR_PER_SECOND: u64 = 10;

/// One further try, in the thousandths in which requests pay in.
const TRY: u64 = 1000;

/// Most that is saved: a tenth of 10 s at 1,000 requests a second, about what fails at once when the server
/// dies that had them all.
const MOST_SAVED: u64 = 1000 * TRY;

/// The floor is filled up to one second's worth.
const FLOOR: u64 = RETRY_FLOOR_PER_SECOND * TRY;

/// Nanoseconds in which the floor gains one thousandth of a try.
const NANOS_PER_MILLI_TRY: u64 = 1_000_000_000 / FLOOR;

/// The tries that one worker may spend on one pool.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    per_request: u64,
    saved: u64,
    filled: Instant,
}

impl RetryBudget {
    /// A budget with the floor of one second in it; a budget of 0 ‰ has no floor either.
    #[must_use]
    pub fn new(settings: &balancer::Retry, now: Instant) -> Self {
        let per_request = u64::from(u16::from(settings.budget));
        Self { per_request, saved: if per_request == 0 { 0 } else { FLOOR }, filled: now }
    }

    /// The budget after a reload: what was saved stays, as far as there is still a budget.
    pub(crate) fn replacing(before: &Self, settings: &balancer::Retry, now: Instant) -> Self {
        let fresh = Self::new(settings, now);
        match fresh.per_request {
            0 => fresh,
            per_request => Self { per_request, ..before.clone() },
        }
    }

    /// A new request pays in.
    pub fn arrived(&mut self) {
        self.saved = (self.saved + self.per_request).min(MOST_SAVED);
    }

    /// Takes one try out of the budget, when it has one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let granted = self.saved >= TRY;
        if granted {
            self.saved -= TRY;
        }
        granted
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.since(self.filled).as_nanos() / u128::from(NANOS_PER_MILLI_TRY);
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        if self.per_request == 0 || gained == 0 {
            return;
        }
        // What is short of a whole thousandth stays on the clock, so that asking often loses nothing.
        self.filled = if gained >= FLOOR {
            now
        } else {
            Instant::from_nanos(self.filled.as_nanos() + gained * NANOS_PER_MILLI_TRY)
        };
        if self.saved < FLOOR {
            self.saved = self.saved.saturating_add(gained).min(FLOOR);
        }
    }
}
