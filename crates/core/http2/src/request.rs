//! A request of HTTP/2 as the text of HTTP/1.1 (RFC 9113 §8.3.1).
//!
//! Owns: the request line and the field lines, which `core/http1` then judges as if they had come that way: form of
//! target and host, lengths, what is for one hop. Invariant: nothing that is written here can be read as another
//! number of lines, another target or another end of content than was meant (no CR, LF, NUL or space where they
//! would matter; no Transfer-Encoding but our own).

use alloc::vec::Vec;

use crate::{MessageError, field};

/// What the pseudo-header fields of a request say.
#[derive(Debug, Clone, Copy)]
pub struct Pseudo<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:scheme`; may be missing only for CONNECT.
    pub scheme: Option<&'a [u8]>,
    /// `:authority`.
    pub authority: Option<&'a [u8]>,
    /// `:path` with its query.
    pub path: Option<&'a [u8]>,
    /// `:protocol` (RFC 8441 §4).
    pub protocol: Option<&'a [u8]>,
}

/// Whether content follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The stream ended with the head.
    None,
    /// DATA may follow.
    Follows,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A request like any other.
    Request,
    /// A WebSocket, by extended CONNECT (RFC 8441 §5).
    WebSocket,
}

/// Writes a request as the head of HTTP/1.1; what it asks for.
///
/// `fields` gives the fields from the first to the last, each time that it is called. `key` is the value of
/// Sec-WebSocket-Key for a WebSocket, which HTTP/2 does without (RFC 8441 §5.1). When this fails part of the text may have
/// been written.
///
/// # Errors
/// The request is malformed, or asks for what is not offered.
pub fn write_request<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    pseudo: &Pseudo<'a>,
    fields: impl Fn() -> I,
    body: Body,
    key: &[u8],
    out: &mut Vec<u8>,
) -> Result<Asked, MessageError> {
    let asked = asked(pseudo)?;
    let authority = authority(pseudo, fields())?;
    out.extend_from_slice(match asked {
        Asked::Request => pseudo.method,
        Asked::WebSocket => b"GET",
    });
    out.push(b' ');
    out.extend_from_slice(path(pseudo)?);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    field::write(b"host", authority, out);
    let length = write_fields(&fields, asked, out)?;
    match (asked, body, length) {
        (Asked::WebSocket, Body::Follows, None) => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
            out.extend_from_slice(key);
            out.extend_from_slice(b"\r\n");
        }
        (Asked::WebSocket, _, _) => return Err(MessageError::ContentLength),
        (Asked::Request, Body::None, Some(length)) if length > 0 => return Err(MessageError::ContentLength),
        (Asked::Request, Body::None, None) if wants_length(pseudo.method) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        (Asked::Request, Body::Follows, None) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Asked::Request, Body::None, Some(_) | None) | (Asked::Request, Body::Follows, Some(_)) => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(asked)
}

/// Methods whose requests should say that they have no content (RFC 9110 §8.6).
fn wants_length(method: &[u8]) -> bool {
    matches!(method, b"POST" | b"PUT" | b"PATCH")
}

fn asked(pseudo: &Pseudo<'_>) -> Result<Asked, MessageError> {
    let method = pseudo.method;
    if method.is_empty() || !method.iter().all(|&byte| field::is_token_byte(byte)) {
        return Err(MessageError::Method);
    }
    let asked = match (method, pseudo.protocol) {
        (b"CONNECT", None) => return Err(MessageError::Connect),
        (b"CONNECT", Some(protocol)) if protocol.eq_ignore_ascii_case(b"websocket") => Asked::WebSocket,
        (_, Some(_)) => return Err(MessageError::Protocol),
        (_, None) => Asked::Request,
    };
    match pseudo.scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https") => {
            Ok(asked)
        }
        Some(_) | None => Err(MessageError::Scheme),
    }
}

/// The path in a form in which it cannot be taken for anything but a path, and cannot end early.
fn path<'a>(pseudo: &Pseudo<'a>) -> Result<&'a [u8], MessageError> {
    let path = pseudo.path.ok_or(MessageError::Path)?;
    let is_asterisk = path == b"*" && pseudo.method == b"OPTIONS";
    let is_visible = path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    if is_visible && (path.starts_with(b"/") || is_asterisk) { Ok(path) } else { Err(MessageError::Path) }
}

/// Whom the request is for: `:authority`, else Host, which must not say anything else.
fn authority<'a>(
    pseudo: &Pseudo<'a>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<&'a [u8], MessageError> {
    let mut known = pseudo.authority;
    for (_, host) in fields.filter(|(name, _)| *name == b"host") {
        match known {
            Some(authority) if !authority.eq_ignore_ascii_case(host) => {
                return Err(MessageError::AuthorityDiffers);
            }
            Some(_) => {}
            None => known = Some(host),
        }
    }
    // The rest of the form is looked at with the text.
    known
        .filter(|authority| !authority.is_empty() && authority.iter().all(u8::is_ascii_graphic))
        .ok_or(MessageError::Authority)
}

/// Writes all fields but the host; the length that they tell.
fn write_fields<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    fields: impl Fn() -> I,
    asked: Asked,
    out: &mut Vec<u8>,
) -> Result<Option<u64>, MessageError> {
    let mut told = None;
    let (mut cookies, mut takes_trailers) = (0, false);
    for (name, value) in fields() {
        field::check(name, value)?;
        match name {
            b"host" => continue,
            b"te" => {
                takes_trailers = true;
                continue;
            }
            b"cookie" => {
                cookies += 1;
                continue;
            }
            b"sec-websocket-key" if asked == Asked::WebSocket => continue,
            b"content-length" => {
                let length = field::length(value).ok_or(MessageError::ContentLength)?;
                if told.replace(length).is_some() {
                    return Err(MessageError::ContentLength);
                }
            }
            _ => {}
        }
        field::write(name, value, out);
    }
    if cookies > 0 {
        // Crumbs are put together again (RFC 9113 §8.2.3).
        out.extend_from_slice(b"cookie: ");
        let crumbs = fields().filter(|(name, _)| *name == b"cookie");
        for (position, (_, crumb)) in crumbs.enumerate() {
            out.extend_from_slice(if position == 0 { b"" } else { b"; " });
            out.extend_from_slice(crumb);
        }
        out.extend_from_slice(b"\r\n");
    }
    if takes_trailers && asked == Asked::Request {
        // In HTTP/1.1 it is for one hop, which Connection must say (RFC 9110 §10.1.4).
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    Ok(told)
}
