//! Names and values of fields (RFC 9113 §8.2).
//!
//! Invariant: a name and a value that pass make exactly one line of text.

use alloc::vec::Vec;

use crate::{MessageError, text::is_for_one_hop};

/// A byte of a token in small letters (RFC 9110 §5.6.2, RFC 9113 §8.2.1).
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9')
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A byte of a token.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || is_name_byte(byte)
}

/// Tab, space, visible ASCII and obs-text (RFC 9110 §5.5).
const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Checks a field that may stand in a message of HTTP/2.
pub(crate) fn check(name: &[u8], value: &[u8]) -> Result<(), MessageError> {
    if name.is_empty() || !name.iter().all(|&byte| is_name_byte(byte)) {
        return Err(MessageError::Name);
    }
    if !value.iter().all(|&byte| is_value_byte(byte)) {
        return Err(MessageError::Value);
    }
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(value.first()) || is_space(value.last()) {
        return Err(MessageError::Value);
    }
    match name {
        b"te" if value.eq_ignore_ascii_case(b"trailers") => Ok(()),
        b"te" => Err(MessageError::OneHop),
        name if is_for_one_hop(name) => Err(MessageError::OneHop),
        _ => Ok(()),
    }
}

/// Writes one line of text.
pub(crate) fn write(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A length as it may stand in Content-Length: at most 18 digits, so that sums of it cannot overflow.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0, |sum: u64, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_could_end_its_line_or_name_a_connection_is_malformed() {
        for (name, value, error) in [
            ("x-a", "1", None),
            ("x-a", "", None),
            ("x-a", "a b\tc\u{e9}", None),
            ("te", "trailers", None),
            ("te", "gzip", Some(MessageError::OneHop)),
            ("connection", "close", Some(MessageError::OneHop)),
            ("transfer-encoding", "chunked", Some(MessageError::OneHop)),
            ("keep-alive", "1", Some(MessageError::OneHop)),
            ("proxy-connection", "x", Some(MessageError::OneHop)),
            ("upgrade", "websocket", Some(MessageError::OneHop)),
            ("X-A", "1", Some(MessageError::Name)),
            ("", "1", Some(MessageError::Name)),
            (":path", "/", Some(MessageError::Name)),
            ("x a", "1", Some(MessageError::Name)),
            ("x:a", "1", Some(MessageError::Name)),
            ("x\r\nhost", "1", Some(MessageError::Name)),
            ("x", "1\r\nhost: b", Some(MessageError::Value)),
            ("x", "1\nb", Some(MessageError::Value)),
            ("x", "1\0", Some(MessageError::Value)),
            ("x", " 1", Some(MessageError::Value)),
            ("x", "1\t", Some(MessageError::Value)),
        ] {
            assert_eq!(check(name.as_bytes(), value.as_bytes()).err(), error, "{name:?}: {value:?}");
        }
    }
}
