//! The name that a TLS client asks for (SNI), read from its first message without decrypting anything.
//!
//! Owns: records and handshake fragments (RFC 8446 §5.1), and the one extension that names a server (RFC 6066 §3). Leaves
//! to others: sockets, which servers a name has, and TLS itself. Invariants: no input makes it panic; what it finds does
//! not depend on how the bytes arrive; it looks at no more than [`MAX_BYTES`].
//!
//! Of an encrypted hello (ECH) the outer name is found, the only one that stands in the clear.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::{string::String, vec::Vec};

/// Longest client hello with its record headers that is read, in bytes.
///
/// With a post-quantum key share a browser's hello has about 1.8 KiB, with a ticket that holds a client's certificates
/// some KiB more; what is longer than a whole record is not meant to be served.
pub const MAX_BYTES: usize = 16 * 1024 + 5;

/// Most records that a hello may be cut into: clients that cut it to hide from middleboxes use two to ten.
pub const MAX_RECORDS: usize = 64;

/// What a look at a client's first bytes found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// More bytes must come.
    Partial,
    /// A whole client hello.
    Hello(Hello),
}

/// What a client hello says in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name that is asked for, in lower case and without a dot at its end.
    pub server_name: Option<String>,
}

/// Why bytes are no client hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first bytes are not those of a TLS handshake record.
    #[error("not TLS")]
    NotTls,
    /// The handshake does not begin with a client hello.
    #[error("the handshake does not begin with a client hello")]
    NotHello,
    /// It is longer than it may be, or in too many records.
    #[error("the client hello is longer than {MAX_BYTES} bytes or in more than {MAX_RECORDS} records")]
    TooLong,
    /// A length within it is wrong.
    #[error("the client hello is malformed")]
    Malformed,
    /// The name in it is not the name of a host.
    #[error("the name in the client hello is not the name of a host")]
    Name,
}

/// Looks at what a client has sent so far, from its first byte on.
///
/// # Errors
/// When it cannot become a client hello, whatever follows.
pub fn look(bytes: &[u8]) -> Result<Look, HelloError> {
    let Some(message) = message(bytes)? else { return Ok(Look::Partial) };
    let server_name = server_name(&message).ok_or(HelloError::Malformed)??;
    Ok(Look::Hello(Hello { server_name }))
}

/// The first handshake message without its header, joined from its records; `None` while it is not whole.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let mut joined = Vec::new();
    let mut rest = bytes;
    for _ in 0..MAX_RECORDS {
        // As much of a record's header as is there must be right, so that garbage is not waited for.
        if rest.first().is_some_and(|&kind| kind != HANDSHAKE) || rest.get(1).is_some_and(|&major| major != 3)
        {
            return Err(HelloError::NotTls);
        }
        let Some((header, behind)) = rest.split_at_checked(5) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // An empty handshake record is not allowed (RFC 8446 §5.1).
        if length == 0 || length > 16 * 1024 {
            return Err(HelloError::NotTls);
        }
        let part = &behind[..length.min(behind.len())];
        joined.extend_from_slice(part);
        if joined.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
            return Err(HelloError::NotHello);
        }
        if let [_, a, b, c, ..] = joined[..] {
            let whole = 4 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            if whole > MAX_BYTES - 5 {
                return Err(HelloError::TooLong);
            }
            if joined.len() >= whole {
                return Ok(Some(joined[4..whole].to_vec()));
            }
        }
        if part.len() < length {
            return Ok(None);
        }
        rest = &behind[length..];
    }
    Err(HelloError::TooLong)
}

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// What follows its length, which has so many bytes.
    fn vector(&mut self, length_bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(length_bytes)?;
        self.take(length).map(Reader)
    }
}

/// The name in a client hello (RFC 8446 §4.1.2); the outer `None` when a length in it is wrong.
fn server_name(message: &[u8]) -> Option<Result<Option<String>, HelloError>> {
    const SERVER_NAME: usize = 0;
    let mut hello = Reader(message);
    let (_version, _random) = (hello.take(2)?, hello.take(32)?);
    let session = hello.vector(1)?;
    let (ciphers, compression) = (hello.vector(2)?, hello.vector(1)?);
    let even = ciphers.0.len().is_multiple_of(2);
    if session.0.len() > 32 || ciphers.0.is_empty() || !even || compression.0.is_empty() {
        return None;
    }
    if hello.0.is_empty() {
        // A hello of TLS 1.2 may come without extensions (RFC 5246 §7.4.1.2).
        return Some(Ok(None));
    }
    let mut extensions = hello.vector(2)?;
    if !hello.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let content = extensions.vector(2)?;
        if kind == SERVER_NAME && found.replace(content).is_some() {
            return None;
        }
    }
    let Some(mut content) = found else { return Some(Ok(None)) };
    let mut names = content.vector(2)?;
    // One name of the one kind that there is (RFC 6066 §3).
    let kind = names.number(1)?;
    let name = names.vector(2)?;
    if kind != 0 || !names.0.is_empty() || !content.0.is_empty() {
        return None;
    }
    Some(host(name.0).map(Some).ok_or(HelloError::Name))
}

/// A name of a host: labels of 1 to 63 letters, digits, `-` or `_`, together at most 253 bytes.
fn host(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &[u8]| (1..64).contains(&label.len()) && label.iter().all(plain);
    let good = bytes.len() < 254 && bytes.split(|&byte| byte == b'.').all(label);
    let name = core::str::from_utf8(bytes).ok().filter(|_| good)?;
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    #[test]
    fn a_name_is_labels_and_nothing_else() {
        for (bytes, name) in [
            (&b"Site.Example"[..], Some("site.example")),
            (b"site.example.", Some("site.example")),
            (b"a_b-c.d", Some("a_b-c.d")),
            (b"", None),
            (b".", None),
            (b"a..b", None),
            (b"a b", None),
            (b"a\0", None),
            (b"\xc3\xa4.de", None),
        ] {
            assert_eq!(host(bytes).as_deref(), name, "{bytes:?}");
        }
        assert_eq!(host(format!("{}.de", "a".repeat(64)).as_bytes()), None);
        assert_eq!(host(vec![b'a'; 254].as_slice()), None);
    }
}
