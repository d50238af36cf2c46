//! Requests that wait for their clients, and which of them gives way when a place is needed.
//!
//! Owns: the order in which they give way, how many may wait beside the limit, and when one is cut off. Leaves to others:
//! what waits (`T`), and what giving way means. Invariants: nobody gives way while there is room; who waits longest gives
//! way first; never more than the limit wait without a place.
//!
//! A server that waits for more of a request, or for room for its answer, does no work for it. Counting such requests in
//! the server's limit would let a few thousand clients that send or read a byte now and then (the "slow body" and "slow
//! read" attacks) keep everyone else out.

use alloc::collections::BTreeMap;
use core::time::Duration;

use evenkeel_units::Instant;

/// How long a request must have waited before it gives way: longer than the way to any client and back, so that one
/// that merely fills its window keeps its place.
pub const GIVES_WAY_AFTER: Duration = Duration::from_millis(100);

/// How long a request must have waited before it may be cut off for the sake of others: a telephone that changes its
/// cell is back within that.
pub const CUT_AFTER: Duration = Duration::from_secs(2);

/// One that waits, until its client goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(u64);

#[derive(Debug, Clone)]
struct Waiting<T> {
    since: Instant,
    request: T,
}

/// Those of one pool at one worker.
#[derive(Debug, Clone)]
pub struct Stalled<T> {
    /// Ordered by seat and by time alike.
    placed: BTreeMap<Seat, Waiting<T>>,
    aside: BTreeMap<Seat, Waiting<T>>,
    /// Of those that were cut off and have not left yet, how many stood aside.
    leaving: usize,
    most_aside: usize,
    next: u64,
}

/// Whether one that goes on had given its place away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It kept its place.
    Kept,
    /// It must take its place again.
    GivenUp,
}

/// What can be done for one that needs a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Way<'a, T> {
    /// This one's place is free from now on, though it goes on.
    GivenBy(&'a T),
    /// This one is to be cut off; its place is free when it has left.
    Cut(T),
    /// All who wait have a right to their places.
    Blocked,
}

impl<T> Stalled<T> {
    /// Nobody; at most `most_aside` will wait without a place.
    #[must_use]
    pub const fn new(most_aside: usize) -> Self {
        Self { placed: BTreeMap::new(), aside: BTreeMap::new(), leaving: 0, most_aside, next: 0 }
    }

    /// From now on at most `most_aside` wait without a place; who does already goes on.
    pub const fn set_most_aside(&mut self, most_aside: usize) {
        self.most_aside = most_aside;
    }

    /// A request that has a place waits for its client.
    pub fn enter(&mut self, now: Instant, request: T) -> Seat {
        let seat = Seat(self.next);
        self.next += 1;
        self.placed.insert(seat, Waiting { since: now, request });
        seat
    }

    /// A request goes on, or ends.
    pub fn leave(&mut self, seat: Seat) -> Place {
        if self.placed.remove(&seat).is_some() {
            return Place::Kept;
        }
        if self.aside.remove(&seat).is_none() {
            // It was cut off, and stood aside from then on.
            self.leaving = self.leaving.saturating_sub(1);
        }
        Place::GivenUp
    }

    /// Finds a place for one that would have to wait in the queue.
    ///
    /// A request that is cut off counts as having given up its place: whoever acts on [`Way::Cut`] frees it at once.
    pub fn make_way(&mut self, now: Instant) -> Way<'_, T> {
        if self.aside.len() + self.leaving < self.most_aside
            && let Some(first) = self.placed.first_entry()
            && now.since(first.get().since) >= GIVES_WAY_AFTER
        {
            let (seat, waiting) = first.remove_entry();
            return Way::GivenBy(&self.aside.entry(seat).or_insert(waiting).request);
        }
        let Some(longest) = self.placed.first_entry() else { return Way::Blocked };
        if now.since(longest.get().since) < CUT_AFTER {
            return Way::Blocked;
        }
        self.leaving += 1;
        Way::Cut(longest.remove().request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::START + Duration::from_millis(milliseconds)
    }

    #[test]
    fn who_waits_longest_gives_way_first_and_nobody_before_its_time() {
        let mut stalled = Stalled::new(8);
        stalled.enter(at(0), "first");
        stalled.enter(at(50), "second");
        assert_eq!(stalled.make_way(at(99)), Way::Blocked);
        assert_eq!(stalled.make_way(at(100)), Way::GivenBy(&"first"));
        assert_eq!(stalled.make_way(at(149)), Way::Blocked);
        assert_eq!(stalled.make_way(at(150)), Way::GivenBy(&"second"));
        assert_eq!(stalled.make_way(at(9_000)), Way::Blocked, "who has no place has none to give");
    }

    #[test]
    fn who_goes_on_takes_its_place_again_if_it_gave_it_up() {
        let mut stalled = Stalled::new(8);
        let (one, other) = (stalled.enter(at(0), 1), stalled.enter(at(0), 2));
        assert_eq!(stalled.make_way(at(100)), Way::GivenBy(&1));
        assert_eq!(stalled.leave(one), Place::GivenUp);
        assert_eq!(stalled.leave(other), Place::Kept);
        assert_eq!(stalled.make_way(at(200)), Way::Blocked);
    }

    #[test]
    fn when_as_many_as_may_wait_beside_the_limit_the_longest_of_the_others_is_cut_off() {
        let mut stalled = Stalled::new(1);
        let first = stalled.enter(at(0), "aside");
        stalled.enter(at(0), "cut");
        assert_eq!(stalled.make_way(at(100)), Way::GivenBy(&"aside"));
        assert_eq!(stalled.make_way(at(1_999)), Way::Blocked);
        assert_eq!(stalled.make_way(at(2_000)), Way::Cut("cut"));
        assert_eq!(stalled.make_way(at(2_001)), Way::Blocked);
        assert_eq!(stalled.leave(first), Place::GivenUp);
    }

    #[test]
    fn without_room_beside_the_limit_places_come_from_those_that_are_cut_off() {
        let mut stalled = Stalled::new(0);
        let seat = stalled.enter(at(0), "slow");
        assert_eq!(stalled.make_way(at(1_000)), Way::Blocked);
        assert_eq!(stalled.make_way(at(2_000)), Way::Cut("slow"));
        assert_eq!(stalled.leave(seat), Place::GivenUp);
    }

    #[test]
    fn those_that_are_being_cut_off_count_until_they_have_left() {
        let mut stalled = Stalled::new(1);
        let (first, second) = (stalled.enter(at(0), 1), stalled.enter(at(0), 2));
        assert_eq!(stalled.make_way(at(2_000)), Way::GivenBy(&1));
        assert_eq!(stalled.make_way(at(2_000)), Way::Cut(2));
        stalled.enter(at(2_000), 3);
        assert_eq!(stalled.leave(first), Place::GivenUp);
        assert_eq!(stalled.make_way(at(3_000)), Way::Blocked, "one stands aside still: it has not left");
        assert_eq!(stalled.leave(second), Place::GivenUp);
        assert_eq!(stalled.make_way(at(3_000)), Way::GivenBy(&3));
    }
}
