//! A header, whichever version it comes in.

use core::net::SocketAddr;

use crate::{Error, Facts, v1, v2};

/// Longest header that is taken, in bytes.
///
/// The addresses of version 2 are at most 216 bytes, and the fields that are in use some hundreds; 4 KiB leave room for
/// those of cloud providers and for a client's certificate name, and are two packets.
pub const MAX_HEADER_BYTES: usize = 4096;

/// Length of a UNIX socket's path in a version 2 header, in bytes, filled up with zeros (specification §2.2).
pub const UNIX_PATH_BYTES: usize = 108;

/// The two forms of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// One line of text: addresses and ports of TCP.
    V1,
    /// Binary: also what the sender knows of TLS, and a checksum.
    V2,
}

/// Over what the client reached the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, or a UNIX socket of the kind stream.
    Stream,
    /// UDP, or a UNIX socket of the kind datagram.
    Datagram,
}

/// Between whom the connection is that the header speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// The sender itself and the receiver: a health check, for example (`LOCAL`).
    Local,
    /// Nothing is known (`UNKNOWN`, `AF_UNSPEC`).
    Unknown,
    /// A client and what it connected to; both of the same family.
    Internet {
        /// The client.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
        /// Over what.
        transport: Transport,
    },
    /// UNIX sockets.
    Unix {
        /// The client's path, filled up with zeros.
        source: [u8; UNIX_PATH_BYTES],
        /// The path that it connected to, filled up with zeros.
        destination: [u8; UNIX_PATH_BYTES],
        /// Over what.
        transport: Transport,
    },
}

/// A header: between whom the connection is, and what else is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Between whom.
    pub endpoints: Endpoints,
    /// What else is known; nothing in version 1.
    pub facts: Facts<'a>,
}

/// What a look at the first bytes of a connection gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is on the stack once a connection; a box would be allocated"
)]
pub enum Parsed<'a> {
    /// All that came may be the beginning of a header: more must come.
    Partial,
    /// A header, and its length in bytes: what is behind it belongs to the client.
    Header(Header<'a>, usize),
}

/// Reads the header at the beginning of `bytes`, in whichever version it is.
///
/// # Errors
/// As soon as it is certain that the bytes begin with no header, or with one that is refused.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Error> {
    let begins = |mark: &[u8]| {
        let known = bytes.len().min(mark.len());
        bytes[..known] == mark[..known]
    };
    match bytes.first() {
        None => Ok(Parsed::Partial),
        Some(_) if begins(v1::MARK) => v1::parse(bytes),
        Some(_) if begins(&v2::SIGNATURE) => v2::parse(bytes),
        Some(_) => Err(Error::NotProxy),
    }
}
