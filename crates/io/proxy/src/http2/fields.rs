//! Heads between their text and the types of the h2 crate.
//!
//! Owns: nothing but the conversion; what may stand in a head is decided in `core/http1` and `core/http2`. Invariant: a
//! head is copied once; its values are parts of that copy.

use bytes::Bytes;
use evenkeel_http2::{Body, Lines, MessageError, Pseudo, Written, write_request};
use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Fields of a head that are not for one hop; `None` when one of them could not be said in HTTP/2.
fn fields(text: &Bytes, lines: Lines<'_>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(16);
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
) -> Result<Written, MessageError> {
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
