//! The head of a request (RFC 9112 §3).
//!
//! Invariant: the same bytes give the same head or the same refusal however they arrive in pieces.

use core::mem::MaybeUninit;

use crate::fields::{self, Coding, Cuts, Facts, FieldError, From, MAX_FIELDS};
use crate::{Framing, Parsed, RequestError, Span, Version, target};

/// The request method, as far as it matters to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: its answer has no content.
    Head,
    /// PUT or DELETE.
    PutOrDelete,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// Anything else: POST, PATCH and what the server may know.
    Other,
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" | "DELETE" => Self::PutOrDelete,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 §9.2.2), so it may be sent again.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// The head of a request, as offsets into the bytes that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state")]
pub struct RequestHead {
    /// How many bytes it has, with its empty line; the content begins there.
    pub length: usize,
    /// The method.
    pub method: Method,
    /// The method's name.
    pub method_name: Span,
    /// What to ask the server for, in origin-form; empty stands for `/`.
    pub target: Span,
    /// The client's version.
    pub version: Version,
    /// Whether the client expects the connection to stay after the answer (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The Host field's value; `None` only in HTTP/1.0.
    pub host: Option<Span>,
    /// Where the content ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client waits for 100 (Continue) before it sends the content (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether the client asks for a WebSocket (RFC 6455 §4.1). Other upgrades are cut, for one to HTTP/2
    /// would carry requests past everything that is checked here.
    pub upgrade: bool,
    pub(crate) absolute: bool,
    pub(crate) lines: Span,
    pub(crate) cuts: Cuts,
}

/// Looks for a request's head at the start of `bytes`; `limit` is its most bytes, below 4 GiB.
///
/// # Errors
/// The bytes so far can only become a request that is refused.
pub fn parse_request(bytes: &[u8], limit: usize) -> Result<Parsed<RequestHead>, RequestError> {
    let seen = &bytes[..bytes.len().min(limit)];
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(seen, &mut headers) {
        Ok(httparse::Status::Complete(length)) => head(&seen[..length], &request).map(Parsed::Head),
        Ok(httparse::Status::Partial) if bytes.len() >= limit => Err(too_long(seen)),
        Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
        Err(error) => refuse(error, seen),
    }
}

fn too_long(seen: &[u8]) -> RequestError {
    if seen.trim_ascii_start().contains(&b'\n') {
        RequestError::HeadTooLong
    } else {
        RequestError::LineTooLong
    }
}

fn refuse(error: httparse::Error, seen: &[u8]) -> Result<Parsed<RequestHead>, RequestError> {
    Err(match error {
        httparse::Error::Version => return version(seen),
        httparse::Error::TooManyHeaders => RequestError::HeadTooLong,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => RequestError::Field,
        httparse::Error::NewLine => RequestError::LineEnd,
        httparse::Error::Status | httparse::Error::Token => RequestError::RequestLine,
    })
}

/// Tells a version that HTTP has but we do not from something else; eight bytes are needed for that.
fn version(seen: &[u8]) -> Result<Parsed<RequestHead>, RequestError> {
    let line = seen.trim_ascii_start();
    let text = line.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default();
    let form = b"HTTP/d.d";
    let fits = |(&got, &want): (&u8, &u8)| if want == b'd' { got.is_ascii_digit() } else { got == want };
    if !text.iter().zip(form).all(fits) {
        Err(RequestError::RequestLine)
    } else if text.len() < form.len() {
        Ok(Parsed::Partial)
    } else {
        Err(RequestError::Version)
    }
}

fn head(bytes: &[u8], request: &httparse::Request<'_, '_>) -> Result<RequestHead, RequestError> {
    let (Some(name), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err(RequestError::RequestLine);
    };
    let method_name = Span::within(bytes, name.as_bytes());
    // One empty line before a request is skipped (RFC 9112 §2.2).
    if !matches!(&bytes[..method_name.start()], b"" | b"\r\n") {
        return Err(RequestError::LineEnd);
    }
    let facts = fields::read(bytes, request.headers, From::Client).map_err(field_error)?;
    if name == "CONNECT" {
        return Err(RequestError::Connect);
    }
    let method = Method::of(name);
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let place = Span::within(bytes, path.as_bytes());
    let target = target::check(bytes, place, method)?;
    check_host(bytes, version, facts.host, target.authority)?;
    Ok(RequestHead {
        length: bytes.len(),
        method,
        method_name,
        target: target.origin,
        version,
        keep_alive: !facts.close && (version == Version::Http11 || facts.keep_alive),
        host: facts.host,
        framing: framing(version, &facts)?,
        expects_continue: facts.expects_continue && version == Version::Http11,
        upgrade: facts.upgrade && version == Version::Http11 && method == Method::Get,
        absolute: target.authority.is_some(),
        lines: facts.lines,
        cuts: facts.cuts,
    })
}

fn check_host(
    bytes: &[u8],
    version: Version,
    host: Option<Span>,
    authority: Option<Span>,
) -> Result<(), RequestError> {
    let Some(host) = host.map(|span| span.of(bytes)) else {
        // An absolute target without Host would reach the server without its authority.
        let may_lack = version == Version::Http10 && authority.is_none();
        return if may_lack { Ok(()) } else { Err(RequestError::HostMissing) };
    };
    if !target::is_host(host) {
        return Err(RequestError::HostMalformed);
    }
    match authority {
        Some(authority) if !authority.of(bytes).eq_ignore_ascii_case(host) => Err(RequestError::Authority),
        Some(_) | None => Ok(()),
    }
}

fn framing(version: Version, facts: &Facts) -> Result<Framing, RequestError> {
    match (facts.transfer_encoding, facts.content_length) {
        (Some(_), _) if version == Version::Http10 => Err(RequestError::TransferEncoding),
        (Some(Coding::Chunked), _) => Ok(Framing::Chunked),
        (Some(Coding::Other), _) => Err(RequestError::TransferCoding),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::None),
    }
}

fn field_error(error: FieldError) -> RequestError {
    match error {
        FieldError::LineEnd => RequestError::LineEnd,
        FieldError::ContentLength => RequestError::ContentLength,
        FieldError::TransferEncoding => RequestError::TransferEncoding,
        FieldError::HostRepeated => RequestError::HostRepeated,
        FieldError::Connection => RequestError::Connection,
        FieldError::TooMany => RequestError::HeadTooLong,
    }
}
