//! Chunked content (RFC 9112 §7.1): where it ends, and which of its bytes are data.
//!
//! Owns: a scanner that keeps its place over any split of the input. Leaves to others: the bytes. Invariant:
//! a bare CR or LF never passes for a line's end, so every recipient sees the same chunks.

use crate::ChunkError;

/// Longest size line with its extensions, in bytes.
///
/// A size has at most 15 digits; extensions in the wild (signed chunks of object stores) have about 90 bytes.
pub const MAX_CHUNK_LINE: u32 = 1024;

/// Longest trailer section, in bytes.
///
/// Trailers in the wild are a checksum or a status, below 1 KiB; 8 KiB is what Apache httpd allows one field.
pub const MAX_TRAILERS: u32 = 8 * 1024;

/// Most digits of a size: below 2^60, so that sums of it cannot overflow.
const MAX_DIGITS: u8 = 15;

/// Keeps the place in chunked content.
#[derive(Debug, Clone)]
pub struct ChunkScanner {
    state: State,
    /// Bytes of the current size line, or of the trailer section.
    line: u32,
    data: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    /// White space after the size, which only an extension may follow.
    Space {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
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
    /// So many bytes of sizes, extensions, line ends and trailers.
    Framing(usize),
    /// So many bytes of data.
    Data(usize),
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkScanner {
    /// At the start of the content.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, line: 0, data: 0 }
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

    /// Takes in `input` up to the end of the content.
    ///
    /// # Errors
    /// The content is malformed; nothing after it can be framed.
    pub fn scan(&mut self, input: &[u8]) -> Result<Scan, ChunkError> {
        let mut taken = 0;
        while taken < input.len() && !self.is_done() {
            taken += match self.next(&input[taken..])? {
                Piece::Framing(length) | Piece::Data(length) => length,
            };
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
        let mut taken = 0;
        for &byte in input {
            if matches!(self.state, State::Data { .. } | State::Done) {
                break;
            }
            self.state = self.step(byte)?;
            taken += 1;
        }
        Ok(Piece::Framing(taken))
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.count()?;
        match self.state {
            State::Size { value, digits } => size(value, digits, byte),
            State::Space { value } => match byte {
                b' ' | b'\t' => Ok(State::Space { value }),
                b';' => Ok(State::Extension { value }),
                _ => Err(ChunkError::Size),
            },
            State::Extension { value } => match byte {
                b'\r' => Ok(State::SizeLf { value }),
                byte if is_text(byte) => Ok(State::Extension { value }),
                _ => Err(ChunkError::Extension),
            },
            State::SizeLf { value } if byte == b'\n' => Ok(self.begin(value)),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.line = 0;
                Ok(State::Size { value: 0, digits: 0 })
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.trailer(byte),
            State::SizeLf { .. } | State::DataCr | State::DataLf | State::Data { .. } | State::Done => {
                Err(ChunkError::LineEnd)
            }
        }
    }

    fn trailer(&self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::TrailerLf | State::EndLf, _) => Err(ChunkError::LineEnd),
            (_, _) => Err(ChunkError::Trailer),
        }
    }

    fn begin(&mut self, size: u64) -> State {
        self.line = 0;
        self.data = self.data.saturating_add(size);
        if size == 0 { State::TrailerStart } else { State::Data { left: size } }
    }

    fn count(&mut self) -> Result<(), ChunkError> {
        self.line += 1;
        match self.state {
            State::Size { .. } | State::Space { .. } | State::Extension { .. } | State::SizeLf { .. } => {
                if self.line > MAX_CHUNK_LINE {
                    Err(ChunkError::LineTooLong)
                } else {
                    Ok(())
                }
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => {
                if self.line > MAX_TRAILERS {
                    Err(ChunkError::TrailersTooLong)
                } else {
                    Ok(())
                }
            }
            State::Data { .. } | State::DataCr | State::DataLf | State::Done => Ok(()),
        }
    }
}

fn size(value: u64, digits: u8, byte: u8) -> Result<State, ChunkError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLf { value }),
        b';' if digits > 0 => return Ok(State::Extension { value }),
        b' ' | b'\t' if digits > 0 => return Ok(State::Space { value }),
        _ => return Err(ChunkError::Size),
    };
    if digits == MAX_DIGITS {
        return Err(ChunkError::Size);
    }
    Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
}

/// Tab, visible ASCII, space and obs-text (RFC 9110 §5.5).
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// A byte of a token (RFC 9110 §5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
