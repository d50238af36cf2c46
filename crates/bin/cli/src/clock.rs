//! The time, for metadata that is made or judged now.

use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel_units::WallTime;

/// The system's time; a clock before 1970 reads as 1970.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_seconds(since.as_secs())
}
