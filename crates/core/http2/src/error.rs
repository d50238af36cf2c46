//! Why a message of HTTP/2 is malformed (RFC 9113 §8.1.1).
//!
//! Whoever sent it is at fault: a stream error of type PROTOCOL_ERROR, or the status of a refused request.

/// Why a message cannot be written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageError {
    /// The method is no token (RFC 9110 §9.1).
    #[error("the method is malformed")]
    Method,
    /// `:scheme` is neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// `:path` is missing, or neither `/…` in visible ASCII nor `*` for OPTIONS (RFC 9113 §8.3.1).
    #[error("the path is missing or malformed")]
    Path,
    /// Neither `:authority` nor Host, or a byte in them that no host has.
    #[error("the authority is missing or malformed")]
    Authority,
    /// `:authority` and Host differ (RFC 9113 §8.3.1).
    #[error("the authority differs from the Host field")]
    AuthorityDiffers,
    /// CONNECT without `:protocol`: this is no forward proxy.
    #[error("CONNECT is not offered")]
    Connect,
    /// `:protocol` names something other than a WebSocket, or stands in a request other than CONNECT (RFC 8441 §4).
    #[error("the protocol is not offered")]
    Protocol,
    /// A field name that is no token in small letters (RFC 9113 §8.2.1).
    #[error("a field name is malformed")]
    Name,
    /// A field value with CR, LF, NUL or another control character, or with white space at an end
    /// (RFC 9113 §8.2.1).
    #[error("a field value is malformed")]
    Value,
    /// A field that is for one hop of HTTP/1.1 (RFC 9113 §8.2.2).
    #[error("a field that is for one connection of HTTP/1.1 has no place in HTTP/2")]
    OneHop,
    /// A Content-Length that is repeated, no plain number, or not 0 although there is no content.
    #[error("the Content-Length field is repeated, malformed, or not what comes")]
    ContentLength,
    /// The status is none that an answer has, or 101 (RFC 9113 §8.6).
    #[error("the status is malformed")]
    Status,
}

impl MessageError {
    /// The status to refuse a request with (RFC 9110 §15); `None` when the stream is malformed and must be reset.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Connect | Self::Protocol => Some(501),
            Self::Scheme | Self::Authority | Self::AuthorityDiffers => Some(400),
            Self::Method
            | Self::Path
            | Self::Name
            | Self::Value
            | Self::OneHop
            | Self::ContentLength
            | Self::Status => None,
        }
    }
}
