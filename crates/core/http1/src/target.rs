//! The request target and the Host field (RFC 9112 §3.2, RFC 9110 §7.2).
//!
//! Invariant: a target that passes goes to the server byte for byte, so it has no byte that ends it early.

use crate::{Method, RequestError, Span};

/// Finds the origin-form of the target in `span`, and the authority when the target has one.
///
/// Differs from the specification: `{`, `|`, `}`, `^` and the grave accent pass, for browsers send them.
pub(crate) fn check(bytes: &[u8], span: Span, method: Method) -> Result<Target, RequestError> {
    let target = span.of(bytes);
    match target.first() {
        Some(b'/') if is_path(target) => Ok(Target { origin: span, authority: None }),
        Some(b'*') if target.len() == 1 && method == Method::Options => {
            Ok(Target { origin: span, authority: None })
        }
        Some(b'h' | b'H') if is_path(target) => absolute(bytes, span),
        Some(_) | None => Err(RequestError::Target),
    }
}

/// A target that passed.
pub(crate) struct Target {
    /// What to ask the server for; empty when an absolute target had no path, which means `/`.
    pub(crate) origin: Span,
    /// The authority of an absolute target.
    pub(crate) authority: Option<Span>,
}

fn absolute(bytes: &[u8], span: Span) -> Result<Target, RequestError> {
    const SCHEME: &[u8] = b"http://";
    let target = span.of(bytes);
    if target.len() < SCHEME.len() || !target[..SCHEME.len()].eq_ignore_ascii_case(SCHEME) {
        return Err(RequestError::Target);
    }
    let rest = &target[SCHEME.len()..];
    let length = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
    // A query right after the authority would need a `/` put in front of it.
    if length == 0 || rest.get(length) == Some(&b'?') {
        return Err(RequestError::Target);
    }
    let at = span.start() + SCHEME.len();
    Ok(Target { origin: Span::new(at + length, span.end()), authority: Some(Span::new(at, at + length)) })
}

/// Visible ASCII without `"`, `#`, `<`, `>`; a backslash only in the query, where it cannot become a slash.
fn is_path(target: &[u8]) -> bool {
    let query = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
    let visible = |b: u8| matches!(b, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~');
    target.iter().all(|&b| visible(b)) && !target[..query].contains(&b'\\')
}

/// Whether `host` is `host` or `host:port`: a name, an IPv4 address or an IPv6 address in brackets.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host.first() {
        Some(b'[') => {
            let Some(end) = host.iter().position(|&b| b == b']') else { return false };
            let address = &host[1..end];
            if !address.iter().all(|&b| b.is_ascii_hexdigit() || b == b':' || b == b'.') {
                return false;
            }
            (address, &host[end + 1..])
        }
        Some(_) => host.split_at(host.iter().position(|&b| b == b':').unwrap_or(host.len())),
        None => return false,
    };
    let name_passes = host[0] == b'[' || name.iter().all(|&b| is_name_byte(b));
    !name.is_empty() && name_passes && is_port(port)
}

const fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'+' | b'=')
}

/// Nothing, or a colon and at most five digits.
fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_an_optional_port() {
        for host in ["a", "exam.example:80", "10.0.0.1:", "[::1]", "[::ffff:1.2.3.4]:8080", "a_b.c", "x%41"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a b", "a,b", "a/b", "a@b", "a:x", "a:123456", "[::1", "[]", "[::1]x", "[g]", "a:1:2"]
        {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
