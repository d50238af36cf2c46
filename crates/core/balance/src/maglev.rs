//! A table that leads hashes to servers, evenly and with few moves when servers come or go.
//!
//! Owns: the table of Maglev (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
//! 2016, §3.4), with weights. Leaves to others: what is hashed, and what happens when a server cannot be used.
//! Invariant: the table follows from names and weights alone, so that every worker and every box has the same.

use alloc::{vec, vec::Vec};

use crate::{KeyHash, random};

/// Sizes of a table; each is prime, so that every step from slot to slot comes to all slots.
///
/// The paper asks for 100 slots a server to spread keys to within 1 %; the least size that has them is taken. The
/// largest is 131,071 × 2 bytes = 256 KiB, once for all workers.
const SIZES: [usize; 5] = [1021, 4093, 16_381, 65_537, 131_071];

/// Slots for each server.
const SLOTS_PER_SERVER: usize = 100;

/// An empty slot while the table is made.
const EMPTY: u16 = u16::MAX;

/// A table from hashes to positions of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maglev(Vec<u16>);

/// A server's own order of the slots, and how far it has come in it.
struct Preference<'a> {
    name: &'a str,
    position: u16,
    next: usize,
    skip: usize,
    weight: u64,
    /// Weight times rounds from which on it may take its next slot.
    due: u64,
}

impl Maglev {
    /// The table of servers with these names and weights, of a size that fits their number.
    #[must_use]
    pub fn new<'a>(servers: impl ExactSizeIterator<Item = (&'a str, u32)>) -> Self {
        let wanted = servers.len() * SLOTS_PER_SERVER;
        let size = SIZES.into_iter().find(|&size| size >= wanted).unwrap_or(SIZES[SIZES.len() - 1]);
        Self::with_size(size, servers)
    }

    /// The table with `size` slots, which must be prime and more than there are servers.
    #[must_use]
    pub fn with_size<'a>(size: usize, servers: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let preference = |(position, (name, weight)): (usize, (&'a str, u32))| {
            let hash = KeyHash::of(name.as_bytes()).number();
            let slots = size as u64;
            Preference {
                name,
                position: u16::try_from(position).unwrap_or(0),
                next: (hash % slots) as usize,
                skip: (random::mix(hash) % (slots - 1) + 1) as usize,
                weight: u64::from(weight.max(1)),
                due: 0,
            }
        };
        let mut preferences: Vec<_> = servers.enumerate().map(preference).collect();
        // Who is asked first in a round must not depend on the order in a file.
        preferences.sort_unstable_by_key(|preference| preference.name);
        let most = preferences.iter().map(|preference| preference.weight).max().unwrap_or(1);
        let mut table = vec![EMPTY; if preferences.is_empty() { 0 } else { size }];
        let (mut left, mut round) = (table.len(), 0);
        while left > 0 {
            round += 1;
            for preference in &mut preferences {
                // Who has half of the greatest weight takes a slot in every other round.
                if preference.weight * round < preference.due + most || left == 0 {
                    continue;
                }
                preference.due += most;
                take_slot(&mut table, preference);
                left -= 1;
            }
        }
        Self(table)
    }

    /// The position of the server to which a hash leads; `None` when there are no servers.
    #[must_use]
    pub fn lookup(&self, hash: KeyHash) -> Option<usize> {
        self.at(hash.number())
    }

    pub(crate) fn at(&self, number: u64) -> Option<usize> {
        self.0.get(random::below(number, self.0.len() as u64) as usize).map(|&position| usize::from(position))
    }

    /// How many slots each of `count` servers has.
    #[must_use]
    pub fn slots(&self, count: usize) -> Vec<u32> {
        let mut slots = vec![0; count];
        self.0.iter().for_each(|&position| slots[usize::from(position)] += 1);
        slots
    }
}

/// The first empty slot in a server's own order; there is one, for its order has all slots.
fn take_slot(table: &mut [u16], preference: &mut Preference<'_>) {
    let size = table.len();
    loop {
        let slot = preference.next;
        preference.next = (slot + preference.skip) % size;
        if table[slot] == EMPTY {
            table[slot] = preference.position;
            return;
        }
    }
}
