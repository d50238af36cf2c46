//! HTTP/1.1 message framing for a proxy.
//!
//! Owns: where a message's head and content begin and end (RFC 9112), what of a head is for the next hop only
//! (RFC 9110 §7.6.1), and how a head is written for the other side. Leaves to others: sockets, buffers, which fields
//! servers are told of clients in (`core/config`), and what a field means beyond framing. Invariant I9: what two recipients
//! could frame differently is refused, so no request is ever answered from another request's bytes.
//!
//! Nothing here allocates except the caller's output buffer and a trailer section, and no input makes it panic.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod chunked;
mod edit;
mod error;
mod fields;
mod name;
mod request;
mod response;
mod rewrite;
mod span;
mod target;
mod trailers;
mod value;

pub use chunked::{ChunkScanner, MAX_CHUNK_LINE, MAX_OVERHEAD, MAX_TRAILERS, Piece, Scan};
pub use edit::Edits;
pub use error::{ChunkError, RequestError, ResponseError};
pub use fields::{MAX_CUTS, MAX_FIELDS};
pub use request::{Method, Peer, RequestHead, RequestIds, Scheme, Trust, parse_request};
pub use response::{ResponseHead, parse_response};
pub use rewrite::{
    Hop, Onward, Received, write_edited_request, write_edited_response, write_request, write_response,
};
pub use span::Span;
pub use trailers::{Trailers, may_trail};

/// What a look at the bytes so far gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is not complete; nothing wrong was seen yet.
    Partial,
    /// The head is complete.
    Head(T),
}

/// The version of a message (RFC 9110 §2.5); every other one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Where a message's content ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes; 0 stands for an explicit `Content-Length: 0`.
    Length(u64),
    /// Where its own chunks say.
    Chunked,
    /// Where the connection ends; only an answer may be framed so.
    UntilClose,
}
