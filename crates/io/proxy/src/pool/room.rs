//! Waiting for the other side, and what a request that waits for its client gives up meanwhile.
//!
//! Owns: telling `core/balance` which requests wait, and carrying out who gives way. Leaves to others: deciding that
//! (`evenkeel_balance::Stalled`), and moving bytes. Invariant: whoever gave its place up has it again before its request
//! is finished.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use evenkeel_balance::{Place, Seat, ServerIndex, Stalled, Way};
use evenkeel_units::Instant;

use super::{Lease, PoolState, deadline};
use crate::{
    clock::Clock,
    net::sweep::{Expired, Phase, Watch},
};

/// Waiting for one side of an exchange, to send more or to have room.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    pub(crate) watch: &'a Rc<Watch>,
    pub(crate) clock: Clock,
    /// How long it may give or take nothing.
    pub(crate) idle: Duration,
    /// The place that its request holds, when the client is waited for; `None` when the server is.
    pub(crate) lease: Option<&'a Lease>,
}

impl Room<'_> {
    /// Waits for what `poll` waits for, but not beyond the deadline, which begins anew with each wait.
    pub(crate) async fn wait<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Expired> {
        let mut waits = None;
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = poll(context) {
                return Poll::Ready(Ok(done));
            }
            waits.get_or_insert_with(|| {
                let now = self.clock.now();
                self.watch.set(Phase::Busy, deadline(now, self.idle));
                self.lease.map(|lease| lease.await_client(self.watch, now))
            });
            self.watch.poll_expired(context).map(Err)
        })
        .await
    }
}

/// A request that waits for its client.
struct Waiting {
    pool: Rc<PoolState>,
    server: ServerIndex,
    watch: Rc<Watch>,
}

/// Those of a pool, shared with the pools that take its place.
#[derive(Clone)]
pub(super) struct StalledRequests(Rc<RefCell<Stalled<Waiting>>>);

impl StalledRequests {
    /// Those of `before` a reload, or none; from now on at most `most` of them stand aside.
    pub(super) fn new(most: usize, before: Option<&Self>) -> Self {
        let Some(before) = before else { return Self(Rc::new(RefCell::new(Stalled::new(most)))) };
        before.0.borrow_mut().set_most_aside(most);
        before.clone()
    }
}

/// What came of looking for one that gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// One did.
    Way,
    /// Nobody could.
    Nothing,
}

impl PoolState {
    /// Frees a place that a request holds which waits for its client, if one may be freed now.
    pub(super) fn make_way(&self, now: Instant) -> Made {
        let mut stalled = self.stalled.0.borrow_mut();
        match stalled.make_way(now) {
            Way::GivenBy(waiting) => {
                waiting.pool.step_aside(waiting.server);
                Made::Way
            }
            Way::Cut(waiting) => {
                drop(stalled);
                waiting.pool.step_aside(waiting.server);
                waiting.pool.tally(waiting.server).cut_stalled.up();
                waiting.watch.expire();
                Made::Way
            }
            Way::Blocked => Made::Nothing,
        }
    }

    fn step_aside(&self, server: ServerIndex) {
        self.balance.borrow_mut().step_aside(server);
        if let Some((next, Some(place))) = self.successor(server) {
            next.balance.borrow_mut().step_aside(place);
        }
    }

    fn step_in(&self, server: ServerIndex) {
        self.balance.borrow_mut().step_in(server);
        if let Some((next, Some(place))) = self.successor(server) {
            next.balance.borrow_mut().step_in(place);
        }
    }
}

/// The wait of a request for its client; ends when dropped.
struct Wait {
    pool: Rc<PoolState>,
    server: ServerIndex,
    seat: Seat,
}

impl Lease {
    fn await_client(&self, watch: &Rc<Watch>, now: Instant) -> Wait {
        let (pool, server) = (Rc::clone(&self.pool), self.server);
        let waiting = Waiting { pool: Rc::clone(&pool), server, watch: Rc::clone(watch) };
        let seat = pool.stalled.0.borrow_mut().enter(now, waiting);
        Wait { pool, server, seat }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let place = self.pool.stalled.0.borrow_mut().leave(self.seat);
        match place {
            Place::Kept => {}
            Place::GivenUp => self.pool.step_in(self.server),
        }
    }
}
