//! Identities of traces and spans, from the system's random bytes.
//!
//! Invariant: no byte is used twice.

use evenkeel_trace::{SpanId, TraceId};

/// Random bytes that are asked for at once: for some 40 requests with two tries each, so that the system call costs each
/// of them next to nothing.
const BLOCK_BYTES: usize = 1024;

/// A stock of random bytes.
#[derive(Debug)]
pub(super) struct Ids {
    block: Box<[u8; BLOCK_BYTES]>,
    used: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self { block: Box::new([0; BLOCK_BYTES]), used: BLOCK_BYTES }
    }
}

impl Ids {
    /// A new trace; `None` when the system gives no random bytes.
    pub(super) fn trace(&mut self) -> Option<TraceId> {
        TraceId::new(self.take()?)
    }

    /// A new span; `None` when the system gives no random bytes.
    pub(super) fn span(&mut self) -> Option<SpanId> {
        SpanId::new(self.take()?)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.used + N > BLOCK_BYTES {
            getrandom::fill(&mut self.block[..]).ok()?;
            self.used = 0;
        }
        let bytes = self.block[self.used..self.used + N].try_into().ok();
        self.used += N;
        bytes
    }
}
