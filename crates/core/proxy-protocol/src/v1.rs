//! Version 1: one line of text (specification §2.1).

use alloc::vec::Vec;
use core::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{Endpoints, Error, Facts, Header, Parsed, Transport};

/// What every line begins with.
pub(crate) const MARK: &[u8] = b"PROXY ";

/// Longest line with its line end: `PROXY UNKNOWN` with two IPv6 addresses of 39 characters and two ports of 5
/// (specification §2.1).
pub const MAX_LINE_BYTES: usize = 107;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Error> {
    let seen = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = seen.iter().position(|&byte| byte == b'\n') else {
        return if seen.len() < MAX_LINE_BYTES { Ok(Parsed::Partial) } else { Err(Error::LongLine) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Error::Line)?;
    let line = core::str::from_utf8(line).map_err(|_| Error::Line)?;
    let rest = line.strip_prefix("PROXY ").ok_or(Error::Line)?;
    let endpoints = endpoints(rest).ok_or(Error::Line)?;
    Ok(Parsed::Header(Header { endpoints, facts: Facts::NONE }, end + 1))
}

fn endpoints(rest: &str) -> Option<Endpoints> {
    // What follows UNKNOWN is to be ignored.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Endpoints::Unknown);
    }
    let mut words = rest.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let over = words.next().is_none();
    over.then_some(Endpoints::Internet {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        transport: Transport::Stream,
    })
}

/// A port in its one form: digits without a leading zero, at most 65,535.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Writes a line behind what `out` has. What version 1 cannot say becomes `UNKNOWN`: it only knows TCP.
pub fn write(endpoints: &Endpoints, out: &mut Vec<u8>) {
    let mut text = Text(out);
    // A vector takes every text.
    let _: fmt::Result = match *endpoints {
        Endpoints::Internet { source, destination, transport: Transport::Stream } => {
            let (family, source, destination) = match (source, destination) {
                (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                    ("TCP4", SocketAddr::V4(source), SocketAddr::V4(destination))
                }
                (source, destination) => ("TCP6", in_v6(source), in_v6(destination)),
            };
            let (from, to) = (source.ip(), destination.ip());
            write!(text, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        Endpoints::Internet { .. } | Endpoints::Local | Endpoints::Unknown | Endpoints::Unix { .. } => {
            text.write_str("PROXY UNKNOWN\r\n")
        }
    };
}

/// The address as one of IPv6: both of a header are of one family.
pub(crate) fn in_v6(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
