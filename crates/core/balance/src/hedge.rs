//! When a request is sent to a second server because the first one takes long.
//!
//! Owns: the time after which that is worth it, learned from the pool's own answers, and the budget. Leaves to others:
//! which requests may be sent twice, and the race. Invariants: over any stretch of time hedges are at most the
//! budget's part of the requests and what was saved before; while little is saved, what is left goes to those that
//! have waited longest.

use core::time::Duration;

use evenkeel_config::balancer::{self, HedgeAfter};

/// One hedge, in the thousandths in which requests pay in.
const HEDGE: u64 = 1000;

/// Most that is saved: with a server that stops answering, about what it has in flight from one worker.
const MOST_SAVED: u64 = 128 * HEDGE;

/// What is kept for those that wait long. The ordinary tail (a twentieth wants a hedge after the 95th percentile)
/// would else use up every hedge before a server in trouble needs them.
const RESERVE: u64 = MOST_SAVED / 2;

/// Answers before their percentile is believed: 20 of them lie above the 95th.
const LEARNED_FROM: u32 = 400;

/// Soonest: below it the second request costs more than it can win.
const SOONEST: Duration = Duration::from_millis(1);

/// Who asks, and was refused, asks again after this many times as long, as long as there is something to win.
const AGAIN: u32 = 2;

/// What one worker knows about hedging in one pool.
#[derive(Debug, Clone)]
pub(crate) struct Hedging {
    after: HedgeAfter,
    per_request: u64,
    saved: u64,
    percentile: Percentile,
}

impl Hedging {
    pub(crate) fn new(settings: &balancer::Hedge) -> Self {
        let per_request = u64::from(u16::from(settings.budget));
        Self {
            after: settings.after,
            per_request,
            saved: RESERVE,
            percentile: Percentile::new(settings.after),
        }
    }

    /// What was learned and saved stays through a reload that changes nothing of this.
    pub(crate) fn adopt(&mut self, before: &Self) {
        if self.after == before.after {
            self.percentile = before.percentile;
        }
        self.saved = before.saved;
    }

    /// A new request pays in.
    pub(crate) fn arrived(&mut self) {
        self.saved = (self.saved + self.per_request).min(MOST_SAVED);
    }

    /// An answer took so long.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.percentile.observe(took);
    }

    /// After which time a request asks for a hedge; `None` when it need not.
    pub(crate) fn after(&self) -> Option<Duration> {
        let after = match self.after {
            HedgeAfter::Off => None,
            HedgeAfter::Time(time) => Some(time),
            HedgeAfter::Percentile(_) => self.percentile.value(),
        };
        after.filter(|_| self.saved >= HEDGE).map(|after| after.max(SOONEST))
    }

    /// Takes a hedge out of the budget for a request that has waited for `waited`; else when to ask again.
    pub(crate) fn take(&mut self, waited: Duration, elsewhere: Elsewhere) -> Result<(), Duration> {
        let late = self.after().is_some_and(|after| waited >= after * AGAIN);
        let granted = match elsewhere {
            Elsewhere::Idle if !late => self.saved >= RESERVE + HEDGE,
            Elsewhere::Busy if !late => false,
            Elsewhere::Idle | Elsewhere::Busy => self.saved >= HEDGE,
        };
        if !granted {
            return Err(waited * AGAIN);
        }
        self.saved -= HEDGE;
        Ok(())
    }
}

/// How the server that would get the hedge stands beside the one that has the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It has at most half as much to do.
    Idle,
    /// It is no better off, so that a hedge mostly adds to what both have to do: the ordinary tail is not worth that.
    Busy,
}

/// A percentile, followed without keeping samples: it rises a step with each sample above it and falls a smaller one
/// with each below, in the proportion that balances at the percentile (stochastic approximation, Robbins and Monro
/// 1951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Percentile {
    nanos: u64,
    seen: u32,
    /// Steps upwards, in 2^16ths of the value.
    up: u64,
    /// Steps downwards.
    down: u64,
}

/// The length of both steps together, in 2^16ths: a thirty-second.
const STEPS: u64 = (1 << 16) / 32;

impl Percentile {
    fn new(after: HedgeAfter) -> Self {
        let per_mille = match after {
            HedgeAfter::Percentile(share) => u64::from(u16::from(share)),
            HedgeAfter::Off | HedgeAfter::Time(_) => 950,
        };
        Self { nanos: 0, seen: 0, up: STEPS * per_mille / 1000, down: STEPS * (1000 - per_mille) / 1000 }
    }

    fn observe(&mut self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX >> 20).min(u64::MAX >> 20);
        self.seen = self.seen.saturating_add(1);
        if self.nanos == 0 {
            self.nanos = took;
            return;
        }
        // Long steps at first, so that it comes near soon.
        let steps = if self.seen < LEARNED_FROM / 4 { 4 } else { 1 };
        self.nanos = if took > self.nanos {
            self.nanos + ((self.nanos * self.up * steps) >> 16)
        } else {
            self.nanos - ((self.nanos * self.down * steps) >> 16)
        };
        self.nanos = self.nanos.clamp(1000, u64::MAX >> 20);
    }

    fn value(&self) -> Option<Duration> {
        (self.seen >= LEARNED_FROM).then(|| Duration::from_nanos(self.nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_percentile_is_followed_to_within_a_quarter() {
        for (per_mille, expected) in [(900, 900.0), (950, 950.0), (990, 990.0)] {
            let share = evenkeel_units::PerMille::new(per_mille).unwrap();
            let mut percentile = Percentile::new(HedgeAfter::Percentile(share));
            let mut random = Random::new(11);
            for _ in 0..20_000 {
                percentile.observe(Duration::from_micros(crate::random::below(random.next(), 1000)));
            }
            let found = percentile.value().unwrap().as_nanos() as f64 / 1000.0;
            assert!((found - expected).abs() < expected / 4.0, "{found} not {expected}");
        }
    }

    #[test]
    fn nothing_is_hedged_before_enough_is_known_nor_beyond_the_budget() {
        let share = evenkeel_units::PerMille::new(950).unwrap();
        let settings =
            balancer::Hedge::new(HedgeAfter::Percentile(share), evenkeel_units::PerMille::new(20).unwrap());
        let mut hedging = Hedging::new(&settings);
        (1..LEARNED_FROM).for_each(|_| hedging.answered(Duration::from_millis(10)));
        assert_eq!(hedging.after(), None);
        hedging.answered(Duration::from_millis(10));
        let after = hedging.after().unwrap();
        assert_eq!(
            hedging.take(after, Elsewhere::Idle),
            Err(after * 2),
            "the reserve is not for the ordinary tail"
        );
        let late = (0..1000).take_while(|_| hedging.take(after * 2, Elsewhere::Busy).is_ok()).count();
        assert_eq!(late as u64, RESERVE / HEDGE);
        assert_eq!(hedging.after(), None, "nothing is left to ask for");
        (0..1000).for_each(|_| hedging.arrived());
        assert_eq!((0..1000).take_while(|_| hedging.take(after * 2, Elsewhere::Busy).is_ok()).count(), 20);
        (0..10_000).for_each(|_| hedging.arrived());
        assert_eq!(hedging.take(after, Elsewhere::Busy), Err(after * 2));
        assert_eq!(hedging.take(after, Elsewhere::Idle), Ok(()));
    }
}
