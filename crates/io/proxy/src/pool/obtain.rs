//! A server, and a connection to it.
//!
//! Owns: the one loop that obtains both, whatever kind of connection a request needs, and the wait for a server with
//! room. Leaves to others: making connections (`dial`, `links`), and which server is next (`core/balance`). Invariant:
//! the short way allocates nothing and waits for nothing.

use std::{rc::Rc, time::Duration};

use evenkeel_balance::{Key, LocalCause, Outcome, Pick, ServerIndex, Tried};
use evenkeel_units::Instant;
use tokio::sync::oneshot;

use super::{
    Lease, PoolState,
    tries::{Led, Miss, Unserved},
};
use crate::net::sweep::{Phase, Watch};

/// How long a request waited before it had its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Waits {
    /// For a place at a server.
    pub(crate) queued: Duration,
    /// For the connection to come about; zero for one that was there.
    pub(crate) connected: Duration,
}

/// A kind of connection that a request may have to a server.
pub(crate) trait Way {
    /// A connection, or a place on one.
    type Connection: AsMut<Waits>;

    /// One that is there already.
    fn kept(&self, pool: &Rc<PoolState>, server: ServerIndex, now: Instant) -> Option<Self::Connection>;

    /// One that is made.
    ///
    /// # Errors
    /// Who is to blame that there is none.
    async fn made(
        &self,
        pool: &Rc<PoolState>,
        server: ServerIndex,
        watch: &Watch,
    ) -> Result<Self::Connection, Outcome>;
}

/// What the short way to a server gave.
pub(crate) enum Kept<C> {
    /// A place at a server and a connection that was there.
    Connection(Lease, C),
    /// A place at a server, to which a connection must be made.
    Place(Lease),
    /// No place: who asks must wait.
    Wait,
}

impl PoolState {
    /// The next server, when nobody has to wait: the short way.
    pub(crate) fn kept<W: Way>(
        self: &Rc<Self>,
        now: Instant,
        (tried, key): (&Tried, Key),
        way: &W,
    ) -> Kept<W::Connection> {
        if !self.newest().queue.borrow().is_empty() {
            return Kept::Wait;
        }
        self.sync(now);
        let Pick::Server(index) = self.pick(now, tried, key) else { return Kept::Wait };
        let lease = self.lease(index, tried);
        match way.kept(self, index, now) {
            Some(connection) => Kept::Connection(lease, connection),
            None => Kept::Place(lease),
        }
    }

    /// A server and a connection to it, after waiting for both when need be, beginning with `place` when that
    /// was found already; servers that cannot be reached are added to where the request has been.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn obtain<W: Way>(
        self: &Rc<Self>,
        mut place: Option<Lease>,
        (tries, key): Led<'_>,
        watch: &Watch,
        way: &W,
    ) -> Result<(Lease, W::Connection), Unserved> {
        let asked = self.clock.now();
        let mut until = asked + self.queue_deadline;
        loop {
            let lease = match place.take() {
                Some(lease) => lease,
                None => match self.wait_for_room((&tries.tried, key), watch, until).await {
                    Ok(lease) => lease,
                    Err(unserved) => return Err(tries.remember(unserved)),
                },
            };
            let now = self.clock.now();
            let queued = now.since(asked);
            if let Some(mut connection) = way.kept(self, lease.server, now) {
                connection.as_mut().queued = queued;
                return Ok((lease, connection));
            }
            match way.made(self, lease.server, watch).await {
                Ok(mut connection) => {
                    *connection.as_mut() = Waits { queued, connected: self.clock.now().since(now) };
                    return Ok((lease, connection));
                }
                // No failure of the server's and no try of the request's: it waits for a port as it would for a place.
                Err(outcome @ Outcome::Local(LocalCause::SourcePorts)) => {
                    self.starve(lease.server);
                    tries.lack(lease.server, outcome);
                    lease.end(self.clock.now(), outcome, None);
                }
                Err(outcome) => {
                    let now = self.clock.now();
                    lease.fail_over(now, tries, Miss::Connect(outcome))?;
                    until = now + self.queue_deadline;
                }
            }
        }
    }

    async fn wait_for_room(
        self: &Rc<Self>,
        (tried, key): (&Tried, Key),
        watch: &Watch,
        until: Instant,
    ) -> Result<Lease, Unserved> {
        let mut now = self.clock.now();
        let mut first = true;
        loop {
            self.sync(now);
            let newest = self.newest();
            let must_queue = first && !newest.queue.borrow().is_empty();
            let pick = if must_queue { Pick::Full } else { self.pick(now, tried, key) };
            match pick {
                Pick::Server(index) => {
                    let lease = self.lease(index, tried);
                    // Where much room came at once, each that takes a place lets the next one in.
                    newest.wake(now);
                    return Ok(lease);
                }
                Pick::Nobody => return Err(Unserved::Nobody),
                Pick::Full => {}
            }
            first = false;
            let (free, woken) = oneshot::channel();
            let ticket = newest.queue.borrow_mut().enter(now, free).map_err(|_| Unserved::Queue)?;
            watch.set(Phase::Busy, until);
            // A request that waits for its client may give way at once.
            newest.wake(now);
            let granted = watch.guard(woken).await;
            newest.queue.borrow_mut().leave(ticket);
            now = self.clock.now();
            if granted.is_err() || now >= until {
                // A place that was granted in the same moment is passed on.
                self.newest().wake(now);
                return Err(Unserved::Queue);
            }
        }
    }
}
