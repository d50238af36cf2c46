//! Heads between their text and the types of the h2 crate.
//!
//! Owns: nothing but the conversion; what may stand in a head is decided in `core/http1` and `core/http2`. Invariant: a
//! head is copied once; its values are parts of that copy.

use bytes::Bytes;
use evenkeel_http2::{
    Asked, Body, Content, Lines, MessageError, Pseudo, Trailing, judge_trailer, write_answer, write_request,
};
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

/// Room for the fields of a usual answer, beyond which the map grows.
const FIELDS: usize = 12;

/// Fields of a head that are not for one hop; `None` when one of them could not be said in HTTP/2.
fn fields(text: &Bytes, lines: Lines<'_>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(FIELDS);
    for line in lines {
        let name = HeaderName::from_bytes(line.name).ok()?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(line.value)).ok()?;
        fields.append(name, value);
    }
    Some(fields)
}

/// An answer's head out of its text.
pub(crate) fn answer(status: u16, text: &[u8]) -> Option<Response<()>> {
    let text = Bytes::copy_from_slice(text);
    let (_, lines) = Lines::of_head(&text);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = fields(&text, lines)?;
    Some(response)
}

/// A request's head out of its text; `None` when it could not be said in HTTP/2.
///
/// Of TE only that trailer fields are taken is ever in the text, which HTTP/2 says too.
pub(crate) fn request(text: &[u8], scheme: &'static str) -> Option<Request<()>> {
    let text = Bytes::copy_from_slice(text);
    let (start, lines) = Lines::of_head(&text);
    let mut fields = fields(&text, lines)?;
    // Who is asked is said in one way only (RFC 9113 §8.3.1).
    let host = fields.remove(http::header::HOST)?;
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(start.second);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(start.first).ok()?;
    *request.uri_mut() = uri.build().ok()?;
    *request.headers_mut() = fields;
    Some(request)
}

/// The head of a request for a WebSocket out of its text (RFC 8441 §5), without what HTTP/2 does without.
pub(crate) fn websocket(text: &[u8], scheme: &'static str) -> Option<Request<()>> {
    let mut request = request(text, scheme)?;
    request.headers_mut().remove(http::header::SEC_WEBSOCKET_KEY);
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    Some(request)
}

/// Trailer fields out of their text, which was filtered; `None` when there are none.
pub(crate) fn trailers(section: &[u8]) -> Option<HeaderMap> {
    if section.is_empty() {
        return None;
    }
    let text = Bytes::copy_from_slice(section);
    fields(&text, Lines::of_section(&text)).filter(|fields| !fields.is_empty())
}

/// Trailer fields of HTTP/2 without those that may not stand there; `None` when none is left.
pub(crate) fn passing(mut trailers: HeaderMap) -> Result<Option<HeaderMap>, MessageError> {
    let mut dropped = Vec::new();
    for (name, value) in &trailers {
        match judge_trailer(name.as_str().as_bytes(), value.as_bytes())? {
            Trailing::Passes => {}
            Trailing::Dropped => dropped.push(name.clone()),
        }
    }
    for name in dropped {
        trailers.remove(name);
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

/// The fields as pairs of bytes.
pub(crate) fn pairs(fields: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// Writes the text of a request.
pub(crate) fn write_request_text(
    parts: &http::request::Parts,
    body: Body,
    key: &[u8],
    out: &mut Vec<u8>,
) -> Result<Asked, MessageError> {
    let uri = &parts.uri;
    let pseudo = Pseudo {
        method: parts.method.as_str().as_bytes(),
        scheme: uri.scheme_str().map(str::as_bytes),
        authority: uri.authority().map(|authority| authority.as_str().as_bytes()),
        path: uri.path_and_query().map(|path| path.as_str().as_bytes()),
        protocol: parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str().as_bytes()),
    };
    write_request(&pseudo, || pairs(&parts.headers), body, key, out)
}

/// Writes the text of an answer.
pub(crate) fn write_answer_text(
    parts: &http::response::Parts,
    content: Content,
    out: &mut Vec<u8>,
) -> Result<(), MessageError> {
    write_answer(parts.status.as_u16(), pairs(&parts.headers), content, out)
}
