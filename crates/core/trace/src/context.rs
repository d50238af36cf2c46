//! Which trace a request belongs to: the field `traceparent` (W3C Trace Context §3.2).
//!
//! Invariant: only what every reader of version 00 takes for the same context is read as one.

use alloc::string::String;
use core::fmt::Write as _;

/// The identity of a trace: 16 bytes that are not all zero (§3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The identity with these bytes; `None` when all are zero.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its last seven bytes, which are random in a trace that says so (W3C Trace Context Level 2 §3.2.2.3.1).
    pub(crate) fn randomness(self) -> u64 {
        self.0[9..].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// The identity of a span within its trace: 8 bytes that are not all zero (§3.2.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// The identity with these bytes; `None` when all are zero.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// As it stands in a field: 16 hexadecimal digits in lower case.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

/// What is said of a trace beside its identity (§3.2.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// Somebody records the trace.
    pub const SAMPLED: Self = Self(1);
    /// The last seven bytes of the trace's identity are random (Level 2 §3.2.2.5.2).
    pub const RANDOM: Self = Self(2);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether somebody records the trace.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// As a number; flags without a meaning in this version are not passed on (§3.2.2.5).
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

/// The context that a request came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span in which the request was sent.
    pub span: SpanId,
    /// What is said of the trace.
    pub flags: Flags,
}

/// Length of the field's value in version 00: `00-` 32 `-` 16 `-` 2.
pub const TRACEPARENT_BYTES: usize = 55;

impl Parent {
    /// Reads the value of the field `traceparent`; `None` when it is none, in which case `tracestate` must not be
    /// used either (§4.2). Versions to come are read as far as they are like version 00 (§4.3).
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(TRACEPARENT_BYTES)?;
        let [version] = bytes(&known[..2])?;
        let fits = match version {
            0 => more.is_empty(),
            255 => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        if !fits || !dashes {
            return None;
        }
        let [flags] = bytes(&known[53..])?;
        Some(Self {
            trace: TraceId::new(bytes(&known[3..35])?)?,
            span: SpanId::new(bytes(&known[36..52])?)?,
            flags: Flags(flags & (Flags::SAMPLED.0 | Flags::RANDOM.0)),
        })
    }
}

/// Bytes from twice as many hexadecimal digits in lower case; others are no digits here (§3.2.2).
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The value of the field `traceparent` for a request that is sent in `span`.
#[must_use]
pub fn traceparent(trace: TraceId, span: SpanId, flags: Flags) -> String {
    let mut text = String::with_capacity(TRACEPARENT_BYTES);
    text.push_str("00-");
    for byte in trace.0 {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('-');
    text.extend(span.digits().map(char::from));
    let _ = write!(text, "-{:02x}", flags.0);
    text
}
