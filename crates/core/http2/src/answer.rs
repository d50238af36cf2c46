//! An answer of HTTP/2 as the text of HTTP/1.1 (RFC 9113 §8.3.2).
//!
//! Invariant: content of unknown length is framed in chunks, so that its end can be told from a lost connection.

use alloc::vec::Vec;

use crate::{MessageError, field};

/// What comes behind the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing, whatever the head says: the answer to HEAD, or an interim one.
    Nothing,
    /// Nothing: the stream ended with the head.
    Ended,
    /// DATA may follow.
    Follows,
}

/// Writes an answer's head; `status` is 100 to 599 and not 101.
///
/// # Errors
/// The answer is malformed: the server's fault.
pub fn write_answer<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    content: Content,
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
    match (content, length) {
        (_, Some(_)) | (Content::Nothing, None) => {}
        (_, None) if has_none => {}
        (Content::Ended, None) => out.extend_from_slice(b"content-length: 0\r\n"),
        (Content::Follows, None) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}
