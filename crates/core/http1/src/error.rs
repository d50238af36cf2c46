//! Why a message is refused, and with which status.
//!
//! The type says whose fault it is: [`RequestError`] is the client's, [`ResponseError`] the server's; a
//! [`ChunkError`] is that of whoever sent the content.

/// Why a request is refused. Nothing after the refused bytes can be framed: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestError {
    /// The request line is not `METHOD TARGET VERSION` with single spaces.
    #[error("the request line is malformed")]
    RequestLine,
    /// The target is in no form that a gateway takes (RFC 9112 §3.2), or has bytes that a URI cannot have.
    #[error("the request target is malformed")]
    Target,
    /// The target's authority is no host with an optional port.
    #[error("the authority of the request target is malformed")]
    Authority,
    /// CONNECT, for this is no forward proxy; TRACE, for it would show a client what was added on the way; and names
    /// that no method has: longer than 32 bytes, or with others than capital letters, digits, `-`, `.` and `_`.
    #[error("the method is not offered")]
    Method,
    /// A version that is neither 1.0 nor 1.1.
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
    /// A field line that is malformed: folded, a space before the colon, a control character.
    #[error("a header field line is malformed")]
    Field,
    /// A line that ends otherwise than with CR LF.
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// No Host in HTTP/1.1.
    #[error("the Host field is missing")]
    HostMissing,
    /// More than one Host.
    #[error("the Host field is repeated")]
    HostRepeated,
    /// A Host that is no host with an optional port.
    #[error("the Host field is malformed")]
    HostMalformed,
    /// A Content-Length that is repeated, or not a plain number below 10^18 without leading zeros.
    #[error("the Content-Length field is repeated or malformed")]
    ContentLength,
    /// A Transfer-Encoding beside a Content-Length, repeated, or in HTTP/1.0.
    #[error("the Transfer-Encoding field is repeated, beside a Content-Length, or in HTTP/1.0")]
    TransferEncoding,
    /// Transfer codings that do not end with one `chunked`, so that nobody can tell where the content ends.
    #[error("the transfer codings do not end with a single `chunked`")]
    Unframed,
    /// Another transfer coding below `chunked`.
    #[error("a transfer coding other than chunked is not offered")]
    TransferCoding,
    /// An Expect other than `100-continue`.
    #[error("the expectation is not one that can be met")]
    Expectation,
    /// A Max-Forwards of OPTIONS that is repeated or no number.
    #[error("the Max-Forwards field is repeated or malformed")]
    MaxForwards,
    /// More than one Content-Type.
    #[error("the Content-Type field is repeated")]
    ContentTypeRepeated,
    /// Content_Length or Transfer_Encoding, which some servers take for the framing fields.
    #[error("a field name passes for that of a framing field")]
    Disguise,
    /// Connection names a field that frames or routes the message.
    #[error("the Connection field names a field that is not for one hop")]
    Connection,
    /// The request line alone is longer than the limit on the head.
    #[error("the request line is longer than allowed")]
    LineTooLong,
    /// The head is longer than the limit, or has more than [`crate::MAX_FIELDS`] fields.
    #[error("the request head is longer than allowed")]
    HeadTooLong,
}

impl RequestError {
    /// The status to answer with (RFC 9110 §15).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::RequestLine
            | Self::Target
            | Self::Authority
            | Self::Field
            | Self::LineEnd
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Unframed
            | Self::MaxForwards
            | Self::ContentTypeRepeated
            | Self::Disguise
            | Self::Connection => 400,
            Self::LineTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLong => 431,
            Self::Method | Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }
}

/// Why an answer is refused: the server's fault, 502 to the client. Close the server's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResponseError {
    /// The status line is malformed, or its version or status is none that HTTP/1.1 has.
    #[error("the status line is malformed")]
    StatusLine,
    /// A field line that is malformed.
    #[error("a header field line is malformed")]
    Field,
    /// A line that ends otherwise than with CR LF.
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// A Content-Length that is repeated, or not a plain number below 10^18 without leading zeros.
    #[error("the Content-Length field is repeated or malformed")]
    ContentLength,
    /// A Transfer-Encoding other than one `chunked`, beside a Content-Length, or in HTTP/1.0.
    #[error("the Transfer-Encoding field is not a single `chunked` in HTTP/1.1 without a Content-Length")]
    TransferEncoding,
    /// Content_Length or Transfer_Encoding, which some clients take for the framing fields.
    #[error("a field name passes for that of a framing field")]
    Disguise,
    /// Connection names a field that frames the message.
    #[error("the Connection field names a field that is not for one hop")]
    Connection,
    /// The head is longer than the limit, or has more than [`crate::MAX_FIELDS`] fields.
    #[error("the response head is longer than allowed")]
    HeadTooLong,
}

/// Why chunked content is refused (RFC 9112 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ChunkError {
    /// A chunk's size is not 1 to 15 hexadecimal digits.
    #[error("a chunk size is malformed")]
    Size,
    /// A chunk extension has bytes that it cannot have.
    #[error("a chunk extension is malformed")]
    Extension,
    /// Size lines and extensions outweigh the data by more than [`crate::MAX_OVERHEAD`].
    #[error("the chunk extensions outweigh the data")]
    Overhead,
    /// A size line is longer than [`crate::MAX_CHUNK_LINE`].
    #[error("a chunk size line is longer than allowed")]
    LineTooLong,
    /// CR LF is missing where it must stand.
    #[error("a chunk does not end with CR LF")]
    LineEnd,
    /// A trailer field is malformed.
    #[error("a trailer field is malformed")]
    Trailer,
    /// A trailer field that may only stand in the head (RFC 9110 §6.5.1).
    #[error("a trailer field may only stand in the head")]
    TrailerField,
    /// The trailer section is longer than [`crate::MAX_TRAILERS`].
    #[error("the trailer section is longer than allowed")]
    TrailersTooLong,
}
