//! Who waits for a server, first come first served, for a bounded time.
//!
//! Owns: order, bound and deadlines. Leaves to others: what waits (`T`), and waking it. Invariant: never
//! more wait than the limit, and nobody is served after its deadline.

use alloc::collections::VecDeque;
use core::time::Duration;

use evenkeel_units::Instant;

/// A place in a queue, for who wants to leave it early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug, Clone)]
struct Waiting<T> {
    ticket: Ticket,
    deadline: Instant,
    waiter: T,
}

/// Those who wait for a server of one pool at one worker.
#[derive(Debug, Clone)]
pub struct Queue<T> {
    /// Ordered by ticket and by deadline alike, for all wait equally long.
    waiting: VecDeque<Waiting<T>>,
    limit: usize,
    patience: Duration,
    next: u64,
}

impl<T> Queue<T> {
    /// An empty queue for at most `limit` who wait for `patience` at most.
    #[must_use]
    pub const fn new(limit: usize, patience: Duration) -> Self {
        Self { waiting: VecDeque::new(), limit, patience, next: 0 }
    }

    /// Lets `waiter` wait.
    ///
    /// # Errors
    /// The waiter again, when the queue is full: it should be told so at once.
    pub fn enter(&mut self, now: Instant, waiter: T) -> Result<Ticket, T> {
        if self.waiting.len() >= self.limit {
            return Err(waiter);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        // Clocks of callers may be read a little out of order; deadlines in the queue are not.
        let last = self.waiting.back().map_or(Instant::START, |waiting| waiting.deadline);
        self.waiting.push_back(Waiting { ticket, deadline: last.max(now + self.patience), waiter });
        Ok(ticket)
    }

    /// Takes the first one whose deadline has not come, for a server that has become free.
    pub fn next(&mut self, now: Instant) -> Option<T> {
        let at = self.waiting.partition_point(|waiting| waiting.deadline <= now);
        self.waiting.remove(at).map(|waiting| waiting.waiter)
    }

    /// Takes one whose deadline has come; to be called until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        self.waiting.pop_front_if(|waiting| waiting.deadline <= now).map(|waiting| waiting.waiter)
    }

    /// Takes the one with this ticket, when it still waits.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let at = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
        self.waiting.remove(at).map(|waiting| waiting.waiter)
    }

    /// When the first deadline comes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_who_came_is_served_first_and_a_full_queue_says_so_at_once() {
        let mut queue = Queue::new(2, Duration::from_secs(5));
        assert!(queue.enter(at(0), 'a').is_ok() && queue.enter(at(1), 'b').is_ok());
        assert_eq!(queue.enter(at(1), 'c'), Err('c'));
        assert_eq!(queue.next(at(2)), Some('a'));
        assert!(queue.enter(at(2), 'd').is_ok());
        assert_eq!((queue.next(at(2)), queue.next(at(2)), queue.next(at(2))), (Some('b'), Some('d'), None));
    }

    #[test]
    fn nobody_is_served_after_its_deadline() {
        let mut queue = Queue::new(9, Duration::from_secs(5));
        assert!(queue.enter(at(0), 'a').is_ok() && queue.enter(at(3), 'b').is_ok());
        assert_eq!(queue.expire(at(4)), None);
        assert_eq!(queue.next(at(5)), Some('b'));
        assert_eq!((queue.expire(at(5)), queue.expire(at(5))), (Some('a'), None));
        assert!(queue.is_empty() && queue.next_deadline().is_none());
    }

    #[test]
    fn a_clock_read_out_of_order_does_not_disturb_the_order() {
        let mut queue = Queue::new(9, Duration::from_secs(5));
        assert!(queue.enter(at(3), 'a').is_ok() && queue.enter(at(2), 'b').is_ok());
        assert_eq!((queue.expire(at(7)), queue.next(at(7)), queue.next(at(7))), (None, Some('a'), Some('b')));
    }

    #[test]
    fn who_leaves_is_gone_and_leaves_the_order_to_the_others() {
        let mut queue = Queue::new(9, Duration::from_secs(5));
        let tickets: alloc::vec::Vec<_> = "abc".chars().filter_map(|w| queue.enter(at(0), w).ok()).collect();
        assert_eq!((queue.leave(tickets[1]), queue.leave(tickets[1])), (Some('b'), None));
        assert_eq!((queue.next(at(0)), queue.next(at(0)), queue.next(at(0))), (Some('a'), Some('c'), None));
    }
}
