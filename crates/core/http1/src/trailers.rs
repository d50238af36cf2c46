//! Trailer fields (RFC 9110 §6.5): which pass, which are dropped, which make a request refused.
//!
//! Invariant: no trailer field that frames, routes, authenticates or describes the content reaches a recipient, who might
//! merge it with the header fields by which the message was judged.

use alloc::vec::Vec;

use crate::ChunkError;

/// What becomes of the trailer fields of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trailers {
    /// Those of a request: one that may not stand there makes it refused.
    OfRequest,
    /// Those of an answer: one that may not stand there is dropped, for the rest has reached the client.
    OfAnswer,
    /// All are dropped: Connection names fields, and it means those of the trailer section too (RFC 9110 §7.6.1);
    /// whoever passes chunks on may discard trailer fields (RFC 9112 §7.1.2).
    Dropped,
}

/// Fields that are of no use or of harm behind the content (RFC 9110 §6.5.1): framing, routing, authentication, request
/// modifiers, response controls, content format, and what proxies say of the client.
const BARRED: [&str; 40] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-real-ip",
    "x-request-id",
];

impl Trailers {
    /// Leaves of the whole lines in `section` those that may pass.
    pub(crate) fn filter(self, section: &mut Vec<u8>) -> Result<(), ChunkError> {
        match self {
            Self::Dropped => section.clear(),
            Self::OfRequest => {
                if lines(section).any(is_barred) {
                    return Err(ChunkError::TrailerField);
                }
            }
            Self::OfAnswer => {
                if lines(section).any(is_barred) {
                    *section = lines(section).filter(|line| !is_barred(line)).flatten().copied().collect();
                }
            }
        }
        Ok(())
    }
}

fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split_inclusive(|&b| b == b'\n')
}

fn is_barred(line: &[u8]) -> bool {
    !may_trail(line.split(|&b| b == b':').next().unwrap_or_default())
}

/// Whether a field of this name, in any case of its letters, may pass behind the content (RFC 9110 §6.5.1).
#[must_use]
pub fn may_trail(name: &[u8]) -> bool {
    // A server that takes `_` for `-` sees the same field.
    let reads_like = |barred: &str| {
        let alike = |(&a, &b): (&u8, &u8)| a.eq_ignore_ascii_case(&b) || a == b'_' && b == b'-';
        name.len() == barred.len() && name.iter().zip(barred.as_bytes()).all(alike)
    };
    let forwarded = name.len() > 12 && name[..12].eq_ignore_ascii_case(b"x-forwarded-");
    !forwarded && !BARRED.iter().any(|barred| reads_like(barred))
}
