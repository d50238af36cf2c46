//! What runs: the release that the box started, and the slot that it therefore may write.

use evenkeel_units::{Digest, Slot, Version};

/// What the box started, as `boot.json` tells it (docs/protocol.md, "Box: files and sockets").
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Running {
    /// The release.
    pub version: Version,
    /// The slot that its root image is in.
    pub slot: Slot,
    /// The dm-verity root hash of its root image.
    pub root_hash: Digest,
}

impl Running {
    /// The slot that may be written.
    #[must_use]
    pub const fn inactive(&self) -> InactiveSlot {
        InactiveSlot(self.slot.other())
    }
}

/// A slot that nothing runs from. Only [`Running::inactive`] makes one, so it is never the running slot (I1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InactiveSlot(Slot);

impl InactiveSlot {
    /// Which slot it is.
    #[must_use]
    pub const fn slot(self) -> Slot {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i1_the_inactive_slot_is_never_the_running_one() {
        for slot in Slot::BOTH {
            let running = Running { version: Version::new(1, 0, 0), slot, root_hash: Digest::of(b"root") };
            assert_ne!(running.inactive().slot(), slot);
        }
    }
}
