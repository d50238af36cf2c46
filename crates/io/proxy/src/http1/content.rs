//! How much of a message's content is still to come, in either direction.

use evenkeel_http1::{ChunkError, ChunkScanner, Framing, Piece};

/// Content that is still to come.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing more.
    Done,
    /// So many bytes, at least 1.
    Length(u64),
    /// Until the last chunk. Boxed, for it is rare and a connection's memory counts.
    Chunked(Box<ChunkScanner>),
    /// Until the connection ends.
    UntilClose,
}

impl Content {
    /// The whole content of a message.
    pub(crate) fn of(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(ChunkScanner::new())),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes from `input` what belongs to the content; its number of bytes.
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<usize, ChunkError> {
        match self {
            Self::Done => Ok(0),
            Self::UntilClose => Ok(input.len()),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                self.passed(taken as u64);
                Ok(taken)
            }
            Self::Chunked(scanner) => {
                let scan = scanner.scan(input)?;
                if scan.done {
                    *self = Self::Done;
                }
                Ok(scan.taken)
            }
        }
    }

    /// Like [`Self::take`], and appends the data without chunk framing to `out`.
    pub(crate) fn take_plain(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let Self::Chunked(scanner) = self else {
            let taken = self.take(input)?;
            out.extend_from_slice(&input[..taken]);
            return Ok(taken);
        };
        let mut taken = 0;
        while taken < input.len() && !scanner.is_done() {
            taken += match scanner.next(&input[taken..])? {
                Piece::Framing(length) => length,
                Piece::Data(length) => {
                    out.extend_from_slice(&input[taken..taken + length]);
                    length
                }
            };
        }
        if scanner.is_done() {
            *self = Self::Done;
        }
        Ok(taken)
    }

    /// `count` bytes of content with a known length went by without being looked at.
    pub(crate) fn passed(&mut self, count: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count);
            if *left == 0 {
                *self = Self::Done;
            }
        }
    }

    /// Bytes of data that are known of so far, beyond those that were taken.
    pub(crate) fn announced(&self) -> u64 {
        match self {
            Self::Chunked(scanner) => scanner.data_bytes(),
            Self::Length(length) => *length,
            Self::Done | Self::UntilClose => 0,
        }
    }
}
