//! What a pick looks at of each server, and nothing else.
//!
//! Owns: requests in flight, the limit on them, and the server's turn. Leaves to others: who is compared with whom.
//! Invariant: what a server has in flight changes only by `start` and `finish`, which come in pairs.

use core::num::NonZeroU32;

/// One turn of a server with weight 1, in the units in which turns are counted.
///
/// The largest weight, 256,000 thousandths, still steps by 16,777; turns are moved back long before they overflow.
const TURN: u64 = 1 << 32;

/// Thousandths in which a weight is kept.
const WEIGHT_SCALE: u64 = 1000;

/// Turns are moved back when they come so far.
const LAST_TURN: u64 = 1 << 62;

/// Where a server stands among those that would do: the lowest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Requests in flight for the weight; alike for all where only turns count.
    load: u64,
    turn: u64,
}

impl Rank {
    /// Of a server that must not be picked.
    pub(crate) const NEVER: Self = Self { load: u64::MAX, turn: u64::MAX };
}

/// What decides before the turn does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Requests in flight for the weight.
    Load,
    /// Nothing: each in turn.
    Turn,
}

/// One server in the eyes of a pick.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// When it is this server's turn again: the start of its next request in virtual time, in which a server of
    /// weight 1 serves one request a [`TURN`] (start-time fair queueing, Goyal, Vin and Cheng 1996).
    turn: u64,
    /// The weight at this time, in thousandths; at least 1.
    weight: u32,
    active: u32,
    limit: NonZeroU32,
    admitted: bool,
    /// No connection can be made to it now, for want of source ports.
    starved: bool,
}

impl Lane {
    /// An idle server that may be picked; `order` of `count` spreads the first turns.
    pub(crate) fn new(weight: u32, limit: NonZeroU32, (order, count): (usize, usize)) -> Self {
        let lane = Self { turn: 0, weight: weight.max(1), active: 0, limit, admitted: true, starved: false };
        let phase = u128::from(lane.step()) * (2 * order as u128 + 1) / (2 * count.max(1) as u128);
        Self { turn: u64::try_from(phase).unwrap_or(0), ..lane }
    }

    /// What time and health make of the server; `time` is the turn that it is.
    pub(crate) fn set(&mut self, weight: u32, admitted: bool, time: u64) {
        let weight = weight.max(1);
        if weight != self.weight {
            // What is left of the way to the next turn shrinks or grows with the step.
            let ahead = u128::from(self.turn.saturating_sub(time)) * u128::from(self.weight);
            self.turn = time + u64::try_from(ahead / u128::from(weight)).unwrap_or(0);
        }
        self.weight = weight;
        self.admitted = admitted;
    }

    pub(crate) const fn set_limit(&mut self, limit: NonZeroU32) {
        self.limit = limit;
    }

    pub(crate) const fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    pub(crate) const fn is_admitted(&self) -> bool {
        self.admitted
    }

    pub(crate) const fn active(&self) -> u32 {
        self.active
    }

    pub(crate) const fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether the server may be picked and has room.
    pub(crate) const fn is_free(&self) -> bool {
        self.admitted && self.has_room()
    }

    /// Whether the server has less than it may have, and a connection to it can be had.
    pub(crate) const fn has_room(&self) -> bool {
        !self.starved && self.active < self.limit.get()
    }

    pub(crate) const fn set_starved(&mut self, starved: bool) {
        self.starved = starved;
    }

    pub(crate) const fn is_starved(&self) -> bool {
        self.starved
    }

    /// Requests in flight for the weight, comparable between servers.
    ///
    /// A million in flight, the most that a limit allows, are 2^20: shifted by 40 they fit.
    pub(crate) fn load(&self) -> u64 {
        (u64::from(self.active) << 40) / u64::from(self.weight)
    }

    pub(crate) fn rank(&self, first: First) -> Rank {
        let load = match first {
            First::Load => self.load(),
            First::Turn => 0,
        };
        if self.is_free() { Rank { load, turn: self.turn } } else { Rank::NEVER }
    }

    /// Takes over what is in flight at the same server before a reload; how much that is.
    pub(crate) const fn adopt(&mut self, before: &Self) -> u32 {
        self.active = before.active;
        before.active
    }

    /// The way from one turn to the next.
    fn step(&self) -> u64 {
        TURN * WEIGHT_SCALE / u64::from(self.weight)
    }

    /// Begins a request at the turn `time`; which turn it is from then on.
    pub(crate) fn start(&mut self, time: u64) -> u64 {
        self.active += 1;
        let begun = self.turn.max(time);
        self.turn = begun + self.step();
        begun
    }

    pub(crate) fn finish(&mut self) {
        debug_assert!(self.active > 0, "what finishes has started");
        self.active = self.active.saturating_sub(1);
    }

    /// Something in flight needs its place again; the server may then have more than its limit for a while.
    pub(crate) const fn resume(&mut self) {
        self.active += 1;
    }

    /// Moves the turn back by `time`, together with those of all others.
    pub(crate) const fn move_back(&mut self, time: u64) {
        self.turn = self.turn.saturating_sub(time);
    }
}

/// Whether turns should be moved back.
pub(crate) const fn is_late(time: u64) -> bool {
    time > LAST_TURN
}
