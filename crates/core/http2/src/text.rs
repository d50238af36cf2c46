//! The text of HTTP/1.1 as fields of HTTP/2.
//!
//! Owns: taking a head apart that was judged by `core/http1` and written by it or by this crate. Invariant: what is for
//! one connection of HTTP/1.1 never becomes a field of HTTP/2 (RFC 9113 §8.2.2).

use alloc::vec::Vec;

use evenkeel_http1::may_trail;

use crate::{MessageError, field};

/// A field line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The name, in any case of its letters.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
}

/// The field lines of a head, without those that are for one hop.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

/// The first line of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLine<'a> {
    /// The method of a request, the version of an answer.
    pub first: &'a [u8],
    /// The target of a request, the status of an answer.
    pub second: &'a [u8],
}

impl<'a> Lines<'a> {
    /// Takes a whole head apart.
    #[must_use]
    pub fn of_head(head: &'a [u8]) -> (StartLine<'a>, Self) {
        let end = line_end(head);
        let mut words = head[..end].trim_ascii_end().split(|&byte| byte == b' ');
        let start =
            StartLine { first: words.next().unwrap_or_default(), second: words.next().unwrap_or_default() };
        (start, Self { rest: &head[end..] })
    }

    /// Takes a trailer section apart.
    #[must_use]
    pub const fn of_section(section: &'a [u8]) -> Self {
        Self { rest: section }
    }
}

/// Where the first line ends, behind its LF.
fn line_end(text: &[u8]) -> usize {
    text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1)
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let end = line_end(self.rest);
            let line = self.rest[..end].trim_ascii_end();
            if line.is_empty() {
                return None;
            }
            self.rest = &self.rest[end..];
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if !is_for_one_hop(name) {
                return Some(Line { name, value });
            }
        }
    }
}

/// Whether a field is for one connection of HTTP/1.1, and so has no place in HTTP/2 (RFC 9113 §8.2.2).
#[must_use]
pub fn is_for_one_hop(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

/// What becomes of a trailer field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trailing {
    /// It passes.
    Passes,
    /// It is dropped, for a recipient that merges it with the header fields would take it for what the message was judged
    /// by (RFC 9110 §6.5.1).
    Dropped,
}

/// Says what becomes of a trailer field of HTTP/2.
///
/// # Errors
/// The field is malformed.
pub fn judge_trailer(name: &[u8], value: &[u8]) -> Result<Trailing, MessageError> {
    field::check(name, value)?;
    Ok(if may_trail(name) { Trailing::Passes } else { Trailing::Dropped })
}

/// Writes trailer fields as the end of chunked content: the last chunk, the section, the empty line. Those that may not
/// stand there are dropped.
///
/// # Errors
/// A trailer field is malformed.
pub fn write_trailers<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), MessageError> {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in fields {
        match judge_trailer(name, value)? {
            Trailing::Passes => field::write(name, value, out),
            Trailing::Dropped => {}
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}
