//! How long things took, in buckets.
//!
//! Invariant: every duration observed is in exactly one bucket; recording allocates nothing.

use std::time::Duration;

/// Upper bounds of the buckets, each about 2.5 times the one before.
///
/// From 0.5 ms, a cached page in the same house, to 30 s, the deadline for a server's answer.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// A histogram over [`BOUNDS`] and everything beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were within each bound and above the one before; the last: above all.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Records one duration.
    pub fn observe(&mut self, took: Duration) {
        self.counts[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Adds what another one, such as another worker's, has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all that were recorded.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, `None` for the last, with how many were at most that long.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        let running = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_in_every_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 30_000, 30_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let at_most = |bound| histogram.buckets().find(|&(found, _)| found == bound).map(|(_, count)| count);
        assert_eq!(at_most(Some(Duration::from_micros(500))), Some(1));
        assert_eq!(at_most(Some(Duration::from_millis(1))), Some(2));
        assert_eq!(at_most(Some(Duration::from_secs(30))), Some(4));
        assert_eq!(at_most(None), Some(5));
        assert_eq!(histogram.sum(), Duration::from_millis(60_004));
    }

    #[test]
    fn merged_histograms_hold_what_both_held() {
        let mut both = Histogram::default();
        let mut one = Histogram::default();
        one.observe(Duration::from_secs(1));
        both.merge(&one);
        both.merge(&one);
        assert_eq!((both.count(), both.sum()), (2, Duration::from_secs(2)));
    }
}
