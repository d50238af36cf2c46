//! A head, written for the other side.
//!
//! Owns: which version, which lines and which new fields the other side sees. Runs of kept lines are copied
//! as one block. Invariant: framing fields pass unchanged together with the content that they frame, except
//! where [`Onward::Http10`] takes the chunks off.
//!
//! Differs from the specification: no Via (RFC 9110 §7.6.3), for nginx by default does not compress what it
//! sends to a proxy that names itself.

use alloc::vec::Vec;

use crate::{Edits, RequestHead, ResponseHead, Span, Version, edit};

/// What a request gains on its way to the server.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The client's address without its port, for X-Forwarded-For.
    pub client: &'a [u8],
    /// The Host for a request of HTTP/1.0 that has none: the server's address.
    pub host: &'a [u8],
}

/// How the client's connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onward {
    /// It stays.
    Stay,
    /// It is closed.
    Close,
    /// It stays, for a client of HTTP/1.0 that asked for it.
    StayHttp10,
    /// It becomes what Upgrade says.
    Upgrade,
    /// It is closed, and the chunks were taken off for a client of HTTP/1.0.
    Http10,
}

/// Writes a request's head for the server; `bytes` are those that it was parsed from.
pub fn write_request(head: &RequestHead, bytes: &[u8], hop: &Hop<'_>, out: &mut Vec<u8>) {
    if head.version == Version::Http11 && !head.absolute {
        kept(bytes, head.method_name.start(), head.lines.end(), head.cuts.as_slice(), out);
    } else {
        out.extend_from_slice(head.method_name.of(bytes));
        out.push(b' ');
        let target = head.target.of(bytes);
        out.extend_from_slice(if target.is_empty() { b"/" } else { target });
        out.extend_from_slice(b" HTTP/1.1\r\n");
        kept(bytes, head.lines.start(), head.lines.end(), head.cuts.as_slice(), out);
    }
    end_request(head, hop, head.host.is_none(), out);
}

/// Writes a request's head for the server with `edits`; `bytes` are those that it was parsed from.
pub fn write_edited_request(
    head: &RequestHead,
    bytes: &[u8],
    hop: &Hop<'_>,
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(head.method_name.of(bytes));
    out.push(b' ');
    let target = edits.target.unwrap_or_else(|| head.target.of(bytes));
    out.extend_from_slice(if target.is_empty() { b"/" } else { target });
    out.extend_from_slice(b" HTTP/1.1\r\n");
    edit::write(bytes, head.lines, head.cuts.as_slice(), edits, out);
    end_request(head, hop, head.host.is_none() && !edits.removes(b"host"), out);
}

/// Writes what a request gains, and its empty line.
fn end_request(head: &RequestHead, hop: &Hop<'_>, lacks_host: bool, out: &mut Vec<u8>) {
    if lacks_host {
        field(b"Host: ", hop.host, out);
    }
    field(b"X-Forwarded-For: ", hop.client, out);
    out.extend_from_slice(match head.upgrade {
        true => b"X-Forwarded-Proto: http\r\nConnection: upgrade\r\n\r\n",
        false => b"X-Forwarded-Proto: http\r\n\r\n",
    });
}

/// Writes an answer's head for the client; `bytes` are those that it was parsed from.
pub fn write_response(head: &ResponseHead, bytes: &[u8], onward: Onward, out: &mut Vec<u8>) {
    const VERSION: &[u8] = b"HTTP/1.1";
    out.extend_from_slice(VERSION);
    let lines = head.lines;
    if onward == Onward::Http10 {
        out.extend_from_slice(&bytes[VERSION.len()..lines.start()]);
        without_coding(bytes, lines, head.cuts.as_slice(), out);
    } else {
        kept(bytes, VERSION.len(), lines.end(), head.cuts.as_slice(), out);
    }
    end_response(onward, out);
}

/// Writes an answer's head for the client with `edits`; `bytes` are those that it was parsed from.
///
/// With [`Onward::Http10`] the edits must take out Transfer-Encoding, like the content's chunks.
pub fn write_edited_response(
    head: &ResponseHead,
    bytes: &[u8],
    onward: Onward,
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    const VERSION: &[u8] = b"HTTP/1.1";
    out.extend_from_slice(VERSION);
    out.extend_from_slice(&bytes[VERSION.len()..head.lines.start()]);
    edit::write(bytes, head.lines, head.cuts.as_slice(), edits, out);
    end_response(onward, out);
}

/// Writes what an answer gains, and its empty line.
fn end_response(onward: Onward, out: &mut Vec<u8>) {
    out.extend_from_slice(match onward {
        Onward::Stay => b"\r\n",
        Onward::Close | Onward::Http10 => b"Connection: close\r\n\r\n",
        Onward::StayHttp10 => b"Connection: keep-alive\r\n\r\n",
        Onward::Upgrade => b"Connection: upgrade\r\n\r\n",
    });
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Copies `start..end` without the cuts.
fn kept(bytes: &[u8], start: usize, end: usize, cuts: &[Span], out: &mut Vec<u8>) {
    let mut from = start;
    for cut in cuts {
        out.extend_from_slice(&bytes[from..cut.start()]);
        from = cut.end();
    }
    out.extend_from_slice(&bytes[from..end]);
}

/// Copies the lines without the cuts and without Transfer-Encoding; rare, so line by line.
fn without_coding(bytes: &[u8], lines: Span, cuts: &[Span], out: &mut Vec<u8>) {
    const NAME: &[u8] = b"transfer-encoding:";
    let mut start = lines.start();
    for line in lines.of(bytes).split_inclusive(|&b| b == b'\n') {
        let is_cut = cuts.iter().any(|cut| (cut.start()..cut.end()).contains(&start));
        let is_coding = line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME);
        if !is_cut && !is_coding {
            out.extend_from_slice(line);
        }
        start += line.len();
    }
}
