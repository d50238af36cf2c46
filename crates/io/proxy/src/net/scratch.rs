//! Buffers of a worker thread.
//!
//! Owns: one pair of large buffers that is only used between two waits, and a stock of small ones for requests
//! in flight. Invariant: nothing is borrowed across a wait, so an idle connection owns no buffer.

use std::cell::RefCell;

/// Bytes read at once: what a pipe or a receive window of a fresh connection holds, 16 pages.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// Room in a small buffer: a browser's head with cookies is about 1 to 2 KiB.
const SMALL_BYTES: usize = 2 * 1024;

/// Small buffers that grew beyond this are freed instead of kept.
const KEPT_BYTES: usize = 16 * 1024;

/// Most small buffers kept: at 2 KiB each 2 MiB a thread, enough for 1,024 requests at once.
const KEPT_BUFFERS: usize = 1024;

/// The large buffers.
pub(crate) struct Scratch {
    /// For what is read.
    pub(crate) input: Box<[u8]>,
    /// For what is written.
    pub(crate) output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; SCRATCH_BYTES].into_boxed_slice(),
        output: Vec::with_capacity(2 * SCRATCH_BYTES),
    });
    static SMALL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Uses the large buffers of this thread; must not be nested.
pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.output.clear();
        work(scratch)
    })
}

/// An empty small buffer.
pub(crate) fn take() -> Vec<u8> {
    SMALL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
}

/// Gives a small buffer back.
pub(crate) fn give(mut buffer: Vec<u8>) {
    SMALL.with_borrow_mut(|kept| {
        if buffer.capacity() <= KEPT_BYTES && kept.len() < KEPT_BUFFERS {
            buffer.clear();
            kept.push(buffer);
        }
    });
}
