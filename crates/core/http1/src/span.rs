//! Places within a head.
//!
//! Invariant: a span made for one slice of bytes is only read from that slice or a longer one that begins alike.

/// A stretch of bytes by its offsets, so that a parsed head borrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { start: 0, end: 0 };

    /// From `start` up to and without `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let offset =
            |at: usize| u32::try_from(at).expect("callers cut a head at its limit, which is far below 4 GiB");
        Self { start: offset(start), end: offset(end) }
    }

    /// Where `part` lies in `whole`, of which it must be a slice.
    pub(crate) fn within(whole: &[u8], part: &[u8]) -> Self {
        let start = offset(whole, part);
        Self::new(start, start + part.len())
    }

    /// The first offset.
    #[must_use]
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// The offset after the last one.
    #[must_use]
    pub const fn end(self) -> usize {
        self.end as usize
    }

    /// The bytes.
    ///
    /// # Panics
    /// When `bytes` is shorter than the slice for which the span was made.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start()..self.end()]
    }
}

/// Where `part` begins in `whole`, of which it must be a slice.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}
