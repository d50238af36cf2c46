//! How much a server is given at once, learned from how it answers beside the others of its pool.
//!
//! Owns: the limit of each server between a floor and what the configuration allows. Leaves to others: counting what
//! is in flight. Invariants: a server is held back only for being slow beside the rest of the pool, so that whatever
//! slows all of them (a heavy page, a slow database) holds back none; the way back is always open, for a server that
//! answers like the others again gains with every window.

use core::{num::NonZeroU32, time::Duration};

use evenkeel_units::Instant;

/// Least that a server keeps: enough to be judged by, and to stay warm.
const FLOOR: u32 = 4;

/// How many times as long as the pool's a server's answers may take: 2^2. Machines of two generations differ by less.
const TOLERANCE: i64 = 2 * OCTAVE;

/// Shortest time between two changes of a limit.
const WINDOW: Duration = Duration::from_millis(100);

/// Fewest answers between two changes of a limit.
const WINDOW_ANSWERS: u32 = 4;

/// Fewest answers of the whole pool before anything is judged.
const POOL_ANSWERS: u32 = 100;

/// One doubling of a time, in the units of [`log`].
const OCTAVE: i64 = 1 << 16;

/// What the answers of the whole pool have told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Typical {
    log: i64,
    seen: u32,
}

impl Typical {
    pub(crate) const UNKNOWN: Self = Self { log: 0, seen: 0 };

    /// An answer of some server took so long.
    pub(crate) fn observe(&mut self, took: Duration) {
        self.seen = self.seen.saturating_add(1);
        // The last 256 answers count most: a second at 256 requests a second.
        let part = i64::from(self.seen.min(256));
        self.log += (log(took) - self.log) / part;
    }
}

/// The limit of one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learned {
    limit: NonZeroU32,
    most: NonZeroU32,
    log: i64,
    seen: u32,
    /// Most in flight since the window began.
    peak: u32,
    answers: u32,
    since: Instant,
}

impl Learned {
    /// A server that may have all that the configuration allows.
    pub(crate) const fn new(most: NonZeroU32) -> Self {
        Self { limit: most, most, log: 0, seen: 0, peak: 0, answers: 0, since: Instant::START }
    }

    /// What was learned before a reload, within the new bound.
    pub(crate) fn adopt(&mut self, before: &Self) {
        let limit = if before.limit == before.most { self.most } else { before.limit.min(self.most) };
        *self = Self { limit, most: self.most, ..*before };
    }

    pub(crate) const fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// What the configuration allows.
    pub(crate) const fn most(&self) -> NonZeroU32 {
        self.most
    }

    /// An answer took so long while so many were in flight; the new limit when it changed.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        took: Duration,
        active: u32,
        typical: &Typical,
    ) -> Option<NonZeroU32> {
        self.seen = self.seen.saturating_add(1);
        self.log += (log(took) - self.log) / i64::from(self.seen.min(8));
        self.peak = self.peak.max(active);
        self.answers += 1;
        if now.since(self.since) < WINDOW || self.answers < WINDOW_ANSWERS || typical.seen < POOL_ANSWERS {
            return None;
        }
        let floor = FLOOR.min(self.most.get());
        let limit = if self.log > typical.log + TOLERANCE {
            (self.limit.get().min(self.peak) / 2).max(floor)
        } else {
            let gain = (self.limit.get() / 4).max(1);
            self.limit.get().saturating_add(gain).min(self.most.get())
        };
        (self.since, self.answers, self.peak) = (now, 0, active);
        let limit = NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN);
        let changed = limit != self.limit;
        self.limit = limit;
        changed.then_some(limit)
    }
}

/// The binary logarithm of a time in nanoseconds, in 2^16ths; between powers of two in a straight line, at most 9 %
/// of an octave off.
fn log(took: Duration) -> i64 {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
    let whole = nanos.ilog2();
    let rest = (nanos << (63 - whole)) << 1;
    (i64::from(whole) << 16) + (rest >> 48) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: NonZeroU32 = NonZeroU32::new(256).unwrap();

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_logarithm_doubles_by_octaves() {
        assert_eq!(log(Duration::from_nanos(1)), 0);
        assert_eq!(log(Duration::from_nanos(1024)), 10 * OCTAVE);
        assert_eq!(log(Duration::from_nanos(1536)), 10 * OCTAVE + OCTAVE / 2);
        assert!(log(Duration::MAX) < 64 * OCTAVE);
    }

    /// Answers of two servers for `seconds`, ten a second each; the limits in the end.
    fn run(limits: &mut [Learned; 2], typical: &mut Typical, from: u64, times: [Duration; 2]) -> [u32; 2] {
        for tick in 0..100 {
            let now = Instant::START + Duration::from_secs(from) + ms(100 * tick);
            for (learned, took) in limits.iter_mut().zip(times) {
                for _ in 0..4 {
                    typical.observe(took.min(times[1]));
                    learned.observe(now, took, 20, typical);
                }
            }
        }
        [limits[0].limit().get(), limits[1].limit().get()]
    }

    #[test]
    fn who_is_slow_beside_the_others_is_held_back_and_returns() {
        let mut limits = [Learned::new(MOST); 2];
        let mut typical = Typical::UNKNOWN;
        assert_eq!(run(&mut limits, &mut typical, 0, [ms(20), ms(20)]), [256, 256]);
        assert_eq!(run(&mut limits, &mut typical, 10, [ms(2020), ms(20)]), [FLOOR, 256]);
        assert_eq!(run(&mut limits, &mut typical, 20, [ms(20), ms(20)]), [256, 256]);
    }

    #[test]
    fn what_slows_all_or_a_little_holds_back_nobody() {
        let mut limits = [Learned::new(MOST); 2];
        let mut typical = Typical::UNKNOWN;
        run(&mut limits, &mut typical, 0, [ms(20), ms(20)]);
        assert_eq!(run(&mut limits, &mut typical, 10, [ms(3000), ms(3000)]), [256, 256]);
        assert_eq!(run(&mut limits, &mut typical, 20, [ms(70), ms(20)]), [256, 256]);
    }
}
