//! How many requests someone may make: the generic cell rate algorithm.
//!
//! Owns: one word of time for each who is counted, in a table of fixed size that all workers share. Sharing is the point:
//! a client's connections are on several workers, and a limit for each worker would be as many limits. It is one atomic
//! word that is written for a request of a route with a limit, and nothing for any other. Invariants: in any stretch of
//! time nobody who is remembered gets more than the burst and the rate times that time; memory does not grow.

use alloc::boxed::Box;
use core::{
    hash::Hasher as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use evenkeel_config::balancer::route::RateLimit;
use evenkeel_units::Instant;

/// Places that someone may be kept in: one line of a processor's cache.
const WAYS: usize = 4;

/// Who is counted by himself, as a hash that outsiders cannot steer; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedKey(u64);

/// Requests against a limit, over all workers.
#[derive(Debug)]
pub struct Limiter {
    /// Nanoseconds that one request uses up.
    cost: u64,
    /// Nanoseconds that may be used up ahead of time.
    tolerance: u64,
    seed: u64,
    places: Box<[Place]>,
}

/// Someone, and the time until which his requests have used up the rate.
///
/// Both are written without a lock. Who takes another's place takes over the time that stands there, so whatever workers do
/// at once, a place never lets through more than the limit.
#[derive(Debug, Default)]
struct Place {
    key: AtomicU64,
    used_until: AtomicU64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the limit.
    Within,
    /// It is not; when the next one may be.
    Exceeded {
        /// From now until then.
        retry_after: Duration,
    },
}

impl Limiter {
    /// Nobody has asked yet; `seed` is a secret that sets this table apart.
    #[must_use]
    pub fn new(limit: &RateLimit, seed: u64) -> Self {
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
        // At least 1 ns: no box serves a billion requests a second.
        let cost = (per / u64::from(limit.requests.get())).max(1);
        let sets = (limit.keys.get() as usize).div_ceil(WAYS).next_power_of_two();
        let places = (0..sets * WAYS).map(|_| Place::default()).collect();
        Self { cost, tolerance: cost.saturating_mul(u64::from(limit.burst.get())), seed, places }
    }

    /// The key for what someone is known by.
    #[must_use]
    pub fn key(&self, bytes: &[u8]) -> CountedKey {
        // Keyed, for what is hashed comes from outside: whoever could make keys collide could use up another's rate.
        #[expect(
            deprecated,
            reason = "the keyed hash that core has; the one in its place needs an operating system"
        )]
        let mut hasher = core::hash::SipHasher::new_with_keys(self.seed, self.seed.rotate_left(32));
        hasher.write(bytes);
        CountedKey(hasher.finish() | 1)
    }

    /// Counts a request of `key` at `now`, if it is within the limit.
    pub fn admit(&self, key: CountedKey, now: Instant) -> Verdict {
        let now = now.as_nanos();
        let place = self.place(key);
        let mut used = place.used_until.load(Ordering::Relaxed);
        loop {
            let after = used.max(now).saturating_add(self.cost);
            let ahead = after - now;
            if ahead > self.tolerance {
                return Verdict::Exceeded { retry_after: Duration::from_nanos(ahead - self.tolerance) };
            }
            match place.used_until.compare_exchange_weak(used, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Verdict::Within,
                Err(other) => used = other,
            }
        }
    }

    /// The place of `key`: the one that it has, else the one whose owner has used up least.
    fn place(&self, key: CountedKey) -> &Place {
        let sets = self.places.len() / WAYS;
        let first = ((key.0 >> 1) as usize & (sets - 1)) * WAYS;
        let set = &self.places[first..first + WAYS];
        let owned = |place: &&Place| place.key.load(Ordering::Relaxed) == key.0;
        if let Some(place) = set.iter().find(owned) {
            return place;
        }
        let idlest = set.iter().min_by_key(|place| place.used_until.load(Ordering::Relaxed));
        let place = idlest.unwrap_or(&set[0]);
        place.key.store(key.0, Ordering::Relaxed);
        place
    }
}
