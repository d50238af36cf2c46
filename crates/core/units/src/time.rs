//! Points in time: monotonic, and of the calendar.

use alloc::string::String;
use core::{fmt, ops, str::FromStr, time::Duration};

/// A point on a monotonic clock, in nanoseconds since a start that only the reader of the clock knows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const START: Self = Self(0);

    /// The point `nanoseconds` after the start of the clock.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the start of the clock.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the clock, 584 years after its start.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A point in calendar time: whole seconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC with `Z`.
///
/// The years 1970 to 9999 can be written; that is the range which TUF's `expires` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

const SECONDS_PER_DAY: u64 = 86_400;

impl WallTime {
    /// The point `seconds` after 1970-01-01T00:00:00Z; held at the end of the year 9999.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(if seconds > LAST_SECOND { LAST_SECOND } else { seconds })
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for WallTime {
    type Output = Self;

    /// Whole seconds only; held at the end of the year 9999.
    fn add(self, duration: Duration) -> Self {
        Self::from_unix_seconds(self.0.saturating_add(duration.as_secs()))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / SECONDS_PER_DAY);
        let second = self.0 % SECONDS_PER_DAY;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
    }
}

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a time; expected UTC in RFC 3339 such as `2026-12-18T23:59:00Z`")]
pub struct WallTimeError {
    got: String,
}

impl FromStr for WallTime {
    type Err = WallTimeError;

    fn from_str(text: &str) -> Result<Self, WallTimeError> {
        let time = parse(text).ok_or_else(|| WallTimeError { got: text.chars().take(40).collect() })?;
        Ok(time)
    }
}

fn parse(text: &str) -> Option<WallTime> {
    let bytes = text.as_bytes();
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if bytes.len() != 20 || punctuation.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let number = |range: ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0, |sum: u64, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let valid = year >= 1970 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !valid || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Some(WallTime(seconds))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let months: u64 = (1..month).map(|m| days_in_month(year, m)).sum();
    days_before_year(year) - days_before_year(1970) + months + day - 1
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // 146,097 days make 400 Gregorian years, so this guess is the year itself or the one before.
    let mut year = 1970 + days * 400 / 146_097;
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    while days_from_civil(year, 1, 1) > days {
        year -= 1;
    }
    let mut rest = days - days_from_civil(year, 1, 1);
    let mut month = 1;
    while rest >= days_in_month(year, month) {
        rest -= days_in_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

serde_as_text!(WallTime);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_points_of_the_calendar_are_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_364_399, "2026-11-22T16:19:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(WallTime(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(WallTime(seconds)));
        }
    }

    #[test]
    fn what_the_calendar_does_not_have_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00z",
            "2026-01-01T00:00:00+00:00",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<WallTime>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_second_reads_back_what_it_wrote(seconds in 0..=LAST_SECOND) {
            let time = WallTime::from_unix_seconds(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn time_never_runs_backwards_or_over() {
        let early = Instant::from_nanos(5);
        let late = early + Duration::from_nanos(7);
        assert_eq!(late.since(early), Duration::from_nanos(7));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!((late + Duration::MAX).as_nanos(), u64::MAX);
    }
}
