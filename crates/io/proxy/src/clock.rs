//! The monotonic clock as the core crates see it.

use evenkeel_units::Instant;
use nix::time::{ClockId, clock_gettime};

/// Reads the monotonic clock; copies agree, for they count from the same start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start_nanos: u64,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start_nanos: monotonic_nanos() }
    }

    /// The time now.
    pub(crate) fn now(self) -> Instant {
        Instant::from_nanos(monotonic_nanos().saturating_sub(self.start_nanos))
    }
}

/// Nanoseconds since the machine started, asked for in the form in which they are used: `std::time::Instant` works in
/// seconds and parts, which costs more than reading the clock.
fn monotonic_nanos() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has a monotonic clock");
    let nanos = |part: i64| u64::try_from(part).unwrap_or_default();
    nanos(time.tv_sec()) * 1_000_000_000 + nanos(time.tv_nsec())
}
