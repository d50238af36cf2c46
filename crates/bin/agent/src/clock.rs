//! The clocks and the entropy that core crates take as arguments.

use std::{
    sync::LazyLock,
    time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH},
};

use evenkeel_fetch::Occasion;
use evenkeel_protocol::Nonce;
use evenkeel_units::{Instant, WallTime};
use evenkeel_update::Moment;

static START: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);

/// Now, by the monotonic clock: since the first call.
pub(crate) fn now() -> Instant {
    Instant::START + START.elapsed()
}

/// Now, by the calendar.
pub(crate) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_seconds(since.as_secs())
}

/// Random bytes of the system.
///
/// # Panics
/// When the system has none: then nothing could be signed either.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random bytes from its start on");
    bytes
}

/// Time and chance for the machine.
pub(crate) fn moment() -> Moment {
    Moment { instant: now(), wall: wall(), random: u64::from_le_bytes(random_bytes()) }
}

/// Time and nonce for a signature.
pub(crate) fn occasion() -> Occasion {
    Occasion { now: wall(), nonce: Nonce(random_bytes()) }
}

/// A wait that doubles at each failure, spread over half of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);

    pub(crate) const fn up_to(longest: Duration) -> Self {
        Self { next: Self::FIRST, longest }
    }

    pub(crate) const fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        let share = f64::from(u16::from_le_bytes(random_bytes())) / f64::from(u16::MAX);
        wait.mul_f64(0.5 + share / 2.0)
    }
}
