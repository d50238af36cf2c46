//! How much one connection may move before the others have their turn.
//!
//! Owns: the bound, and counting up to it. Leaves to others: moving. Invariant: between two looks at what else has
//! happened a connection moves no more than [`TURN_BYTES`] and what one call moves beyond.

/// Bytes that one connection moves in a turn: 256 KiB, a full pipe, which takes about 45 µs.
///
/// A client with a wide window could take a whole body at once, one with a narrow window takes 64 KiB and waits its turn
/// again: of 256 clients that fetched 1 MiB each, the slowest hundredth waited eleven times as long as half of them did.
pub(crate) const TURN_BYTES: u64 = 256 * 1024;

/// What a connection has moved in its turn.
#[derive(Debug, Default)]
pub(crate) struct Turn(u64);

impl Turn {
    /// So many bytes more were moved: whether the turn is over and the next one begins.
    pub(crate) const fn is_over_after(&mut self, bytes: u64) -> bool {
        self.0 = self.0.saturating_add(bytes);
        let over = self.0 >= TURN_BYTES;
        if over {
            self.0 = 0;
        }
        over
    }

    /// So many bytes more were moved: lets others in when that was enough.
    pub(crate) async fn moved(&mut self, bytes: u64) {
        if self.is_over_after(bytes) {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_when_a_pipe_full_has_moved_and_begins_anew() {
        let mut turn = Turn::default();
        for _ in 0..2 {
            assert!(!turn.is_over_after(TURN_BYTES - 1));
            assert!(turn.is_over_after(1));
        }
        assert!(turn.is_over_after(u64::MAX));
        assert!(!turn.is_over_after(0));
    }
}
