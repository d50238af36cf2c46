//! Deadlines, found by a coarse sweep instead of a timer for each.
//!
//! Owns: one [`Watch`] for each connection, and the walk over all of them. Invariant: a wait under a watch
//! ends at most [`SWEEP_INTERVAL`] after its deadline, never before; setting a deadline is one store.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use evenkeel_units::Instant;

/// From one walk over the deadlines to the next.
///
/// The shortest deadline of a configuration that makes sense is some hundred milliseconds; a walk over
/// 10,000 connections costs about 50 µs, so ten a second cost half a per mille of a core.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(50);

/// No deadline.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// A deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired;

/// What a connection waits for, as far as the sweep cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next request, of which nothing has come.
    Idle,
    /// Something is under way.
    Busy,
}

/// The deadline of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Cell<Instant>,
    /// No deadline is later than this.
    bound: Cell<Instant>,
    phase: Cell<Phase>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    /// A watch without a deadline, which no sweep sees.
    pub(crate) fn idle() -> Rc<Self> {
        Rc::new(Self {
            deadline: Cell::new(NEVER),
            bound: Cell::new(NEVER),
            phase: Cell::new(Phase::Busy),
            expired: Cell::new(false),
            waker: RefCell::new(None),
        })
    }

    /// From now on the connection waits until `deadline`.
    pub(crate) fn set(&self, phase: Phase, deadline: Instant) {
        self.phase.set(phase);
        self.deadline.set(deadline.min(self.bound.get()));
        self.expired.set(false);
    }

    /// Nothing is waited for; who waits next sets a deadline of its own.
    pub(crate) fn rest(&self) {
        self.set(Phase::Busy, NEVER);
    }

    /// From now on no deadline is later than `until`, until there is another bound or none.
    pub(crate) fn bound(&self, until: Option<Instant>) {
        self.bound.set(until.unwrap_or(NEVER));
    }

    /// Whether the deadline has come; if not, the task is woken when it does.
    pub(crate) fn poll_expired(&self, context: &Context<'_>) -> Poll<Expired> {
        if self.expired.get() {
            return Poll::Ready(Expired);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for `future`, but not beyond the deadline.
    pub(crate) async fn guard<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_expired(context).map(Err),
        })
        .await
    }

    /// The deadline has come, whenever it was to be.
    pub(crate) fn expire(&self) {
        self.expired.set(true);
        self.deadline.set(NEVER);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The watches of one worker.
#[derive(Debug, Default)]
pub(crate) struct Sweep(RefCell<Vec<Rc<Watch>>>);

impl Sweep {
    /// A watch for a new connection, without a deadline yet.
    pub(crate) fn watch(&self) -> Rc<Watch> {
        let watch = Watch::idle();
        self.0.borrow_mut().push(Rc::clone(&watch));
        watch
    }

    /// Wakes those whose deadline has come, and forgets those whose connection has gone.
    pub(crate) fn walk(&self, now: Instant) {
        self.0.borrow_mut().retain(|watch| {
            if watch.deadline.get() <= now {
                watch.expire();
            }
            Rc::strong_count(watch) > 1
        });
    }

    /// Ends every wait for a next request at once.
    pub(crate) fn end_idle(&self) {
        for watch in self.0.borrow().iter().filter(|watch| watch.phase.get() == Phase::Idle) {
            watch.expire();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::START + Duration::from_millis(milliseconds)
    }

    fn expired(watch: &Watch) -> bool {
        watch.poll_expired(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_watch_expires_at_its_deadline_and_not_before() {
        let sweep = Sweep::default();
        let watch = sweep.watch();
        watch.set(Phase::Busy, at(100));
        sweep.walk(at(99));
        assert!(!expired(&watch));
        sweep.walk(at(100));
        assert!(expired(&watch));
        watch.set(Phase::Busy, at(200));
        assert!(!expired(&watch), "a new deadline begins a new wait");
    }

    #[test]
    fn a_bound_holds_every_deadline_until_it_is_lifted() {
        let sweep = Sweep::default();
        let watch = sweep.watch();
        watch.bound(Some(at(100)));
        watch.set(Phase::Busy, at(200));
        sweep.walk(at(100));
        assert!(expired(&watch));
        watch.bound(None);
        watch.set(Phase::Busy, at(200));
        sweep.walk(at(199));
        assert!(!expired(&watch));
    }

    #[test]
    fn ending_the_idle_leaves_those_at_work_alone() {
        let sweep = Sweep::default();
        let (idle, busy) = (sweep.watch(), sweep.watch());
        idle.set(Phase::Idle, at(100));
        busy.set(Phase::Busy, at(100));
        sweep.end_idle();
        assert!(expired(&idle) && !expired(&busy));
    }

    #[test]
    fn watches_of_gone_connections_are_forgotten() {
        let sweep = Sweep::default();
        drop(sweep.watch());
        sweep.walk(at(1));
        assert!(sweep.0.borrow().is_empty());
    }
}
