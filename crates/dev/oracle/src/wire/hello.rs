//! A client's hello: its name does not depend on how it arrives, nor on how it is cut into records.

use evenkeel_tls_hello::{Look, MAX_RECORDS, look};

use crate::Seen;

/// Judges the first bytes of a client of TLS.
///
/// # Panics
/// When a beginning is read otherwise than what goes on from there, when records cut elsewhere change the name, or when
/// the name is none.
pub fn tls_hello(bytes: &[u8]) -> Seen {
    let known = super::knows_once(bytes, |seen| match look(seen) {
        Ok(Look::Partial) => None,
        Ok(Look::Hello(hello)) => Some(Ok(hello)),
        Err(error) => Some(Err(error)),
    });
    let Some(Ok(hello)) = known else { return Seen::Refused };
    if let Some(name) = &hello.server_name {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        assert!(name.bytes().all(plain) && !name.ends_with('.') && !name.is_empty(), "the name is {name:?}");
    }
    let message = joined(bytes);
    for most in [1 << 14, 1000, message.len().div_ceil(MAX_RECORDS).max(1)] {
        let again = look(&records(&message, most));
        assert_eq!(again.as_ref(), Ok(&Look::Hello(hello.clone())), "in records of {most} bytes");
    }
    Seen::Taken
}

/// The handshake message of a hello that was taken, without what stands behind it.
fn joined(mut bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        message.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
        if let [_, a, b, c, ..] = message[..] {
            let whole = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
            if message.len() >= whole {
                message.truncate(whole);
                return message;
            }
        }
    }
    message
}

/// A message in records of at most so many bytes each.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in message.chunks(most) {
        let length = u16::try_from(part.len()).expect("a record has at most 2^14 bytes");
        records.extend_from_slice(&[22, 3, 1]);
        records.extend_from_slice(&length.to_be_bytes());
        records.extend_from_slice(part);
    }
    records
}
