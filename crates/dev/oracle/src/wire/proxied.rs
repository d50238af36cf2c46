//! The PROXY protocol: what is read is written, and read as the same.

use evenkeel_proxy_protocol::{
    Endpoints, Error, Facts, Header, MAX_HEADER_BYTES, MAX_LINE_BYTES, Parsed, Tls, TlsClient, Transport,
    parse, write_v1, write_v2,
};

use crate::Seen;

/// Longest text in a fact of TLS that is written, in bytes.
const MAX_TLS_TEXT: usize = 200;
/// Longest other fact that is written, in bytes.
const MAX_FACT: usize = 640;

/// Judges the first bytes of a connection that another proxy made.
///
/// # Panics
/// When a beginning is read otherwise than what goes on from there, when what is written reads back as something else,
/// or when a damaged address passes.
pub fn proxy_protocol(bytes: &[u8]) -> Seen {
    let known = super::knows_once(bytes, |seen| match parse(seen) {
        Ok(Parsed::Partial) => None,
        Ok(Parsed::Header(header, length)) => Some(Ok((header.endpoints, length))),
        Err(error) => Some(Err(error)),
    });
    let Some(Ok((_, length))) = known else { return Seen::Refused };
    assert!(length <= MAX_HEADER_BYTES.min(bytes.len()), "a header of {length} bytes");
    let Ok(Parsed::Header(header, _)) = parse(bytes) else { unreachable!("it was read before") };
    assert_eq!(parse(&bytes[..length]), Ok(Parsed::Header(header, length)), "without what is behind it");
    reads_back(&header);
    Seen::Taken
}

fn reads_back(header: &Header<'_>) {
    let mut line = Vec::new();
    write_v1(&header.endpoints, &mut line);
    assert!(line.len() <= MAX_LINE_BYTES, "a line of {} bytes", line.len());
    let endpoints = match header.endpoints {
        internet @ Endpoints::Internet { transport: Transport::Stream, .. } => internet,
        Endpoints::Internet { .. } | Endpoints::Local | Endpoints::Unknown | Endpoints::Unix { .. } => {
            Endpoints::Unknown
        }
    };
    let told = Header { endpoints, facts: Facts::NONE };
    assert_eq!(parse(&line), Ok(Parsed::Header(told, line.len())), "as a line");
    let mut binary = Vec::new();
    write_v2(header, &mut binary);
    let told = Header { endpoints: header.endpoints, facts: written(header) };
    assert_eq!(parse(&binary), Ok(Parsed::Header(told, binary.len())), "as binary");
    damaged(header, &mut binary);
}

/// The facts that are written: all that are not too long for their field, where a header may have any.
fn written<'a>(header: &Header<'a>) -> Facts<'a> {
    if matches!(header.endpoints, Endpoints::Local | Endpoints::Unknown) {
        return Facts::NONE;
    }
    let facts = header.facts;
    let short = |text: Option<&'a str>| text.filter(|text| text.len() <= MAX_TLS_TEXT);
    Facts {
        alpn: facts.alpn.filter(|alpn| alpn.len() <= MAX_FACT),
        authority: facts.authority.filter(|name| name.len() <= MAX_FACT),
        unique_id: facts.unique_id,
        tls: facts.tls.map(|tls| Tls {
            version: short(tls.version),
            cipher: short(tls.cipher),
            client: match tls.client {
                TlsClient::Verified { name } => TlsClient::Verified { name: short(name) },
                TlsClient::Anonymous => TlsClient::Anonymous,
                TlsClient::Unverified => TlsClient::Unverified,
            },
        }),
    }
}

/// One bit of an address turned over is found by the checksum.
fn damaged(header: &Header<'_>, binary: &mut [u8]) {
    let addresses = match header.endpoints {
        Endpoints::Local | Endpoints::Unknown => return,
        Endpoints::Internet { source, .. } if source.is_ipv4() => 12,
        Endpoints::Internet { .. } => 36,
        Endpoints::Unix { .. } => 216,
    };
    for at in [16, 16 + addresses / 2, 16 + addresses - 1] {
        for bit in [1, 0x80] {
            binary[at] ^= bit;
            assert_eq!(parse(binary), Err(Error::Checksum), "with byte {at} damaged");
            binary[at] ^= bit;
        }
    }
}
