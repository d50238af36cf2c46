//! What comes in: bodies within their limits, and fields in their forms.

use bytes::Bytes;
use evenkeel_units::ByteCount;
use http::{HeaderMap, StatusCode, header::HeaderName, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use crate::limits;

/// Reads a body of at most `limit`, within its time.
pub(super) async fn read(body: Incoming, limit: ByteCount) -> Result<Bytes, Refusal> {
    let too_long = || {
        let sentence = format!("the body is longer than {limit}; send less");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    };
    let most = usize::try_from(limit.0).unwrap_or(usize::MAX);
    let collected = tokio::time::timeout(limits::BODY_TIME, Limited::new(body, most).collect()).await;
    let collected = collected.map_err(|_| {
        let sentence = format!("the body did not arrive within {} s", limits::BODY_TIME.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, sentence)
    })?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
    }
}

/// Reads a message in JSON.
pub(super) fn message<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let sentence = format!("the body is not the JSON that docs/protocol.md describes: {error}");
        Refusal::new(StatusCode::BAD_REQUEST, sentence)
    })
}

/// A field that has to be there, once.
pub(super) fn required<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let mut values = fields.get_all(name).iter();
    match (values.next().map(http::HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (Some(_), _) => {
            let sentence = format!("the field `{name}` is repeated or not plain text; send it once");
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
        (None, _) => {
            let sentence = format!("the field `{name}` is missing; docs/protocol.md describes it");
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
    }
}

/// The seconds of `Prefer: wait=SECONDS` (RFC 7240 §4.3), 0 if there is none.
pub(super) fn preferred_wait(parts: &Parts) -> u64 {
    let fields = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = |preference: &str| preference.trim().strip_prefix("wait=")?.parse().ok();
    fields.flat_map(|field| field.split([',', ';'])).find_map(wait).unwrap_or(0)
}
