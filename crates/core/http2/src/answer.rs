//! An answer of HTTP/2 as the text of HTTP/1.1 (RFC 9113 §8.3.2).
//!
//! Invariant: content of unknown length is framed in chunks, so that its end can be told from a lost connection.

use alloc::vec::Vec;

use crate::{Body, MessageError, field};

/// Writes an answer's head; `status` is 100 to 599 and not 101. `body` says whether DATA may follow.
///
/// # Errors
/// The answer is malformed: the server's fault.
pub fn write_answer<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    body: Body,
    out: &mut Vec<u8>,
) -> Result<(), MessageError> {
    if !(100..600).contains(&status) || status == 101 {
        return Err(MessageError::Status);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    let digit = |place: u16| b'0' + (status / place % 10) as u8;
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
    out.extend_from_slice(b" \r\n");
    let mut length = None;
    for (name, value) in fields {
        field::check(name, value)?;
        if name == b"content-length" {
            let told = field::length(value).ok_or(MessageError::ContentLength)?;
            if length.replace(told).is_some() {
                return Err(MessageError::ContentLength);
            }
        }
        field::write(name, value, out);
    }
    // Interim answers, 204 and 304 have no content, and say nothing of its length.
    let has_none = matches!(status, 100..200 | 204 | 304);
    match (body, length) {
        (_, Some(_)) => {}
        (_, None) if has_none => {}
        (Body::None, None) => out.extend_from_slice(b"content-length: 0\r\n"),
        (Body::Follows, None) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}
