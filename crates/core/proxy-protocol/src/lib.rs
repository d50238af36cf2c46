//! The PROXY protocol, versions 1 and 2: who is behind a connection that another proxy made.
//!
//! Owns: reading and writing the header that stands before everything else on such a connection (HAProxy's
//! proxy-protocol.txt, called "the specification" here). Leaves to others: whose headers are believed, and how long
//! one is waited for. Invariants: a header is at most [`MAX_HEADER_BYTES`] long; what could be read in two ways, or
//! fails its checksum, is refused; reading allocates nothing; the bytes behind a header are never looked at.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod crc32c;
mod error;
mod facts;
mod header;
mod v1;
mod v2;

pub use error::Error;
pub use facts::{Facts, Tls, TlsClient};
pub use header::{Endpoints, Header, MAX_HEADER_BYTES, Parsed, Transport, UNIX_PATH_BYTES, Version, parse};
pub use v1::{MAX_LINE_BYTES, write as write_v1};
pub use v2::write as write_v2;
