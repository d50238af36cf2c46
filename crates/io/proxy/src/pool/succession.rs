//! A pool that takes another's place in a reload.
//!
//! Owns: what goes along: kept connections at once, what is in flight one by one as it ends. Leaves to others: what is
//! new (`plan`), and health (`core/balance`). Invariants: a connection to a server that stays is not made again; the
//! newest pool counts what is in flight at all before it, and whoever waits, waits there, so that a reload neither
//! doubles a limit nor lets anyone wait in vain.

use std::rc::Rc;

use evenkeel_balance::{Key, Outcome, Pick, ServerIndex, Tried};
use evenkeel_config::balancer;
use evenkeel_units::Instant;

use super::{PoolState, connection_deadlines};
use crate::shared::{PoolShared, ServerShared};

/// What took a pool's place.
pub(super) struct Successor {
    pool: Rc<PoolState>,
    /// Where each server of the pool stands in its successor; `None` where it is no more.
    places: Box<[Option<ServerIndex>]>,
}

impl Successor {
    fn place(&self, server: ServerIndex) -> Option<ServerIndex> {
        self.places.get(server.position()).copied().flatten()
    }
}

impl PoolState {
    /// Whether this very pool goes on under a new plan, because nothing of it changes.
    pub(crate) fn goes_on(
        &self,
        shared: &PoolShared,
        settings: &balancer::Pool,
        deadlines: &balancer::Deadlines,
    ) -> bool {
        let same = std::ptr::eq(std::sync::Arc::as_ptr(&self.shared), shared);
        same && self.balance.borrow().settings() == settings
            && (self.connect, self.keep_idle) == connection_deadlines(deadlines)
    }

    /// Gives `next` the kept connections, and from now on tells it what ends here.
    ///
    /// To be called for each pool that `next` replaces, also those replaced before that still have requests: each then
    /// points to the newest, so that no chain of pools grows under many reloads.
    pub(crate) fn hand_over(&self, next: &Rc<Self>) {
        let place = |server| {
            let same = |other| std::sync::Arc::ptr_eq(server, other);
            let at = next.shared.servers.iter().position(same)?;
            next.balance.borrow().indexes().nth(at)
        };
        let places: Box<[_]> = self.shared.servers.iter().map(place).collect();
        for (position, (idle, place)) in self.idle.iter().zip(&places).enumerate() {
            let mut kept = idle.take();
            match place {
                // The count of idle connections belongs to the server, which stays.
                Some(place) => {
                    let ways = &next.shared.ways[place.position()];
                    let gone = kept.extract_if(.., |kept| !kept.socket.goes_by(ways));
                    gone.for_each(|_| self.shared.servers[position].tallies[self.worker].idle.down());
                    next.idle[place.position()].borrow_mut().extend(kept);
                }
                None => {
                    kept.iter().for_each(|_| self.shared.servers[position].tallies[self.worker].idle.down());
                }
            }
        }
        for (links, place) in self.links.iter().zip(&places) {
            if let Some(place) = place {
                next.links[place.position()].adopt(links);
            }
        }
        *self.successor.borrow_mut() = Some(Successor { pool: Rc::clone(next), places });
        // Those who wait look again, and go on waiting at the newest.
        let mut queue = self.queue.borrow_mut();
        while let Some(waiter) = queue.next(Instant::START) {
            // One that has given up needs no word.
            let _ = waiter.send(());
        }
    }

    /// The pool in whose place this one stood, after all reloads; this very one without any.
    pub(super) fn newest(self: &Rc<Self>) -> Rc<Self> {
        self.successor.borrow().as_ref().map_or_else(|| Rc::clone(self), |next| Rc::clone(&next.pool))
    }

    /// The next server for a request that began here: the choice of the newest pool, among the servers known here.
    pub(super) fn pick(&self, now: Instant, tried: &Tried, key: Key) -> Pick {
        let successor = self.successor.borrow();
        let Some(next) = successor.as_ref() else {
            return self.balance.borrow_mut().pick(now, tried, key);
        };
        let key = key.moved(|server| next.place(server));
        let mut there = Tried::NONE;
        let known = |index: &ServerIndex| next.places.iter().position(|place| place.as_ref() == Some(index));
        let here = self.balance.borrow().indexes();
        here.filter(|&index| tried.contains(index))
            .filter_map(|index| next.place(index))
            .for_each(|at| there.add(at));
        for _ in 0..=next.pool.shared.servers.len() {
            match next.pool.balance.borrow_mut().pick(now, &there, key) {
                Pick::Server(found) => {
                    match known(&found).and_then(|at| self.balance.borrow().indexes().nth(at)) {
                        Some(index) => return Pick::Server(index),
                        None => there.add(found),
                    }
                }
                other @ (Pick::Full | Pick::Nobody) => return other,
            }
        }
        Pick::Nobody
    }

    /// Takes in what an operator ordered of one server.
    pub(super) fn follow_orders(&self, now: Instant, index: ServerIndex, server: &ServerShared) {
        let mut balance = self.balance.borrow_mut();
        let told = balance.settings().servers[index.position()].weight;
        balance.set_weight(now, index, server.ordered_weight().unwrap_or(told));
        if server.is_draining() {
            balance.drain(now, index);
            drop(balance);
            // Whoever is to be stopped should not be found by a request on a connection that was kept.
            self.forget_kept(index);
        } else {
            balance.resume(now, index);
        }
    }

    /// Whether another pool has taken this one's place.
    pub(super) fn is_replaced(&self) -> bool {
        self.successor.borrow().is_some()
    }

    /// The pool that has taken this one's place, with the server's place there if it stays.
    pub(super) fn successor(&self, server: ServerIndex) -> Option<(Rc<Self>, Option<ServerIndex>)> {
        let successor = self.successor.borrow();
        successor.as_ref().map(|next| (Rc::clone(&next.pool), next.place(server)))
    }

    /// Tells the successor that something begins here.
    pub(super) fn start_at_successor(&self, server: ServerIndex) {
        if let Some((next, Some(place))) = self.successor(server) {
            // It has been counted as a request here.
            let mut tried = Tried::NONE;
            tried.add(place);
            next.balance.borrow_mut().start(place, &tried);
        }
    }

    /// Tells the successor that something has ended here.
    pub(super) fn finish_at_successor(&self, now: Instant, server: ServerIndex, outcome: Outcome) {
        if let Some((next, Some(place))) = self.successor(server) {
            next.balance.borrow_mut().finish(now, place, outcome);
            next.feed(place, now);
            next.wake(now);
        }
    }

    /// No source port is left towards a server: it is given nothing that needs one, until there is.
    pub(super) fn starve(&self, server: ServerIndex) {
        match self.successor(server) {
            Some((next, Some(place))) => next.balance.borrow_mut().starve(place),
            Some((_, None)) => {}
            None => self.balance.borrow_mut().starve(server),
        }
    }
}
