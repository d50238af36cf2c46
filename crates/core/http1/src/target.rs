//! The request target and the Host field (RFC 9112 §3.2, RFC 9110 §7.2).
//!
//! Invariant: a target that passes goes to the server byte for byte, so it has no byte that ends it early.

use core::net::Ipv6Addr;

use crate::{Method, RequestError, Scheme, Span, value::decimal};

/// How a target is written for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it came: a path or `*`.
    Kept,
    /// From an absolute-form target: what follows the authority.
    Path,
    /// The same, with a `/` in front, for there was no path (RFC 9112 §3.2.1).
    Query,
    /// OPTIONS for a server as a whole: `*` (RFC 9112 §3.2.4).
    Asterisk,
}

/// A target that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: Form,
    /// What to ask the server for; empty or without its `/` where `form` says so.
    pub(crate) origin: Span,
    /// Scheme and authority of an absolute-form target.
    pub(crate) absolute: Option<(Scheme, Span)>,
}

/// Judges the target in `span`.
///
/// Differs from the specification: `{`, `|`, `}`, `^` and the grave accent pass, for browsers send them. A path with an
/// encoded NUL, CR or LF is refused, for no site has one and some servers decode it too early.
pub(crate) fn check(bytes: &[u8], span: Span, method: Method) -> Result<Target, RequestError> {
    let target = span.of(bytes);
    match target.first() {
        Some(b'/') if is_path(target) => Ok(Target { form: Form::Kept, origin: span, absolute: None }),
        Some(b'*') if target.len() == 1 && method == Method::Options => {
            Ok(Target { form: Form::Kept, origin: span, absolute: None })
        }
        Some(b'h' | b'H') if is_path(target) => absolute(bytes, span, method),
        Some(_) | None => Err(RequestError::Target),
    }
}

fn absolute(bytes: &[u8], span: Span, method: Method) -> Result<Target, RequestError> {
    let target = span.of(bytes);
    let scheme = [Scheme::Http, Scheme::Https].into_iter().find(|scheme| {
        let start = scheme.prefix();
        target.len() > start.len() && target[..start.len()].eq_ignore_ascii_case(start)
    });
    let scheme = scheme.ok_or(RequestError::Target)?;
    let start = span.start() + scheme.prefix().len();
    let rest = &bytes[start..span.end()];
    let length = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
    let authority = Span::new(start, start + length);
    if !is_host(authority.of(bytes)) {
        return Err(RequestError::Authority);
    }
    let form = match rest.get(length) {
        Some(b'/') => Form::Path,
        None if method == Method::Options => Form::Asterisk,
        Some(_) | None => Form::Query,
    };
    Ok(Target { form, origin: Span::new(start + length, span.end()), absolute: Some((scheme, authority)) })
}

/// Visible ASCII without `"`, `#`, `<`, `>`; a backslash only in the query, where it cannot become a slash.
fn is_path(target: &[u8]) -> bool {
    let mut query = false;
    for (at, &byte) in target.iter().enumerate() {
        match byte {
            b'?' => query = true,
            b'\\' if !query => return false,
            b'%' if !query && is_encoded_control(&target[at + 1..]) => return false,
            b'!' | b'$'..=b';' | b'=' | b'@'..=b'~' => {}
            _ => return false,
        }
    }
    true
}

/// Whether the digits behind a `%` are those of NUL, CR or LF.
fn is_encoded_control(digits: &[u8]) -> bool {
    matches!(digits, [b'0', b'0' | b'a' | b'A' | b'd' | b'D', ..])
}

/// Whether `host` is `host` or `host:port`: a name, an IPv4 address or an IPv6 address in brackets.
///
/// Differs from the specification: an empty name is refused, for a site behind a balancer has a name; so are `'`, `(`,
/// `)`, `*`, `,` and `;`, which no name has and lists do.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name_passes, port) = match host.first() {
        Some(b'[') => {
            let Some(end) = host.iter().position(|&b| b == b']') else { return false };
            (is_ipv6(&host[1..end]), &host[end + 1..])
        }
        Some(_) => {
            let (name, port) = host.split_at(host.iter().position(|&b| b == b':').unwrap_or(host.len()));
            (!name.is_empty() && is_name(name), port)
        }
        None => return false,
    };
    name_passes && is_port(port)
}

fn is_ipv6(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whether it consists of letters, digits, some signs and octets encoded as `%` and two hexadecimal digits.
fn is_name(name: &[u8]) -> bool {
    let hex = |at: usize| name.get(at).is_some_and(u8::is_ascii_hexdigit);
    name.iter().enumerate().all(|(at, &b)| is_name_byte(b) && (b != b'%' || hex(at + 1) && hex(at + 2)))
}

const fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'+' | b'=')
}

/// Nothing, or a colon and a number up to 65,535; nothing may follow the colon (RFC 3986 §3.2.3).
fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => {
            digits.len() <= 5
                && decimal(digits).is_none_or(|port| port <= 65_535)
                && digits.iter().all(u8::is_ascii_digit)
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_an_optional_port() {
        for host in [
            "a",
            "exam.example:80",
            "10.0.0.1:",
            "[::1]",
            "[::ffff:1.2.3.4]:8080",
            "a_b.c",
            "x%41",
            "a:65535",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a:x",
            "a:123456",
            "[::1",
            "[]",
            "[::1]x",
            "[g]",
            "a:1:2",
            "a:65536",
            "a%4",
            "[::1::2]",
            "[fe80::1%25eth0]",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
