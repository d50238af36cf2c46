//! Version 2: binary (specification §2.2).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    Endpoints, Error, Facts, Header, MAX_HEADER_BYTES, Parsed, Transport, UNIX_PATH_BYTES, crc32c, facts,
    v1::in_v6,
};

/// What every header begins with: no other protocol does.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, and the length of the rest.
const FIXED_BYTES: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Error> {
    let Some(&command) = bytes.get(12) else { return Ok(Parsed::Partial) };
    if !matches!(command, LOCAL | PROXY) {
        return Err(Error::Command { got: command });
    }
    let Some(&[family, high, low]) = bytes.get(13..FIXED_BYTES) else { return Ok(Parsed::Partial) };
    let told = u16::from_be_bytes([high, low]);
    let length = FIXED_BYTES + usize::from(told);
    if length > MAX_HEADER_BYTES {
        return Err(Error::Long { got: told });
    }
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Partial) };
    let header = if command == LOCAL {
        // What else a LOCAL header has must be ignored, its family too.
        Header { endpoints: Endpoints::Local, facts: Facts::NONE }
    } else {
        proxied(header, family)?
    };
    Ok(Parsed::Header(header, length))
}

fn proxied(header: &[u8], family: u8) -> Result<Header<'_>, Error> {
    let transport = match family & 15 {
        1 => Transport::Stream,
        2 => Transport::Datagram,
        // Without a family there is no transport either; nothing else may be received.
        0 if family == 0 => return Ok(Header { endpoints: Endpoints::Unknown, facts: Facts::NONE }),
        _ => return Err(Error::Family { got: family }),
    };
    let body = &header[FIXED_BYTES..];
    let (endpoints, taken) = match family >> 4 {
        1 => {
            let block = first::<12>(body)?;
            let address = |at: usize| IpAddr::V4(Ipv4Addr::from(part::<4>(block, at)));
            (internet(address(0), address(4), &block[8..], transport), 12)
        }
        2 => {
            let block = first::<36>(body)?;
            let address = |at: usize| IpAddr::V6(Ipv6Addr::from(part::<16>(block, at)));
            (internet(address(0), address(16), &block[32..], transport), 36)
        }
        3 => {
            let block = first::<{ 2 * UNIX_PATH_BYTES }>(body)?;
            let (source, destination) = (part(block, 0), part(block, UNIX_PATH_BYTES));
            (Endpoints::Unix { source, destination, transport }, 2 * UNIX_PATH_BYTES)
        }
        _ => return Err(Error::Family { got: family }),
    };
    Ok(Header { endpoints, facts: facts::read(header, FIXED_BYTES + taken)? })
}

fn first<const N: usize>(body: &[u8]) -> Result<&[u8; N], Error> {
    body.first_chunk().ok_or(Error::Cut)
}

/// The `N` bytes of a block from `at` on; the block's length was checked.
fn part<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    *block[at..].first_chunk().expect("the parts of a block lie within it")
}

fn internet(source: IpAddr, destination: IpAddr, ports: &[u8], transport: Transport) -> Endpoints {
    let port = |at: usize| u16::from_be_bytes(part(ports, at));
    Endpoints::Internet {
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
        transport,
    }
}

/// Writes a header with its checksum behind what `out` has. Fields that are too long for a header are left out.
pub fn write(header: &Header<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&SIGNATURE);
    let (command, family) = match header.endpoints {
        Endpoints::Local => (LOCAL, 0),
        Endpoints::Unknown => (PROXY, 0),
        Endpoints::Internet { source, destination, transport } => {
            let v4 = source.is_ipv4() && destination.is_ipv4();
            (PROXY, transport_bits(transport) | if v4 { 0x10 } else { 0x20 })
        }
        Endpoints::Unix { transport, .. } => (PROXY, transport_bits(transport) | 0x30),
    };
    out.extend_from_slice(&[command, family, 0, 0]);
    match &header.endpoints {
        // Nothing may stand where addresses would: a receiver could not tell it from them.
        Endpoints::Local | Endpoints::Unknown => return,
        Endpoints::Internet { source, destination, .. } => write_internet(*source, *destination, out),
        Endpoints::Unix { source, destination, .. } => {
            out.extend_from_slice(source);
            out.extend_from_slice(destination);
        }
    }
    facts::write(&header.facts, out);
    // All that is ever written is below the longest header.
    let length = u16::try_from(out.len() - start - FIXED_BYTES).unwrap_or(u16::MAX);
    out[start + 14..start + 16].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::of(&[&out[start..]]);
    let at = out.len() - 4;
    out[at..].copy_from_slice(&sum.to_be_bytes());
}

const fn transport_bits(transport: Transport) -> u8 {
    match transport {
        Transport::Stream => 1,
        Transport::Datagram => 2,
    }
}

fn write_internet(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    if let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (source, destination) {
        out.extend_from_slice(&source.ip().octets());
        out.extend_from_slice(&destination.ip().octets());
    } else {
        for address in [in_v6(source), in_v6(destination)] {
            let IpAddr::V6(ip) = address.ip() else { continue };
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}
