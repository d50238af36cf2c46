//! How much of a message's content is still to come, in either direction.

use evenkeel_http1::{ChunkError, ChunkScanner, Framing, Piece, Trailers};

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

/// What was taken of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// So many bytes belong to the content.
    pub(crate) taken: usize,
    /// So many of them, from the first, go on as they are.
    pub(crate) kept: usize,
}

impl Content {
    /// The whole content of a message.
    pub(crate) fn of(framing: Framing, trailers: Trailers) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(ChunkScanner::new(trailers))),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes from `input` what belongs to the content. What goes on is the beginning of the input, copied nowhere, and
    /// behind it what is appended to `edited`, where an extension or a trailer section had to be left out or changed.
    pub(crate) fn take(&mut self, input: &[u8], edited: &mut Vec<u8>) -> Result<Taken, ChunkError> {
        let Self::Chunked(scanner) = self else {
            let taken = self.take_bare(input);
            return Ok(Taken { taken, kept: taken });
        };
        let (mut taken, mut kept, mut edits) = (0, 0, false);
        while taken < input.len() && !scanner.is_done() {
            let piece = scanner.next(&input[taken..])?;
            let bytes = &input[taken..taken + piece.length()];
            taken += bytes.len();
            match piece {
                Piece::Framing(_) | Piece::Data(_) if edits => edited.extend_from_slice(bytes),
                Piece::Framing(_) | Piece::Data(_) => kept += bytes.len(),
                Piece::Extension(_) => edits = true,
                Piece::Trailer(_) => {
                    edits = true;
                    if scanner.is_done() {
                        edited.extend_from_slice(scanner.trailers());
                        edited.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
        if scanner.is_done() {
            *self = Self::Done;
        }
        Ok(Taken { taken, kept })
    }

    /// Like [`Self::take`], and appends all that goes on to `out`; the number of bytes taken.
    pub(crate) fn take_into(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        let start = out.len();
        let taken = self.take(input, out)?;
        if out.len() == start {
            out.extend_from_slice(&input[..taken.kept]);
        } else {
            out.splice(start..start, input[..taken.kept].iter().copied());
        }
        Ok(taken.taken)
    }

    /// Takes content that is no chunks.
    fn take_bare(&mut self, input: &[u8]) -> usize {
        match self {
            Self::Done | Self::Chunked(_) => 0,
            Self::UntilClose => input.len(),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                self.passed(taken as u64);
                taken
            }
        }
    }

    /// Like [`Self::take_into`], but appends the data alone, without chunks and trailers.
    pub(crate) fn take_plain(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        self.take_apart(input, out).map(|(taken, _)| taken)
    }

    /// Like [`Self::take_plain`], and gives the trailer lines that may pass, when the content has ended with some.
    pub(crate) fn take_apart(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Vec<u8>), ChunkError> {
        let Self::Chunked(scanner) = self else {
            let taken = self.take_bare(input);
            out.extend_from_slice(&input[..taken]);
            return Ok((taken, Vec::new()));
        };
        let mut trailers = Vec::new();
        let mut taken = 0;
        while taken < input.len() && !scanner.is_done() {
            let piece = scanner.next(&input[taken..])?;
            if let Piece::Data(length) = piece {
                out.extend_from_slice(&input[taken..taken + length]);
            }
            taken += piece.length();
        }
        if scanner.is_done() {
            trailers.extend_from_slice(scanner.trailers());
            *self = Self::Done;
        }
        Ok((taken, trailers))
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
