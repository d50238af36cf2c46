//! A head, written for the other side.
//!
//! Owns: which version, which lines and which new fields the other side sees. Runs of kept lines are copied
//! as one block. Invariant: framing fields pass unchanged together with the content that they frame, except
//! where [`Onward::Http10`] takes the chunks off and where an answer has no content by its status.

use alloc::vec::Vec;

use evenkeel_config::balancer::{ForwardField, ForwardFields};

use crate::{Edits, RequestHead, ResponseHead, Scheme, Span, Version, edit, target::Form};

/// The protocol in which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Received {
    /// HTTP/1.0 or HTTP/1.1, as its head says.
    Http1,
    /// HTTP/2, from which its head was written out.
    Http2,
}

/// What a request gains on its way to the server.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The client's address without its port: an IPv4 or IPv6 address without brackets.
    pub client: &'a [u8],
    /// How the client is connected.
    pub scheme: Scheme,
    /// In which protocol the request came.
    pub received: Received,
    /// The Host for a request of HTTP/1.0 that has none: the server's address.
    pub host: &'a [u8],
    /// In which fields the server is told of the client and of this hop.
    pub fields: ForwardFields,
    /// The name of this hop in Via (RFC 9110 §7.6.3), where that is among the fields.
    pub via: &'a [u8],
    /// The X-Request-Id, where that is among the fields, for a request that has none.
    pub request_id: &'a [u8],
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
        request_line(head, bytes, None, out);
        if head.gains_host() {
            field(b"Host: ", host(head, bytes, hop), out);
        }
        kept(bytes, head.lines.start(), head.lines.end(), head.cuts.as_slice(), out);
    }
    end_request(head, bytes, hop, &Edits::default(), out);
}

/// Writes a request's head for the server with `edits`; `bytes` are those that it was parsed from.
///
/// Of the fields that tell of the client, those that the edits take out are left to what they put in.
pub fn write_edited_request(
    head: &RequestHead,
    bytes: &[u8],
    hop: &Hop<'_>,
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    request_line(head, bytes, edits.target, out);
    if head.gains_host() && !edits.removes(b"host") {
        field(b"Host: ", host(head, bytes, hop), out);
    }
    edit::write(bytes, head.lines, head.cuts.as_slice(), edits, out);
    end_request(head, bytes, hop, edits, out);
}

fn request_line(head: &RequestHead, bytes: &[u8], target: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method_name.of(bytes));
    out.extend_from_slice(match head.form {
        Form::Query if target.is_none() => b" /",
        Form::Asterisk if target.is_none() => b" *",
        Form::Kept | Form::Path | Form::Query | Form::Asterisk => b" ",
    });
    out.extend_from_slice(target.unwrap_or_else(|| head.target.of(bytes)));
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Writes what a request gains, and its empty line.
fn end_request(head: &RequestHead, bytes: &[u8], hop: &Hop<'_>, edits: &Edits<'_>, out: &mut Vec<u8>) {
    tell(head, bytes, hop, edits, out);
    if let Some(hops) = head.max_forwards {
        number(b"Max-Forwards: ", hops.saturating_sub(1), out);
    }
    out.extend_from_slice(match (head.upgrade, head.te_trailers) {
        (false, false) => b"\r\n",
        (true, false) => b"Connection: upgrade\r\n\r\n",
        (false, true) => b"TE: trailers\r\nConnection: TE\r\n\r\n",
        (true, true) => b"TE: trailers\r\nConnection: upgrade, TE\r\n\r\n",
    });
}

fn host<'a>(head: &RequestHead, bytes: &'a [u8], hop: &Hop<'a>) -> &'a [u8] {
    head.host.map_or(hop.host, |host| host.of(bytes))
}

/// Tells the server of the client and of this hop, with the fields that the edits do not settle.
fn tell(head: &RequestHead, bytes: &[u8], hop: &Hop<'_>, edits: &Edits<'_>, out: &mut Vec<u8>) {
    let has = |field, name| hop.fields.has(field) && !edits.removes(name);
    if has(ForwardField::XForwardedFor, b"x-forwarded-for") {
        field(b"X-Forwarded-For: ", hop.client, out);
    }
    if has(ForwardField::XForwardedProto, b"x-forwarded-proto") && !head.forwarded_proto {
        out.extend_from_slice(match hop.scheme {
            Scheme::Http => b"X-Forwarded-Proto: http\r\n",
            Scheme::Https => b"X-Forwarded-Proto: https\r\n",
        });
    }
    if has(ForwardField::XForwardedHost, b"x-forwarded-host") && !head.forwarded_host {
        field(b"X-Forwarded-Host: ", host(head, bytes, hop), out);
    }
    if has(ForwardField::Forwarded, b"forwarded") {
        forwarded(hop, host(head, bytes, hop), out);
    }
    // Via stays whatever the edits say: a gateway must send it.
    if hop.fields.has(ForwardField::Via) {
        // The version in which this hop received it.
        let start: &[u8] = match (hop.received, head.version) {
            (Received::Http2, _) => b"Via: 2.0 ",
            (Received::Http1, Version::Http11) => b"Via: 1.1 ",
            (Received::Http1, Version::Http10) => b"Via: 1.0 ",
        };
        field(start, hop.via, out);
    }
    if has(ForwardField::XRequestId, b"x-request-id") && head.request_id.is_none() {
        field(b"X-Request-Id: ", hop.request_id, out);
    }
}

/// RFC 7239 §4; a host with its port is no token, nor is an IPv6 address, so both are quoted.
fn forwarded(hop: &Hop<'_>, host: &[u8], out: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) =
        if hop.client.contains(&b':') { (b"\"[", b"]\"") } else { (b"", b"") };
    for part in [
        b"Forwarded: for=",
        before,
        hop.client,
        after,
        b";host=\"",
        host,
        b"\";proto=",
        hop.scheme.name().as_bytes(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
}

/// Writes an answer's head for the client; `bytes` are those that it was parsed from, `date` is the time at which it
/// came, in the form of RFC 9110 §5.6.7, for an answer without one (§6.6.1).
pub fn write_response(head: &ResponseHead, bytes: &[u8], onward: Onward, date: &[u8], out: &mut Vec<u8>) {
    let from = status_code(bytes, out);
    let (lines, cuts) = (head.lines, head.cuts.as_slice());
    if onward == Onward::Http10 {
        out.extend_from_slice(&bytes[from..lines.start()]);
        let edits = Edits { remove: &[b"transfer-encoding"], ..Edits::default() };
        edit::write(bytes, lines, cuts, &edits, out);
    } else {
        kept(bytes, from, lines.end(), cuts, out);
    }
    end_response(head, onward, date, out);
}

/// Writes an answer's head for the client with `edits`; `bytes` and `date` are as for [`write_response`].
///
/// With [`Onward::Http10`] the edits must take out Transfer-Encoding, like the content's chunks.
pub fn write_edited_response(
    head: &ResponseHead,
    bytes: &[u8],
    onward: Onward,
    date: &[u8],
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    let from = status_code(bytes, out);
    out.extend_from_slice(&bytes[from..head.lines.start()]);
    edit::write(bytes, head.lines, head.cuts.as_slice(), edits, out);
    end_response(head, onward, date, out);
}

/// Begins a status line; where in the server's line it goes on.
fn status_code(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    const VERSION: &[u8] = b"HTTP/1.1";
    /// The version, a space and the three digits of the status.
    const STATUS: usize = 12;
    out.extend_from_slice(VERSION);
    if bytes.get(STATUS) != Some(&b'\r') {
        return VERSION.len();
    }
    // The space before the reason stands even where the reason lacks (RFC 9112 §4).
    out.extend_from_slice(&bytes[VERSION.len()..STATUS]);
    out.push(b' ');
    STATUS
}

/// Writes what an answer gains, and its empty line.
fn end_response(head: &ResponseHead, onward: Onward, date: &[u8], out: &mut Vec<u8>) {
    if !head.date {
        field(b"Date: ", date, out);
    }
    if head.status == 205 {
        // Without a length its end would be that of the connection.
        out.extend_from_slice(b"Content-Length: 0\r\n");
    }
    out.extend_from_slice(match onward {
        Onward::Stay if head.upgrade_wanted => b"Connection: upgrade\r\n\r\n",
        Onward::Stay => b"\r\n",
        Onward::Close | Onward::Http10 if head.upgrade_wanted => b"Connection: upgrade, close\r\n\r\n",
        Onward::Close | Onward::Http10 => b"Connection: close\r\n\r\n",
        Onward::StayHttp10 => b"Connection: keep-alive\r\n\r\n",
        Onward::Upgrade => b"Connection: upgrade\r\n\r\n",
    });
}

fn field(start: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(start);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(start: &[u8], mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(value % 10) as usize];
        value /= 10;
        if value == 0 {
            return field(start, &digits[at..], out);
        }
    }
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
