//! Ranges with their default, and how durations are written.
//!
//! Owns: the form of a duration in text, and the sentence that a range becomes in an error. Leaves to
//! others: which range a key has. Invariant: a default lies within its range (checked at compile time).

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::time::Duration;

/// What a whole number may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) default: u64,
}

impl Count {
    /// From `least` to `most`, both included, and `default` when the key is not there.
    pub(crate) const fn new(least: u64, default: u64, most: u64) -> Self {
        assert!(least <= default && default <= most, "the default lies within the range");
        Self { least, most, default }
    }

    /// The range as a sentence's object.
    pub(crate) fn expected(self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }
}

/// What a duration may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
    pub(crate) default: Duration,
}

impl Span {
    /// From `least` to `most`, both included, and `default` when the key is not there.
    pub(crate) const fn new(least: Duration, default: Duration, most: Duration) -> Self {
        assert!(
            least.as_millis() <= default.as_millis() && default.as_millis() <= most.as_millis(),
            "the default lies within the range"
        );
        Self { least, most, default }
    }

    /// The range as a sentence's object.
    pub(crate) fn expected(self) -> String {
        format!("a duration from \"{}\" to \"{}\"", written(self.least), written(self.most))
    }
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) const fn mins(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub(crate) const fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}

/// Units of durations with their milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A duration from text such as `250ms`, `5s`, `2m`, `1h`: one whole number and one unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.into_iter().find(|&(name, _)| name == unit.trim_start_matches(' '))?;
    number.parse::<u64>().ok()?.checked_mul(scale).map(Duration::from_millis)
}

/// A duration in the largest unit that holds it whole; what [`duration`] reads back.
pub(crate) fn written(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UNITS
        .into_iter()
        .find(|&(_, scale)| total > 0 && total.is_multiple_of(scale))
        .map_or_else(|| "0s".to_string(), |(name, scale)| format!("{}{name}", total / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_one_number_and_one_unit() {
        for (text, millis) in
            [("250ms", Some(250)), ("5s", Some(5000)), ("2m", Some(120_000)), ("1 h", Some(3_600_000))]
        {
            assert_eq!(duration(text), millis.map(ms), "{text}");
        }
        for text in
            ["", "5", "s", "-5s", "1.5s", "5sec", "5s5s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit_and_reads_back() {
        for (millis, text) in [(0, "0s"), (1500, "1500ms"), (90_000, "90s"), (7_200_000, "2h")] {
            assert_eq!(written(ms(millis)), text);
            assert_eq!(duration(text), Some(ms(millis)));
        }
    }
}
