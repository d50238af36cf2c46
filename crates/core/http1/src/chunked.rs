//! Chunked content (RFC 9112 §7.1): where it ends, and which of its bytes are data.
//!
//! Owns: a scanner that keeps its place over any split of the input, and holds the trailer section until it is whole.
//! Leaves to others: all other bytes. Invariants: a bare CR or LF never passes for a line's end, so every recipient
//! sees the same chunks; what is passed on has neither extensions nor bad white space.

use alloc::vec::Vec;

use crate::{
    ChunkError, Trailers,
    value::{is_text, is_token},
};

/// Longest size line with its extensions, in bytes.
///
/// A size has at most 15 digits; extensions in the wild (signed chunks of object stores) have about 90 bytes.
pub const MAX_CHUNK_LINE: u32 = 1024;

/// Longest trailer section, in bytes.
///
/// Trailers in the wild are a checksum or a status, below 1 KiB; 8 KiB is what Apache httpd allows one field.
pub const MAX_TRAILERS: u32 = 8 * 1024;

/// Most bytes of size lines and extensions beyond what is earned by data, over the whole content.
///
/// Each chunk earns 20 bytes (`FREE_LINE`) and as many as it has data. So 17 chunks of a byte with the longest
/// extension each are a burden that is refused; signed chunks of 64 KiB are not.
pub const MAX_OVERHEAD: u64 = 16 * 1024;

/// What a size line may have for nothing: a size of 8 digits, CR LF, and as much again.
const FREE_LINE: u64 = 20;

/// Most digits of a size: below 2^60, so that sums of it cannot overflow.
const MAX_DIGITS: u8 = 15;

/// Keeps the place in chunked content.
#[derive(Debug, Clone)]
pub struct ChunkScanner {
    state: State,
    /// The size that is being read.
    size: u64,
    /// Bytes of the current size line, or of the trailer section.
    line: u32,
    data: u64,
    overhead: u64,
    trailers: Trailers,
    /// Whole trailer lines; empty, without a heap allocation, for content that has none.
    section: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    Extension(Extension),
    SizeLf,
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// A place in a chunk extension (RFC 9112 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    /// White space before a semicolon.
    Blank,
    Semicolon,
    Name,
    AfterName,
    Equals,
    Token,
    Quoted,
    Escaped,
    AfterQuoted,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// How many bytes of the input belong to this content.
    pub taken: usize,
    /// Whether the content ends there.
    pub done: bool,
}

/// The next bytes of the input, all of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of sizes and line ends.
    Framing(usize),
    /// So many bytes of data.
    Data(usize),
    /// So many bytes of extensions, which no recipient needs to know.
    Extension(usize),
    /// So many bytes of the trailer section, with the empty line that ends the content: in their place goes what
    /// [`ChunkScanner::trailers`] has when the content is done.
    Trailer(usize),
}

impl Piece {
    /// How many bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Framing(length) | Self::Data(length) | Self::Extension(length) | Self::Trailer(length) => {
                length
            }
        }
    }
}

/// The sorts of framing bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Framing,
    Extension,
    Trailer,
}

impl ChunkScanner {
    /// At the start of the content.
    #[must_use]
    pub const fn new(trailers: Trailers) -> Self {
        let state = State::Size { digits: 0 };
        Self { state, size: 0, line: 0, data: 0, overhead: 0, trailers, section: Vec::new() }
    }

    /// Whether the content has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data announced so far by chunk sizes, 0 to 2^64 - 1 (held there).
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        self.data
    }

    /// The trailer lines that may pass, each with its CR LF, without the empty line; complete when the content is done.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        &self.section
    }

    /// Takes in `input` up to the end of the content.
    ///
    /// # Errors
    /// The content is malformed; nothing after it can be framed.
    pub fn scan(&mut self, input: &[u8]) -> Result<Scan, ChunkError> {
        let mut taken = 0;
        while taken < input.len() && !self.is_done() {
            taken += self.next(&input[taken..])?.length();
        }
        Ok(Scan { taken, done: self.is_done() })
    }

    /// Takes in the next piece of `input`; an empty one when the content has ended or `input` is empty.
    ///
    /// # Errors
    /// The content is malformed; nothing after it can be framed.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, ChunkError> {
        if let State::Data { left } = self.state {
            let length = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
            let left = left - length as u64;
            self.state = if left == 0 { State::DataCr } else { State::Data { left } };
            return Ok(Piece::Data(length));
        }
        let sort = input.first().map_or(Sort::Framing, |&byte| self.sort(byte));
        let mut taken = 0;
        for &byte in input {
            if matches!(self.state, State::Data { .. } | State::Done) || self.sort(byte) != sort {
                break;
            }
            self.state = self.step(byte)?;
            taken += 1;
        }
        Ok(match sort {
            Sort::Framing => Piece::Framing(taken),
            Sort::Extension => Piece::Extension(taken),
            Sort::Trailer => Piece::Trailer(taken),
        })
    }

    /// Of which sort `byte` is, should it pass.
    fn sort(&self, byte: u8) -> Sort {
        match self.state {
            State::Size { .. } if matches!(byte, b';' | b' ' | b'\t') => Sort::Extension,
            State::Extension(_) if byte != b'\r' => Sort::Extension,
            State::TrailerStart | State::EndLf if byte != b'\r' && byte != b'\n' => Sort::Trailer,
            State::TrailerStart | State::EndLf if !self.section.is_empty() => Sort::Trailer,
            State::TrailerName | State::TrailerValue | State::TrailerLf => Sort::Trailer,
            State::Size { .. }
            | State::Extension(_)
            | State::SizeLf
            | State::Data { .. }
            | State::DataCr
            | State::DataLf
            | State::TrailerStart
            | State::EndLf
            | State::Done => Sort::Framing,
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.count()?;
        match self.state {
            State::Size { digits } => self.size(digits, byte),
            State::Extension(at) => at.step(byte),
            State::SizeLf if byte == b'\n' => self.begin(),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.line = 0;
                self.size = 0;
                Ok(State::Size { digits: 0 })
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.trailer(byte),
            State::SizeLf | State::DataCr | State::DataLf | State::Data { .. } | State::Done => {
                Err(ChunkError::LineEnd)
            }
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(State::SizeLf),
            b';' if digits > 0 => return Ok(State::Extension(Extension::Semicolon)),
            b' ' | b'\t' if digits > 0 => return Ok(State::Extension(Extension::Blank)),
            _ => return Err(ChunkError::Size),
        };
        if digits == MAX_DIGITS {
            return Err(ChunkError::Size);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn begin(&mut self) -> Result<State, ChunkError> {
        let earned = FREE_LINE.saturating_add(self.size);
        self.overhead = (self.overhead + u64::from(self.line)).saturating_sub(earned);
        if self.overhead > MAX_OVERHEAD {
            return Err(ChunkError::Overhead);
        }
        self.line = 0;
        self.data = self.data.saturating_add(self.size);
        Ok(if self.size == 0 { State::TrailerStart } else { State::Data { left: self.size } })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        let after = match (self.state, byte) {
            (State::TrailerStart, b'\r') => return Ok(State::EndLf),
            (State::EndLf, b'\n') => {
                self.trailers.filter(&mut self.section)?;
                return Ok(State::Done);
            }
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => State::TrailerName,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_text(byte) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerLf | State::EndLf, _) => return Err(ChunkError::LineEnd),
            (_, _) => return Err(ChunkError::Trailer),
        };
        self.section.push(byte);
        Ok(after)
    }

    fn count(&mut self) -> Result<(), ChunkError> {
        self.line += 1;
        match self.state {
            State::Size { .. } | State::Extension(_) | State::SizeLf if self.line > MAX_CHUNK_LINE => {
                Err(ChunkError::LineTooLong)
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf
                if self.line > MAX_TRAILERS =>
            {
                Err(ChunkError::TrailersTooLong)
            }
            State::Size { .. }
            | State::Extension(_)
            | State::SizeLf
            | State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf
            | State::Data { .. }
            | State::DataCr
            | State::DataLf
            | State::Done => Ok(()),
        }
    }
}

impl Extension {
    fn step(self, byte: u8) -> Result<State, ChunkError> {
        let blank = matches!(byte, b' ' | b'\t');
        let after = match self {
            Self::Blank | Self::AfterName | Self::Semicolon | Self::Equals if blank => self,
            Self::Name if blank => Self::AfterName,
            Self::Token | Self::AfterQuoted if blank => Self::Blank,
            // After white space only an extension may follow, not the end of the line.
            Self::Name | Self::Token | Self::AfterQuoted if byte == b'\r' => return Ok(State::SizeLf),
            Self::Blank | Self::Name | Self::AfterName | Self::Token | Self::AfterQuoted if byte == b';' => {
                Self::Semicolon
            }
            Self::Name | Self::AfterName if byte == b'=' => Self::Equals,
            Self::Semicolon | Self::Name if is_token(byte) => Self::Name,
            Self::Equals if byte == b'"' => Self::Quoted,
            Self::Equals | Self::Token if is_token(byte) => Self::Token,
            Self::Quoted if byte == b'"' => Self::AfterQuoted,
            Self::Quoted if byte == b'\\' => Self::Escaped,
            Self::Quoted | Self::Escaped if is_text(byte) => Self::Quoted,
            Self::Blank
            | Self::Semicolon
            | Self::Name
            | Self::AfterName
            | Self::Equals
            | Self::Token
            | Self::Quoted
            | Self::Escaped
            | Self::AfterQuoted => return Err(ChunkError::Extension),
        };
        Ok(State::Extension(after))
    }
}
