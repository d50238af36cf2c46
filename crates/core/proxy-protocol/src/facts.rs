//! What a version 2 header says beside addresses (specification §2.2.1 to §2.2.6).
//!
//! Invariants: fields that are not understood are passed over; one that is understood is there once and well-formed,
//! or the header is refused; what is written reads back.

use alloc::vec::Vec;

use crate::{Error, crc32c};

/// What is known of a connection beside its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts<'a> {
    /// The protocol that was agreed on (ALPN, RFC 7301), such as `h2`.
    pub alpn: Option<&'a [u8]>,
    /// The name that the client asked for: with TLS its server name (RFC 6066 §3).
    pub authority: Option<&'a str>,
    /// What the sender calls the connection; at most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
    /// What is known of the client's TLS; `None` when it spoke none.
    pub tls: Option<Tls<'a>>,
}

impl Facts<'_> {
    /// Nothing.
    pub const NONE: Self = Self { alpn: None, authority: None, unique_id: None, tls: None };
}

/// The TLS between the client and the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tls<'a> {
    /// The version, such as `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The cipher suite, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a str>,
    /// Who the client proved to be.
    pub client: TlsClient<'a>,
}

/// Who a client proved to be by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsClient<'a> {
    /// It showed no certificate.
    #[default]
    Anonymous,
    /// It showed one that the sender could not verify.
    Unverified,
    /// It showed one that the sender verified, with this common name, where it has one.
    Verified {
        /// The name.
        name: Option<&'a str>,
    },
}

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const TLS: u8 = 0x20;
const TLS_VERSION: u8 = 0x21;
const TLS_NAME: u8 = 0x22;
const TLS_CIPHER: u8 = 0x23;

/// Longest unique identity (specification §2.2.5).
const MAX_UNIQUE_ID_BYTES: usize = 128;

/// The client spoke TLS; it showed a certificate on this connection; or in this session.
const SPOKE_TLS: u8 = 0x01;
const SHOWED_NOW: u8 = 0x02;
const SHOWED_BEFORE: u8 = 0x04;

/// The fields in `header[from..]`, of a header that is there whole.
pub(crate) fn read(header: &[u8], from: usize) -> Result<Facts<'_>, Error> {
    let mut facts = Facts::NONE;
    let mut checked = false;
    let mut rest = &header[from..];
    while let Some((field, value)) = next(&mut rest)? {
        let bad = Error::Field { field };
        match field {
            ALPN => once(&mut facts.alpn, value, bad)?,
            AUTHORITY => once(&mut facts.authority, text(value, bad)?, bad)?,
            CRC32C if checked => return Err(bad),
            CRC32C => {
                check(header, header.len() - rest.len() - value.len(), value)?;
                checked = true;
            }
            UNIQUE_ID if value.len() > MAX_UNIQUE_ID_BYTES => return Err(bad),
            UNIQUE_ID => once(&mut facts.unique_id, value, bad)?,
            TLS if facts.tls.is_some() => return Err(bad),
            TLS => facts.tls = tls(value)?,
            _ => {}
        }
    }
    Ok(facts)
}

/// The next field; `None` at the end.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Error> {
    let (field, high, low) = match **rest {
        [] => return Ok(None),
        [field, high, low, ..] => (field, high, low),
        [..] => return Err(Error::Cut),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = rest[3..].split_at_checked(length).ok_or(Error::Cut)?;
    *rest = behind;
    Ok(Some((field, value)))
}

fn once<T>(place: &mut Option<T>, value: T, bad: Error) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad),
    }
}

fn text(value: &[u8], bad: Error) -> Result<&str, Error> {
    core::str::from_utf8(value).map_err(|_| bad)
}

/// The sum is over the header with zeros in the place of the sum (specification §2.2.3).
fn check(header: &[u8], at: usize, value: &[u8]) -> Result<(), Error> {
    let told = <[u8; 4]>::try_from(value).map_err(|_| Error::Field { field: CRC32C })?;
    let sum = crc32c::of(&[&header[..at], &[0; 4], &header[at + 4..]]);
    if sum == u32::from_be_bytes(told) { Ok(()) } else { Err(Error::Checksum) }
}

fn tls(value: &[u8]) -> Result<Option<Tls<'_>>, Error> {
    let bad = Error::Field { field: TLS };
    let (client, verify, mut rest) = match value {
        [client, a, b, c, d, rest @ ..] => (*client, u32::from_be_bytes([*a, *b, *c, *d]), rest),
        [..] => return Err(bad),
    };
    let (mut version, mut cipher, mut name) = (None, None, None);
    while let Some((field, value)) = next(&mut rest)? {
        let bad = Error::Field { field };
        match field {
            TLS_VERSION => once(&mut version, text(value, bad)?, bad)?,
            TLS_CIPHER => once(&mut cipher, text(value, bad)?, bad)?,
            TLS_NAME => once(&mut name, text(value, bad)?, bad)?,
            _ => {}
        }
    }
    let client_proved = match (client & (SHOWED_NOW | SHOWED_BEFORE) != 0, verify) {
        (false, _) => TlsClient::Anonymous,
        (true, 0) => TlsClient::Verified { name },
        (true, _) => TlsClient::Unverified,
    };
    Ok((client & SPOKE_TLS != 0).then_some(Tls { version, cipher, client: client_proved }))
}

/// Writes the fields, the checksum's last with zeros in its place; what is too long for a field is left out.
pub(crate) fn write(facts: &Facts<'_>, out: &mut Vec<u8>) {
    facts.alpn.into_iter().for_each(|alpn| field(ALPN, alpn, out));
    facts.authority.into_iter().for_each(|name| field(AUTHORITY, name.as_bytes(), out));
    let id = facts.unique_id.filter(|id| id.len() <= MAX_UNIQUE_ID_BYTES);
    id.into_iter().for_each(|id| field(UNIQUE_ID, id, out));
    if let Some(tls) = &facts.tls {
        field(TLS, &tls_value(tls), out);
    }
    field(CRC32C, &[0; 4], out);
}

/// The longest field that is written: a name has at most 255 bytes, and all of them together must fit a header.
const MAX_FIELD_BYTES: usize = 640;

fn field(field: u8, value: &[u8], out: &mut Vec<u8>) {
    let Some(length) = u16::try_from(value.len()).ok().filter(|_| value.len() <= MAX_FIELD_BYTES) else {
        return;
    };
    out.push(field);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

fn tls_value(tls: &Tls<'_>) -> Vec<u8> {
    let (client, verify, name) = match tls.client {
        TlsClient::Anonymous => (SPOKE_TLS, 1_u32, None),
        TlsClient::Unverified => (SPOKE_TLS | SHOWED_NOW, 1, None),
        TlsClient::Verified { name } => (SPOKE_TLS | SHOWED_NOW, 0, name),
    };
    let mut value = Vec::from([client]);
    value.extend_from_slice(&verify.to_be_bytes());
    for (kind, text) in [(TLS_VERSION, tls.version), (TLS_CIPHER, tls.cipher), (TLS_NAME, name)] {
        // With these three at most this long the whole stays below the longest field.
        let text = text.filter(|text| text.len() <= MAX_TLS_TEXT_BYTES);
        text.into_iter().for_each(|text| field(kind, text.as_bytes(), &mut value));
    }
    value
}

/// Three of them and their heads, 3 × 203, and 5 bytes before them are below [`MAX_FIELD_BYTES`].
const MAX_TLS_TEXT_BYTES: usize = 200;
