//! The head of a request (RFC 9112 §3).
//!
//! Invariant: the same bytes give the same head or the same refusal however they arrive in pieces.

use core::mem::MaybeUninit;

use crate::{
    Framing, Parsed, RequestError, Span, Trailers, Version,
    fields::{self, Asking, Cuts, Facts, FieldError, MAX_FIELDS, Sender},
    target::{self, Form},
    value::Coding,
};

/// Longest method name, in bytes: the longest registered one, UPDATEREDIRECTREF, has 17.
const MAX_METHOD: usize = 32;

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
            _ => Self::Other,
        }
    }

    /// Whether doing it twice is the same as doing it once (RFC 9110 §9.2.2), so it may be sent again.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// The scheme of a target, or that of the connection on which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    pub(crate) const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Http => b"http://",
            Self::Https => b"https://",
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Whether what a client says of others on whose behalf it asks is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// It is a proxy of ours: X-Forwarded-For, -Host, -Port and -Proto, X-Real-IP and Forwarded stay.
    Trusted,
    /// It may be anybody: these fields are cut.
    Stranger,
}

/// What becomes of X-Request-Id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestIds {
    /// It passes like any other field.
    Passed,
    /// Each request gets one, unless somebody trusted gave it one.
    Made,
}

/// Who sends requests, as far as that decides which of their fields stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Whether it is believed.
    pub trust: Trust,
    /// What becomes of its X-Request-Id.
    pub request_ids: RequestIds,
}

impl Peer {
    /// Anybody, whose X-Request-Id passes.
    pub const STRANGER: Self = Self { trust: Trust::Stranger, request_ids: RequestIds::Passed };

    pub(crate) fn is_trusted(self) -> bool {
        self.trust == Trust::Trusted
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
    /// What to ask the server for: a path with its query, or `*`; without its `/` where the client left that out, so
    /// use [`Self::path`] and [`Self::query`].
    pub target: Span,
    /// The client's version.
    pub version: Version,
    /// Whether the client expects the connection to stay after the answer (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The host with an optional port: of the target where that has one, else of the Host field (RFC 9112 §3.2.2);
    /// `None` only in HTTP/1.0.
    pub host: Option<Span>,
    /// The scheme of an absolute-form target, which must be that of the connection (RFC 9110 §7.4).
    pub scheme: Option<Scheme>,
    /// Where the content ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// What becomes of its trailer fields.
    pub trailers: Trailers,
    /// Whether the client waits for 100 (Continue) before it sends the content (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether the client asks for a WebSocket (RFC 6455 §4.1). Other upgrades are cut, for one to HTTP/2
    /// would carry requests past everything that is checked here.
    pub upgrade: bool,
    /// How many more hops an OPTIONS request may take; at 0 it must be answered here (RFC 9110 §7.6.2).
    pub max_forwards: Option<u64>,
    /// The X-Request-Id that stays, when [`RequestIds::Made`] and somebody trusted sent a well-formed one.
    pub request_id: Option<Span>,
    pub(crate) form: Form,
    pub(crate) te_trailers: bool,
    pub(crate) via: bool,
    pub(crate) forwarded_proto: bool,
    pub(crate) forwarded_host: bool,
    /// The authority of an absolute-form target takes the place of Host.
    pub(crate) absolute: bool,
    pub(crate) lines: Span,
    pub(crate) cuts: Cuts,
}

impl RequestHead {
    /// The path that is asked for, as it came; `*` for the server as a whole. `bytes` are those that it was parsed from.
    #[must_use]
    pub fn path<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let target = self.target.of(bytes);
        match self.form {
            Form::Kept | Form::Path => {
                &target[..target.iter().position(|&b| b == b'?').unwrap_or(target.len())]
            }
            Form::Query => b"/",
            Form::Asterisk => b"*",
        }
    }

    /// The query without its question mark; `None` when there is none.
    #[must_use]
    pub fn query<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let target = self.target.of(bytes);
        target.iter().position(|&b| b == b'?').map(|at| &target[at + 1..])
    }

    /// Whether a Host is written that is not among the lines: the target's authority, or that of the server.
    pub(crate) fn gains_host(&self) -> bool {
        self.absolute || self.host.is_none()
    }

    /// Whether a Via field says that the request went through `name` already: it runs in a circle (RFC 9110 §7.6.3).
    #[must_use]
    pub fn went_through(&self, bytes: &[u8], name: &[u8]) -> bool {
        let names = |value: &[u8]| value.windows(name.len().max(1)).any(|part| part == name);
        self.via
            && self.fields(bytes).any(|(field, value)| field.eq_ignore_ascii_case(b"via") && names(value))
    }
}

/// Looks for a request's head from `peer` at the start of `bytes`; `limit` is its most bytes, below 4 GiB.
///
/// # Errors
/// The bytes so far can only become a request that is refused.
pub fn parse_request(bytes: &[u8], limit: usize, peer: Peer) -> Result<Parsed<RequestHead>, RequestError> {
    let seen = &bytes[..bytes.len().min(limit)];
    let mut headers = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(seen, &mut headers) {
        Ok(httparse::Status::Complete(length)) => head(&seen[..length], &request, peer).map(Parsed::Head),
        Ok(httparse::Status::Partial) if bytes.len() >= limit => Err(too_long(seen)),
        Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
        Err(error) => refuse(error, seen),
    }
}

fn too_long(seen: &[u8]) -> RequestError {
    let seen = seen.trim_ascii_start();
    if seen.contains(&b'\n') {
        RequestError::HeadTooLong
    } else if !seen.contains(&b' ') && seen.len() > MAX_METHOD {
        RequestError::Method
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

fn head(bytes: &[u8], request: &httparse::Request<'_, '_>, peer: Peer) -> Result<RequestHead, RequestError> {
    let (Some(name), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err(RequestError::RequestLine);
    };
    let method_name = Span::within(bytes, name.as_bytes());
    // One empty line before a request is skipped (RFC 9112 §2.2).
    if !matches!(&bytes[..method_name.start()], b"" | b"\r\n") {
        return Err(RequestError::LineEnd);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let method = Method::of(name);
    let absolute = !matches!(path.as_bytes().first(), Some(b'/' | b'*'));
    let asking = Asking { peer, version, method, absolute };
    let facts = fields::read(bytes, request.headers, Sender::Client(asking)).map_err(field_error)?;
    if !is_offered(name) {
        return Err(RequestError::Method);
    }
    let target = target::check(bytes, Span::within(bytes, path.as_bytes()), method)?;
    let framing = framing(version, &facts)?;
    Ok(RequestHead {
        length: bytes.len(),
        method,
        method_name,
        target: target.origin,
        version,
        keep_alive: !facts.close && (version == Version::Http11 || facts.keep_alive),
        host: host(bytes, version, facts.host, target.absolute.map(|(_, authority)| authority))?,
        scheme: target.absolute.map(|(scheme, _)| scheme),
        framing,
        trailers: if facts.names_fields { Trailers::Dropped } else { Trailers::OfRequest },
        expects_continue: facts.expects_continue,
        upgrade: facts.upgrade,
        max_forwards: facts.max_forwards,
        request_id: facts.request_id,
        form: target.form,
        te_trailers: facts.te_trailers,
        via: facts.via,
        forwarded_proto: facts.forwarded_proto,
        forwarded_host: facts.forwarded_host,
        absolute,
        lines: facts.lines,
        cuts: facts.cuts,
    })
}

/// Methods are case-sensitive (RFC 9110 §9.1), so `get` is none, and a server that takes it for GET would undo what was
/// decided by the method here.
fn is_offered(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    !matches!(name, "CONNECT" | "TRACE") && name.len() <= MAX_METHOD && name.bytes().all(fits)
}

/// Whose site is asked for; an absolute-form target overrides Host (RFC 9112 §3.2.2).
fn host(
    bytes: &[u8],
    version: Version,
    host: Option<Span>,
    authority: Option<Span>,
) -> Result<Option<Span>, RequestError> {
    match host {
        None if version == Version::Http11 => Err(RequestError::HostMissing),
        Some(host) if !target::is_host(host.of(bytes)) => Err(RequestError::HostMalformed),
        Some(_) | None => Ok(authority.or(host)),
    }
}

/// RFC 9112 §6.3, rules 3 to 7, where what is ambiguous is refused.
fn framing(version: Version, facts: &Facts) -> Result<Framing, RequestError> {
    match (facts.transfer_encoding, facts.content_length) {
        (Some(_), _) if version == Version::Http10 => Err(RequestError::TransferEncoding),
        (Some(Coding::Chunked), _) => Ok(Framing::Chunked),
        (Some(Coding::NotFramed), _) => Err(RequestError::Unframed),
        (Some(Coding::BelowChunked), _) => Err(RequestError::TransferCoding),
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
        FieldError::ContentTypeRepeated => RequestError::ContentTypeRepeated,
        FieldError::Expectation => RequestError::Expectation,
        FieldError::MaxForwards => RequestError::MaxForwards,
        FieldError::Disguise => RequestError::Disguise,
        FieldError::Connection => RequestError::Connection,
        FieldError::TooMany => RequestError::HeadTooLong,
    }
}
