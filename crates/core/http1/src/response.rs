//! The head of an answer (RFC 9112 §4), as strict as that of a request.

use core::mem::MaybeUninit;

use crate::{
    Framing, Method, Parsed, ResponseError, Span, Trailers, Version,
    fields::{self, Cuts, Facts, FieldError, MAX_FIELDS, Sender},
    value::Coding,
};

/// The head of an answer, as offsets into the bytes that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state")]
pub struct ResponseHead {
    /// How many bytes it has, with its empty line; the content begins there.
    pub length: usize,
    /// 100 to 599.
    pub status: u16,
    /// The server's version.
    pub version: Version,
    /// Whether the connection may carry another request after the content.
    pub keep_alive: bool,
    /// Where the content ends, by the answer and the method of its request.
    pub framing: Framing,
    /// What becomes of its trailer fields.
    pub trailers: Trailers,
    /// Whether it names the protocol that it switches to, a WebSocket.
    pub upgrade: bool,
    /// Whether it has a Transfer-Encoding, which HTTP/1.0 does not know (RFC 9112 §6.1), even if it has no content.
    pub has_coding: bool,
    pub(crate) upgrade_wanted: bool,
    pub(crate) date: bool,
    pub(crate) lines: Span,
    pub(crate) cuts: Cuts,
}

impl ResponseHead {
    /// Whether another answer to the same request follows (RFC 9110 §15.2); not so for 101.
    #[must_use]
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Looks for the head of an answer to a `method` at the start of `bytes`; `limit` is its most bytes.
///
/// # Errors
/// The bytes so far can only become an answer that is refused.
pub fn parse_response(
    bytes: &[u8],
    limit: usize,
    method: Method,
) -> Result<Parsed<ResponseHead>, ResponseError> {
    let seen = &bytes[..bytes.len().min(limit)];
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, seen, &mut headers) {
        Ok(httparse::Status::Complete(length)) => head(&seen[..length], &response, method).map(Parsed::Head),
        Ok(httparse::Status::Partial) if bytes.len() >= limit => Err(ResponseError::HeadTooLong),
        Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(ResponseError::HeadTooLong),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => Err(ResponseError::Field),
        Err(httparse::Error::NewLine) => Err(ResponseError::LineEnd),
        Err(httparse::Error::Status | httparse::Error::Token | httparse::Error::Version) => {
            Err(ResponseError::StatusLine)
        }
    }
}

fn head(
    bytes: &[u8],
    response: &httparse::Response<'_, '_>,
    method: Method,
) -> Result<ResponseHead, ResponseError> {
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(ResponseError::StatusLine);
    };
    // httparse skips empty lines in front, which an answer must not have.
    if !(100..600).contains(&status) || !bytes.starts_with(b"HTTP/") {
        return Err(ResponseError::StatusLine);
    }
    let facts = fields::read(bytes, response.headers, Sender::Server { status }).map_err(field_error)?;
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let framing = framing(version, &facts, status, method)?;
    let persistent = !facts.close && (version == Version::Http11 || facts.keep_alive);
    let (framing, left) = content_of(status, framing);
    Ok(ResponseHead {
        length: bytes.len(),
        status,
        version,
        keep_alive: persistent && left == Left::Nothing && framing != Framing::UntilClose,
        framing,
        trailers: if facts.names_fields { Trailers::Dropped } else { Trailers::OfAnswer },
        upgrade: facts.upgrade,
        has_coding: facts.transfer_encoding.is_some(),
        upgrade_wanted: facts.upgrade_wanted,
        date: facts.date,
        lines: facts.lines,
        cuts: facts.cuts,
    })
}

/// What an answer may leave on its connection that is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Content,
}

/// 205 says that there is no content (RFC 9110 §15.3.6). Some clients believe it whatever the framing says, and would take
/// content for the next answer (I9), so none is passed on.
fn content_of(status: u16, framing: Framing) -> (Framing, Left) {
    match (status, framing) {
        (205, Framing::None | Framing::Length(0)) => (Framing::None, Left::Nothing),
        (205, Framing::Length(_) | Framing::Chunked | Framing::UntilClose) => (Framing::None, Left::Content),
        (_, framing) => (framing, Left::Nothing),
    }
}

/// RFC 9112 §6.3, rules 1 to 8, where what is ambiguous is refused.
fn framing(version: Version, facts: &Facts, status: u16, method: Method) -> Result<Framing, ResponseError> {
    let coding = match (facts.transfer_encoding, version) {
        (None, _) => None,
        (Some(Coding::Chunked), Version::Http11) => Some(Framing::Chunked),
        (Some(Coding::BelowChunked | Coding::NotFramed), _) | (Some(_), Version::Http10) => {
            return Err(ResponseError::TransferEncoding);
        }
    };
    if method == Method::Head || matches!(status, 100..200 | 204 | 304) {
        return Ok(Framing::None);
    }
    let length = facts.content_length.map(Framing::Length);
    Ok(coding.or(length).unwrap_or(Framing::UntilClose))
}

fn field_error(error: FieldError) -> ResponseError {
    match error {
        FieldError::LineEnd => ResponseError::LineEnd,
        FieldError::ContentLength => ResponseError::ContentLength,
        FieldError::TransferEncoding => ResponseError::TransferEncoding,
        FieldError::Disguise => ResponseError::Disguise,
        FieldError::Connection => ResponseError::Connection,
        FieldError::TooMany => ResponseError::HeadTooLong,
        // These mean nothing in an answer and are not looked at there.
        FieldError::HostRepeated
        | FieldError::ContentTypeRepeated
        | FieldError::Expectation
        | FieldError::MaxForwards => ResponseError::Field,
    }
}
