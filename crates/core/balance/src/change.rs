//! What changed in a pool by itself, for logs and metrics.

use alloc::collections::VecDeque;

use evenkeel_units::Instant;

use crate::{Opening, ServerIndex};

/// Most changes that wait to be polled; the oldest give way.
///
/// A sweep five times a second sees a few; only when hundreds of servers fail at once does the log miss some.
pub const MAX_CHANGES: usize = 256;

/// Something that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The server failed too often in a row and is left out.
    Ejected {
        /// Which.
        server: ServerIndex,
        /// Until when.
        until: Instant,
    },
    /// The time for which the server was left out is over; it begins again slowly.
    Returned {
        /// Which.
        server: ServerIndex,
    },
    /// Checks failed; the server is left out until they pass.
    Down {
        /// Which.
        server: ServerIndex,
    },
    /// Checks pass again; the server begins again slowly.
    Up {
        /// Which.
        server: ServerIndex,
    },
    /// Which servers may be picked at all.
    Opening(Opening),
}

/// Changes that wait to be polled.
#[derive(Debug, Clone)]
pub(crate) struct Changes(VecDeque<Change>);

impl Changes {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(MAX_CHANGES))
    }

    pub(crate) fn push(&mut self, change: Change) {
        if self.0.len() == MAX_CHANGES {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub(crate) fn poll(&mut self) -> Option<Change> {
        self.0.pop_front()
    }
}
