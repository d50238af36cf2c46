//! What a collector's answer means, and how long to wait before it is asked again (OTLP/HTTP, Failures and Throttling).
//!
//! Invariant: the waits of one batch grow and have a bound, whatever the collector asks for.

use core::time::Duration;

/// What is done with spans that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They were taken.
    Taken,
    /// They are sent again, no sooner than the collector asks for.
    Later(Option<Duration>),
    /// They are given up: to send them again would change nothing.
    Refused,
}

impl Verdict {
    /// By the status, and the seconds of the field Retry-After where it has some.
    #[must_use]
    pub fn of(status: u16, retry_after: Option<&str>) -> Self {
        match status {
            200..300 => Self::Taken,
            429 | 502 | 503 | 504 => {
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Self::Later(seconds.map(Duration::from_secs))
            }
            _ => Self::Refused,
        }
    }
}

/// The waits between tries at one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// First wait.
    pub const FIRST: Duration = Duration::from_secs(1);

    /// Longest wait, whatever the collector asks for: what is older than some minutes nobody waits for.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// Tries of one batch: with waits of 1, 2, 4 and 8 s a collector that restarts is waited for.
    pub const MOST_TRIES: u32 = 5;

    /// The wait before the next try, of which `chance` takes away up to a quarter so that many do not come at once;
    /// `None` when there were enough.
    #[must_use]
    pub fn next(&mut self, asked: Option<Duration>, chance: u8) -> Option<Duration> {
        self.tries += 1;
        if self.tries >= Self::MOST_TRIES {
            return None;
        }
        let whole = Self::FIRST * (1 << (self.tries - 1));
        let wait = whole - whole / 4 * u32::from(chance) / 255;
        Some(wait.max(asked.unwrap_or_default()).min(Self::LONGEST))
    }
}
