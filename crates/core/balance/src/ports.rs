//! Source ports: how many a source address has left towards one server.
//!
//! A connection takes a port of its source for as long as it lasts, and where we closed first, for a while longer
//! (TIME-WAIT, RFC 9293 §3.6.1); the same port may serve other servers meanwhile. Owns: the count, and which of several
//! sources is next. Leaves to others: which port it is (the kernel's choice) and who closed first. Invariants: a port is
//! never counted as free before its time in TIME-WAIT is over; counts never go below what is open.

use core::time::Duration;

use evenkeel_units::Instant;

use crate::{Pool, ServerIndex};

/// Steps in which the time of TIME-WAIT passes: with 60 s a port comes back 4 s late at most.
const STEPS: usize = 15;

/// Slots of the ring: the steps, and the one that is now.
const SLOTS: usize = STEPS + 1;

/// How a connection left its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// Free at once: the other side closed first, or a reset ended it.
    Free,
    /// In TIME-WAIT: we closed first.
    Waiting,
}

/// The ports of one source towards one server, as one worker uses them.
#[derive(Debug, Clone)]
pub struct PortBook {
    open: u32,
    waiting: u32,
    /// How many went into TIME-WAIT, by step.
    slots: [u32; SLOTS],
    /// The newest step that has a slot.
    newest: u64,
    step: Duration,
}

impl PortBook {
    /// No port is in use; those that are left waiting come back after `time_wait`, at least 15 ms.
    #[must_use]
    pub fn new(time_wait: Duration) -> Self {
        let step =
            Duration::from_nanos(u64::try_from(time_wait.as_nanos() / STEPS as u128).unwrap_or(u64::MAX));
        Self {
            open: 0,
            waiting: 0,
            slots: [0; SLOTS],
            newest: 0,
            step: step.max(Duration::from_millis(1)) + Duration::from_nanos(1),
        }
    }

    /// A connection takes a port.
    pub const fn take(&mut self) {
        self.open += 1;
    }

    /// A connection gives its port back. Each [`Self::take`] needs one.
    pub fn give(&mut self, now: Instant, left: Left) {
        debug_assert!(self.open > 0, "what is given back was taken");
        self.open = self.open.saturating_sub(1);
        match left {
            Left::Free => {}
            Left::Waiting => {
                self.advance(now);
                self.slots[slot(self.newest)] += 1;
                self.waiting += 1;
            }
        }
    }

    /// Lets ports come back whose time is over.
    pub fn advance(&mut self, now: Instant) {
        let step = u64::try_from(u128::from(now.as_nanos()) / self.step.as_nanos()).unwrap_or(u64::MAX);
        let passed = step.saturating_sub(self.newest);
        for ahead in 1..=passed.min(SLOTS as u64) {
            let over = core::mem::take(&mut self.slots[slot(self.newest + ahead)]);
            self.waiting -= over;
        }
        self.newest = self.newest.max(step);
    }

    /// Ports of open connections.
    #[must_use]
    pub const fn open(&self) -> u32 {
        self.open
    }

    /// Ports in TIME-WAIT, as of the last [`Self::advance`].
    #[must_use]
    pub const fn waiting(&self) -> u32 {
        self.waiting
    }
}

fn slot(step: u64) -> usize {
    usize::try_from(step % SLOTS as u64).expect("a remainder of 16 is small")
}

/// What a source has towards a server, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Taken, be it by open connections or in TIME-WAIT.
    pub taken: u32,
    /// There are so many.
    pub all: u32,
}

impl Ports {
    /// How many are left.
    #[must_use]
    pub const fn left(self) -> u32 {
        self.all.saturating_sub(self.taken)
    }

    /// Whether they may run out: half of them are taken.
    ///
    /// Where one half went within a time in TIME-WAIT, the other lasts until the first come back: there is as much time left
    /// to do something. A steady pace never gets there as long as it is below half of what the ports are enough for.
    #[must_use]
    pub const fn are_scarce(self) -> bool {
        self.taken >= self.all.div_ceil(2)
    }
}

/// The position of the source that has most ports left, so that all are used evenly; `None` when none has any. Of equals
/// the first.
#[must_use]
pub fn roomiest(sources: impl IntoIterator<Item = Ports>) -> Option<usize> {
    let left = sources.into_iter().map(Ports::left).enumerate().filter(|&(_, left)| left > 0);
    left.min_by_key(|&(position, left)| (core::cmp::Reverse(left), position)).map(|(position, _)| position)
}

impl Pool {
    /// The box has no source port left towards the server: it is passed over, and waited for when it is the last. Its
    /// health is what it was.
    pub fn starve(&mut self, server: ServerIndex) {
        self.set_starved(server, true);
    }

    /// A connection to the server can be had again.
    pub fn feed(&mut self, server: ServerIndex) {
        self.set_starved(server, false);
    }

    fn set_starved(&mut self, server: ServerIndex, starved: bool) {
        self.lanes[server.position()].set_starved(starved);
        self.place(server.position());
    }

    /// Whether the box has no source port left towards the server.
    #[must_use]
    pub fn is_starved(&self, server: ServerIndex) -> bool {
        self.lanes[server.position()].is_starved()
    }
}
