//! What field values say, and of which bytes they may consist.
//!
//! Owns: the grammar of the few values that matter here (RFC 9110 §5.6, §8.6; RFC 9112 §6.1). Invariant: a number is
//! read in one way or not at all.

/// A Transfer-Encoding field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Chunked,
    /// Other codings below a last `chunked`: framed, but of no use to a recipient who cannot undo them.
    BelowChunked,
    /// No `chunked` at the end: nobody can tell where the content ends.
    NotFramed,
}

/// The codings that a Transfer-Encoding lists (RFC 9112 §6.3).
///
/// `chunked` twice says that chunks are within chunks, which nobody may send (RFC 9112 §6.1): not framed. Empty
/// members are refused with it, for recipients differ on them.
pub(crate) fn coding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let is_chunked = |member: &[u8]| member.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let mut members = value.rsplit(|&b| b == b',');
    let last = members.next().is_some_and(is_chunked);
    let fit = |member: &[u8]| !member.trim_ascii().is_empty() && !is_chunked(member);
    if last && members.all(fit) { Coding::BelowChunked } else { Coding::NotFramed }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A length: a decimal number of at most 18 digits, below 10^18 so that sums of it cannot overflow.
///
/// Leading zeros are refused: they mean nothing here and base eight elsewhere.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.len() > 18 || text.len() > 1 && text[0] == b'0' {
        return None;
    }
    decimal(text)
}

/// A decimal number; one that is too large for any purpose is held at the largest.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let digit = |sum: u64, b: &u8| {
        b.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    };
    text.iter().try_fold(0, digit)
}

/// Longest request id that is kept, in bytes: four times a UUID with hyphens.
const MAX_REQUEST_ID: usize = 144;

/// Whether it can stand in a log and in a field without a second thought.
pub(crate) fn is_request_id(value: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    (1..=MAX_REQUEST_ID).contains(&value.len()) && value.iter().all(plain)
}

/// Tab, visible ASCII, space and obs-text (RFC 9110 §5.5).
pub(crate) const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// A byte of a token (RFC 9110 §5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < OTHERS.len() {
        if OTHERS[at] == byte {
            return true;
        }
        at += 1;
    }
    byte.is_ascii_alphanumeric()
}
