//! How long answers took, counted finely enough for a median.
//!
//! Owns: buckets of a quarter of an octave, so that what is read off is at most a fifth too much. Invariant: like all
//! counters of a worker, they have one writer.

use std::{array, time::Duration};

use crate::shared::Count;

/// Buckets for each doubling.
const PER_OCTAVE: u32 = 4;

/// 1 µs to 2^32 µs, over an hour: longer than any deadline lets an answer take.
const BUCKETS: usize = 32 * PER_OCTAVE as usize;

/// A count for each bucket, and the sum of all times.
#[derive(Debug)]
pub(crate) struct Latency([Count; BUCKETS], Count);

impl Default for Latency {
    fn default() -> Self {
        Self(array::from_fn(|_| Count::default()), Count::default())
    }
}

/// The octaves whose upper bounds are shown: 2^9 µs, about half a millisecond, to 2^25 µs, about 34 s, beyond the deadline
/// for a server's answer. With powers of two each finer bucket lies wholly on one side of every bound.
const SHOWN: std::ops::RangeInclusive<u32> = 9..=25;

impl Latency {
    /// An answer took this long.
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].up();
        self.1.add(micros);
    }

    /// A histogram over the answers in all `parts`: each bound, `None` for the last, with how many kept to it; and the sum.
    pub(crate) fn histogram(parts: &[&Self]) -> (Vec<(Option<Duration>, u64)>, Duration) {
        let in_bucket = |at: usize| parts.iter().map(|part| part.0[at].value()).sum::<u64>();
        let (mut seen, mut next, mut rows) = (0, 0, Vec::new());
        for octave in SHOWN {
            let end = octave as usize * PER_OCTAVE as usize;
            seen += (next..end).map(in_bucket).sum::<u64>();
            next = end;
            rows.push((Some(Duration::from_micros(1 << octave)), seen));
        }
        seen += (next..BUCKETS).map(in_bucket).sum::<u64>();
        rows.push((None, seen));
        let sum = parts.iter().map(|part| part.1.value()).fold(0_u64, u64::wrapping_add);
        (rows, Duration::from_micros(sum))
    }

    /// The time in µs that half of all the answers in `parts` kept to; `None` when there are none.
    pub(crate) fn median_us<'a>(parts: &(impl Iterator<Item = &'a Self> + Clone)) -> Option<u64> {
        let in_bucket = |at: usize| parts.clone().map(|part| part.0[at].value()).sum::<u64>();
        let total: u64 = (0..BUCKETS).map(in_bucket).sum();
        let mut seen = 0;
        (0..BUCKETS)
            .find(|&at| {
                seen += in_bucket(at);
                total > 0 && seen * 2 >= total
            })
            .map(bound)
    }
}

/// The bucket of so many microseconds.
fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let octave = micros.ilog2();
    // The two bits below the highest one.
    let quarter = if octave >= 2 { micros >> (octave - 2) & 3 } else { micros << (2 - octave) & 3 };
    (octave as usize * PER_OCTAVE as usize + quarter as usize).min(BUCKETS - 1)
}

/// The first number of microseconds above a bucket.
fn bound(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / PER_OCTAVE as usize, bucket as u64 % u64::from(PER_OCTAVE));
    ((5 + quarter) << octave).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_just_below_the_bound_of_its_bucket() {
        for micros in [4, 5, 7, 8, 900, 1000, 1024, 123_456, 1 << 31] {
            let bound = bound(bucket(micros));
            assert!(micros < bound && bound * 4 <= micros * 5 + 4, "{micros} in {bound}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_histogram_counts_each_answer_in_every_bucket_that_holds_it() {
        let (a, b) = (Latency::default(), Latency::default());
        for (part, micros) in [(&a, 100), (&a, 511), (&b, 512), (&b, 40_000_000)] {
            part.record(Duration::from_micros(micros));
        }
        let (rows, sum) = Latency::histogram(&[&a, &b]);
        let at_most = |bound| rows.iter().find(|row| row.0 == bound).map(|row| row.1);
        assert_eq!(at_most(Some(Duration::from_micros(512))), Some(2));
        assert_eq!(at_most(Some(Duration::from_micros(1024))), Some(3));
        assert_eq!((at_most(Some(Duration::from_micros(1 << 25))), at_most(None)), (Some(3), Some(4)));
        assert_eq!(sum, Duration::from_micros(40_001_123));
    }

    #[test]
    fn the_median_is_over_all_workers_and_missing_without_answers() {
        let (a, b) = (Latency::default(), Latency::default());
        assert_eq!(Latency::median_us(&[&a, &b].into_iter()), None);
        a.record(Duration::from_micros(100));
        b.record(Duration::from_micros(1000));
        b.record(Duration::from_micros(1000));
        assert!(Latency::median_us(&[&a, &b].into_iter()).is_some_and(|us| (1000..1300).contains(&us)));
    }
}
