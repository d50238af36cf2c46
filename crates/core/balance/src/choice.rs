//! Who is next: the policies.
//!
//! Owns: what each policy looks at. Leaves to others (`pool`): who may be picked at all. Invariants: a pick allocates
//! nothing and changes nothing but the sequence of random numbers; it never names a server that is full, that is not
//! admitted (but see [`Draining::Keep`]) or that the request has been to, and names one whenever there is one.

use evenkeel_config::balancer::{Draining, LoadBound, Policy};
use evenkeel_units::Instant;

use crate::{Key, KeyHash, Pick, Pool, ServerIndex, Tried, random};

/// Draws in search of a server with room before all are looked at.
///
/// With half of the pool full 6 draws miss once in 64 picks; that pick costs a look at all servers instead.
const DRAWS: usize = 6;

/// Places that a hash leads to, one after the other, before the least loaded server is taken.
///
/// With half of the pool unusable 16 of them miss once in 65,536 picks.
const PROBES: u64 = 16;

/// A server may always have this part of its limit, whatever the bound on its load says: with a handful of
/// requests in the pool every second one with the same key would be moved for nothing.
const UNBOUNDED_PART: u32 = 16;

impl Pool {
    /// The next server for a request that has been to `tried` and that `key` leads somewhere.
    pub fn pick(&mut self, now: Instant, tried: &Tried, key: Key) -> Pick {
        self.advance(now);
        if let Some(wanted) = key.wanted()
            && (self.would_do(wanted.position(), tried) || self.would_stay(wanted.position(), tried))
        {
            return Pick::Server(wanted);
        }
        let layout = alloc::sync::Arc::clone(&self.layout);
        let found = match &layout.settings.policy {
            Policy::RoundRobin | Policy::LeastLoaded => None,
            Policy::PowerOfTwo => {
                self.better_of_two(tried, |pool, position| u128::from(pool.lanes[position].load()))
            }
            Policy::PeakEwma => self.better_of_two(tried, |pool, position| pool.peak_cost(now, position)),
            Policy::ConsistentHash(hashing) => {
                key.hash().and_then(|hash| self.by_hash(hash, hashing.load_bound, tried))
            }
        };
        found
            .or_else(|| self.first(tried))
            .map_or_else(|| self.none(tried), |at| Pick::Server(ServerIndex::new(at)))
    }

    fn would_do(&self, position: usize, tried: &Tried) -> bool {
        self.lanes.get(position).is_some_and(crate::lane::Lane::is_free)
            && !tried.contains(ServerIndex::new(position))
    }

    /// Whether who belongs to a server stays there though it drains.
    fn would_stay(&self, position: usize, tried: &Tried) -> bool {
        let keeps =
            self.layout.settings.sticky.as_ref().is_some_and(|sticky| sticky.draining == Draining::Keep);
        keeps
            && self.drains_well(position)
            && self.lanes[position].has_room()
            && !tried.contains(ServerIndex::new(position))
    }

    /// The server of lowest rank.
    fn first(&self, tried: &Tried) -> Option<usize> {
        match tried.count() {
            0 => self.tournament.winner(),
            _ => self.tournament.winner_among(|position| !tried.contains(ServerIndex::new(position))),
        }
    }

    /// Why there is no server.
    fn none(&self, tried: &Tried) -> Pick {
        let full = |(position, lane): (usize, &crate::lane::Lane)| {
            lane.is_admitted() && !tried.contains(ServerIndex::new(position))
        };
        if self.lanes.iter().enumerate().any(full) { Pick::Full } else { Pick::Nobody }
    }

    fn draw_one(&mut self, tried: &Tried, but: Option<usize>) -> Option<usize> {
        for _ in 0..DRAWS {
            let drawn = self.draw.draw(&mut self.random)?;
            if but != Some(drawn) && self.would_do(drawn, tried) {
                return Some(drawn);
            }
        }
        None
    }

    /// Of two servers drawn by weight the one that costs less (Mitzenmacher, "The power of two choices", 2001).
    fn better_of_two(&mut self, tried: &Tried, cost: impl Fn(&Self, usize) -> u128) -> Option<usize> {
        let one = self.draw_one(tried, None)?;
        if self.draw.len() == 1 {
            return Some(one);
        }
        let Some(other) = self.draw_one(tried, Some(one)) else { return Some(one) };
        Some(if cost(self, other) < cost(self, one) { other } else { one })
    }

    /// What one more request costs at a server: its recent latency for each in flight and the new one, by weight.
    ///
    /// A server that has not answered yet gets one request, and more only where nobody else is better known.
    fn peak_cost(&self, now: Instant, position: usize) -> u128 {
        let lane = &self.lanes[position];
        let latency = self.latencies[position].value(now).as_nanos();
        let active = u128::from(lane.active());
        match (latency, active) {
            (0, 0) => 0,
            (0, _) => (u128::MAX >> 64) + active,
            _ => latency.saturating_mul(active + 1).saturating_mul(1 << 20) / u128::from(lane.weight()),
        }
    }

    /// The first usable server among those to which the hash leads that has not far more than its part.
    ///
    /// Who cannot be used is passed over and its keys go on to others, each on its own way: no other key moves.
    fn by_hash(&self, hash: KeyHash, bound: LoadBound, tried: &Tried) -> Option<usize> {
        let table = self.layout.table.as_ref()?;
        let mut number = hash.number();
        for probe in 0..PROBES {
            let position = table.at(number)?;
            number = random::mix(number ^ (probe + 1));
            if self.would_do(position, tried)
                && self.lanes[position].active() < self.bound(position, bound)
                && self.takes_share(position, hash)
            {
                return Some(position);
            }
        }
        None
    }

    /// Most requests that a server may have before its keys go on (Mirrokni, Thorup and Zadimoghaddam, 2017).
    fn bound(&self, position: usize, bound: LoadBound) -> u32 {
        let lane = &self.lanes[position];
        let always = lane.limit().get().div_ceil(UNBOUNDED_PART);
        let part =
            (self.flying + 1).saturating_mul(u64::from(lane.weight())).div_ceil(self.admitted_weight.max(1));
        u32::try_from(bound.of(part)).unwrap_or(u32::MAX).max(always)
    }

    /// Whether a server that is coming back takes this key already: each key comes back once.
    fn takes_share(&self, position: usize, hash: KeyHash) -> bool {
        let whole = u64::from(self.layout.settings.servers[position].weight.as_u16()) * 1000;
        let weight = u64::from(self.lanes[position].weight());
        // Of its own for each server, so that it is not always the same keys that wait.
        let number = random::mix(hash.number().wrapping_add(position as u64 + 1));
        weight >= whole || random::below(number, whole) < weight
    }
}
