//! What a pick looks at of each server, and nothing else.
//!
//! Kept apart from the rest of a server's state so that 256 of them are 6 KiB and a pick stays in the
//! processor's nearest cache.

use core::num::NonZeroU32;

/// Requests in flight for a weight; compared without dividing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    active: u32,
    weight: u32,
}

impl Load {
    /// The load that round-robin sees in every server.
    pub(crate) const ALIKE: Self = Self { active: 0, weight: 1 };

    pub(crate) const fn is_below(self, other: Self) -> bool {
        self.cross(other) < other.cross(self)
    }

    pub(crate) const fn equals(self, other: Self) -> bool {
        self.cross(other) == other.cross(self)
    }

    const fn cross(self, other: Self) -> u64 {
        self.active as u64 * other.weight as u64
    }
}

/// One server in the eyes of a pick.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// The weighted turn of smooth round-robin: who has waited longest for its share has most.
    credit: i64,
    /// The weight at this time, in thousandths; at least 1.
    weight: u32,
    active: u32,
    limit: NonZeroU32,
    admitted: bool,
}

impl Lane {
    /// An idle server that may be picked.
    pub(crate) const fn new(weight: u32, limit: NonZeroU32) -> Self {
        Self { credit: 0, weight, active: 0, limit, admitted: true }
    }

    /// What time and health make of the server.
    pub(crate) const fn set(&mut self, weight: u32, admitted: bool) {
        self.weight = weight;
        self.admitted = admitted;
    }

    pub(crate) const fn is_admitted(&self) -> bool {
        self.admitted
    }

    pub(crate) const fn active(&self) -> u32 {
        self.active
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.active < self.limit.get()
    }

    pub(crate) const fn load(&self) -> Load {
        Load { active: self.active, weight: self.weight }
    }

    /// Gains its weight; the weight, and the credit that it now has.
    pub(crate) fn gain(&mut self) -> (i64, i64) {
        self.credit += i64::from(self.weight);
        (i64::from(self.weight), self.credit)
    }

    /// Pays for being picked.
    pub(crate) const fn pay(&mut self, total: i64) {
        self.credit -= total;
    }

    /// Takes over what is in flight at the same server before a reload.
    pub(crate) const fn adopt(&mut self, before: &Self) {
        self.active = before.active;
    }

    pub(crate) const fn start(&mut self) {
        self.active += 1;
    }

    pub(crate) fn finish(&mut self) {
        debug_assert!(self.active > 0, "what finishes has started");
        self.active = self.active.saturating_sub(1);
    }
}
