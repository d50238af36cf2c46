//! A second place for a request that takes long, and what is learned from how long answers take.
//!
//! Owns: a lease's way to a second one, and telling the balance of times. Leaves to others: whether a hedge is worth it
//! (`core/balance`), and the race (`http1::hedge`). Invariant: a pool that learns nothing from times reads no clock for it.

use std::time::Duration;

use evenkeel_balance::{Key, Layout, Outcome, Tried};
use evenkeel_config::balancer::{HedgeAfter, Learned, Policy};
use evenkeel_units::Instant;

use crate::{
    net::sweep::Watch,
    pool::{Lease, Reuse, Server, links::Linked},
    worker::Worker,
};

/// Whether a pool learns from how long answers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Yes.
    Matter,
    /// No, so they need not be taken.
    Ignored,
}

impl Times {
    /// Whether they matter to a pool with this configuration.
    pub(super) fn of(layout: &Layout) -> Self {
        let settings = layout.settings();
        let matter = settings.policy == Policy::PeakEwma
            || settings.hedge.after != HedgeAfter::Off
            // Beside whom should the only server be slow?
            || (settings.limits.learned == Learned::On && settings.servers.len() > 1);
        if matter { Self::Matter } else { Self::Ignored }
    }
}

impl Lease {
    /// Whether the pool learns from how long answers take.
    pub(crate) fn times(&self) -> Times {
        self.pool.times
    }

    /// The answer to what was asked at `asked` had come at `now`, or would have taken longer than that.
    pub(crate) fn answered(&self, now: Instant, asked: Instant) {
        self.pool.balance.borrow_mut().answered(now, self.server, now.since(asked));
        if let Some((next, Some(place))) = self.pool.successor(self.server) {
            next.balance.borrow_mut().answered(now, place, now.since(asked));
        }
    }

    /// After which time a request that was just sent here should ask for a second place; `None` when it need not.
    pub(crate) fn hedge_after(&self) -> Option<Duration> {
        if self.pool.is_replaced() { None } else { self.pool.balance.borrow().hedge_after() }
    }

    /// A second place for a request that has waited here for `waited`, and has been to `tried` before.
    ///
    /// # Errors
    /// For how long the request should have waited before it asks again; `None` when it should not ask any more.
    pub(crate) fn hedge(
        &self,
        (now, waited): (Instant, Duration),
        tried: &Tried,
        key: Key,
    ) -> Result<Self, Option<Duration>> {
        // A second connection could not say whom the request is from.
        if self.pool.is_replaced() || self.pool.announces().is_some() {
            return Err(None);
        }
        let mut been = *tried;
        been.add(self.server);
        let other = self.pool.balance.borrow_mut().hedge(now, (self.server, waited), &been, key)?;
        let mut lease = self.pool.lease(other, &been);
        // Until it wins, or fails by itself.
        lease.outcome = Outcome::Overtaken;
        self.pool.tally(other).hedges.up();
        Ok(lease)
    }

    /// A connection to the server of this place, kept or made.
    ///
    /// # Errors
    /// Who is to blame that there is none.
    pub(crate) async fn connection(&self, watch: &Watch) -> Result<Server, Outcome> {
        if let Some(socket) = self.pool.pop(self.server, self.pool.clock.now()) {
            return Ok(Server::new(socket, true));
        }
        self.pool.dial(self.server, watch, Reuse::Fresh).await.map(|socket| Server::new(socket, false))
    }

    /// A stream on a connection to the server of this place, which is there or made.
    ///
    /// # Errors
    /// Who is to blame that there is none.
    pub(crate) async fn stream(&self, worker: &Worker, watch: &Watch) -> Result<Linked, Outcome> {
        match self.pool.linked(self.server) {
            Some(linked) => Ok(linked),
            None => self.pool.link(worker, self.server, watch).await,
        }
    }

    /// Another server answered the request that was sent here at `asked` first.
    pub(crate) fn overtaken(self, now: Instant, asked: Instant) {
        self.answered(now, asked);
        self.end(now, Outcome::Overtaken, None);
    }
}
