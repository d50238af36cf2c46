//! Where frames begin, of what kind and size they are (RFC 9113 §4.1).
//!
//! Owns: a scanner of frame headers over any split of the input. Leaves to others: what is in a frame. Invariant: the
//! same bytes give the same frames however they arrive in pieces.

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 9;

/// The kind of a frame (RFC 9113 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Content.
    Data,
    /// The beginning of a field block.
    Headers,
    /// Deprecated, and PRIORITY_UPDATE, its successor (RFC 9218 §7.1).
    Priority,
    /// The end of a stream by force.
    RstStream,
    /// Parameters of the connection.
    Settings,
    /// The beginning of a field block; no client may send it.
    PushPromise,
    /// A question whether the other side is there, or the answer.
    Ping,
    /// The end of the connection.
    GoAway,
    /// Room for content.
    WindowUpdate,
    /// More of a field block.
    Continuation,
    /// What an extension defines: must be ignored.
    Unknown,
}

impl FrameKind {
    const fn of(code: u8) -> Self {
        match code {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 | 0x10 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// Bytes of its payload, 0 to 2^24 - 1.
    pub length: u32,
    flags: u8,
}

impl Frame {
    fn of(header: [u8; FRAME_HEADER_BYTES]) -> Self {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        Self { kind: FrameKind::of(header[3]), length, flags: header[4] }
    }

    /// Whether the stream ends with it (DATA and HEADERS).
    #[must_use]
    pub const fn ends_stream(self) -> bool {
        self.flags & 0x1 != 0
    }

    /// Bytes of its payload that are no padding, at least (DATA): how much padding there is stands in the payload.
    #[must_use]
    pub const fn least_content(self) -> u32 {
        /// The length of the padding, and the longest one (RFC 9113 §6.1).
        const PADDING: u32 = 1 + 255;
        if self.flags & 0x8 != 0 { self.length.saturating_sub(PADDING) } else { self.length }
    }

    /// Whether it answers another (SETTINGS and PING).
    #[must_use]
    pub const fn is_ack(self) -> bool {
        self.flags & 0x1 != 0
    }

    /// Whether the field block ends with it (HEADERS and CONTINUATION).
    #[must_use]
    pub const fn ends_block(self) -> bool {
        self.flags & 0x4 != 0
    }
}

/// Finds frame headers.
#[derive(Debug, Clone)]
pub struct FrameScanner {
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of the header that have come.
    have: u8,
    /// Bytes to pass over before the next header.
    skip: u32,
}

impl FrameScanner {
    /// Before a client's preface.
    #[must_use]
    pub const fn new() -> Self {
        Self { header: [0; FRAME_HEADER_BYTES], have: 0, skip: PREFACE.len() as u32 }
    }

    /// Whether part of a frame has come and its rest has not.
    #[must_use]
    pub const fn is_within_frame(&self) -> bool {
        self.have > 0 || self.skip > 0
    }

    /// Takes bytes off the front of `input` up to the end of a frame header; `None` when all are used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Frame> {
        let skipped = usize::try_from(self.skip).map_or(input.len(), |skip| skip.min(input.len()));
        *input = &input[skipped..];
        self.skip -= skipped as u32;
        let have = usize::from(self.have);
        let taken = (FRAME_HEADER_BYTES - have).min(input.len());
        self.header[have..have + taken].copy_from_slice(&input[..taken]);
        *input = &input[taken..];
        if have + taken < FRAME_HEADER_BYTES {
            self.have += taken as u8;
            return None;
        }
        self.have = 0;
        let frame = Frame::of(self.header);
        self.skip = frame.length;
        Some(frame)
    }
}

impl Default for FrameScanner {
    fn default() -> Self {
        Self::new()
    }
}
