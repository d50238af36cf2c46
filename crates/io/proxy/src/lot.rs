//! Clients at rest: between two requests, or silent since they came.
//!
//! Owns: their connections, in a row of small records that the reactor knows by number; so a client at rest has no task,
//! no buffer and no watch of its own. Leaves to others: when a client goes to rest and what it is served afterwards
//! (`http1`). Invariants: a client leaves the lot exactly once, by what it sends, by its deadline or by a drain; and before
//! it is closed the kernel is asked once more, so that nothing that has come by then goes unread.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use evenkeel_units::Instant;

use crate::client::Client;

/// How long a client is waited for by a task before it goes to rest.
///
/// Coming back from rest costs about 0.3 µs, a fiftieth of a request; half a second keeps that from busy clients, whose
/// pauses are shorter, and holds the tasks that wait to those of the last half second.
pub(crate) const REST_AFTER: Duration = Duration::from_millis(500);

/// Most tasks of a worker that wait for a next request; a client beyond them goes to rest at once. 2 MiB of tasks.
pub(crate) const MAX_WAITING: usize = 1024;

/// Sweeps in which every client at rest is looked at once: of 100,000 one sweep looks at 5,000, which takes 50 µs.
const SWEEPS_FOR_ALL: usize = 20;

/// Least that a sweep looks at, so that few clients are seen by each.
const LEAST_LOOKED_AT: usize = 1024;

/// Most connections that one sweep closes: at about 5 µs each others are held up for 5 ms at most.
const MAX_CLOSED: usize = 1024;

/// What a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its first request, until then.
    First(Instant),
    /// Another request, until then.
    Next(Instant),
}

impl Wait {
    /// When the wait ends.
    pub(crate) const fn until(self) -> Instant {
        match self {
            Self::First(until) | Self::Next(until) => until,
        }
    }
}

/// A client at rest.
struct Resting {
    client: Client,
    wait: Wait,
}

/// The clients at rest of one worker.
#[derive(Default)]
pub(crate) struct Lot {
    places: RefCell<Vec<Option<Resting>>>,
    free: RefCell<Vec<u32>>,
    /// Where the next sweep begins.
    next: Cell<usize>,
}

impl Lot {
    /// Lays a client to rest; gives it back when something may have come already.
    pub(crate) fn rest(&self, client: Client, wait: Wait) -> Option<Client> {
        let mut places = self.places.borrow_mut();
        let mut free = self.free.borrow_mut();
        let key = match free.last() {
            Some(&key) => key,
            None => u32::try_from(places.len()).expect("a process has fewer than 2^32 descriptors"),
        };
        if !client.socket.call(key) {
            return Some(client);
        }
        client.listening.tally().resting.up();
        let resting = Some(Resting { client: client.at_rest(), wait });
        if free.pop().is_some() {
            places[key as usize] = resting;
        } else {
            places.push(resting);
        }
        None
    }

    /// Takes out the client that the reactor calls by this number.
    pub(crate) fn take(&self, key: u32) -> Option<(Client, Wait)> {
        let resting = self.places.borrow_mut().get_mut(key as usize)?.take()?;
        self.free.borrow_mut().push(key);
        resting.client.listening.tally().resting.down();
        Some((resting.client, resting.wait))
    }

    /// Looks at some of the clients: closes those whose time is over, and hands those to `rouse` that have sent something
    /// which the reactor has not reported yet.
    pub(crate) fn walk(&self, now: Instant, mut rouse: impl FnMut(Client, Wait)) {
        let count = self.places.borrow().len();
        let looks = (count / SWEEPS_FOR_ALL).max(LEAST_LOOKED_AT).min(count);
        let (mut at, mut closed) = (self.next.get(), 0);
        for _ in 0..looks {
            at = if at < count { at } else { 0 };
            if self.places.borrow()[at].as_ref().is_some_and(|resting| resting.is_over(now)) {
                if closed == MAX_CLOSED {
                    break;
                }
                closed += 1;
                let key = u32::try_from(at).expect("keys are below 2^32");
                let (client, wait) = self.take(key).expect("it was there");
                if client.socket.has_more() {
                    rouse(client, wait);
                }
            }
            at += 1;
        }
        self.next.set(at);
        self.shrink();
    }

    /// Gives memory back after a flood of clients has gone.
    fn shrink(&self) {
        let (mut places, mut free) = (self.places.borrow_mut(), self.free.borrow_mut());
        if free.len() == places.len() && places.capacity() > LEAST_LOOKED_AT {
            (*places, *free) = (Vec::new(), Vec::new());
        }
    }
}

impl Resting {
    /// Whether it should leave: its time is over, or its listener drains and it has nothing under way.
    fn is_over(&self, now: Instant) -> bool {
        match self.wait {
            Wait::First(until) => until <= now,
            Wait::Next(until) => until <= now || self.client.listening.is_draining(),
        }
    }
}
