//! Bundles: sent whole or in part (RFC 9110 §14), and received to disk as they come.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use evenkeel_protocol::{ContentDigest, Label, LabelError};
use evenkeel_trust::TargetName;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Either};
use hyper::body::{Body as _, Incoming};
use tokio::sync::mpsc;

use super::{
    answer::{Answer, Refusal, Streamed, empty},
    app::{App, off_runtime},
    input,
};
use crate::{
    limits,
    repository::{Bundle, Upload, UploadError},
};

/// Pieces of a bundle that are read ahead of a slow receiver: 4 of 128 KiB.
const READ_AHEAD: usize = 4;

/// Answers with a bundle or a part of it.
pub(super) async fn send(app: &Arc<App>, name: &str, parts: &Parts) -> Result<Answer, Refusal> {
    let asked = name.to_string();
    let bundle = app.repository(move |repository| Ok::<_, Refusal>(repository.bundle(&asked))).await?;
    let bundle = bundle.ok_or_else(|| {
        let name: String = name.chars().take(200).collect();
        let sentence =
            format!("bundle `{name}` is not published; its name is SHA256.NAME as in the targets metadata");
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    })?;
    let etag = format!("\"{}\"", bundle.sha256);
    if parts.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == etag.as_str()) {
        return with_fields(empty(StatusCode::OK), &etag, StatusCode::NOT_MODIFIED);
    }
    let length = bundle.length.0;
    let range = match wanted(&parts.headers, &etag, length) {
        Wanted::Whole => None,
        Wanted::Part(range) => Some(range),
        Wanted::Unsatisfiable => {
            let sentence = format!("the range lies beyond the bundle, which has {length} bytes");
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, sentence);
            return Err(refusal.with(header::CONTENT_RANGE, &format!("bytes */{length}")));
        }
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let content_range =
        range.as_ref().map(|range| format!("bytes {}-{}/{length}", range.start, range.end - 1));
    let body = open(bundle, range.unwrap_or(0..length)).await?;
    let mut answer = with_fields(Response::new(Either::Right(body)), &etag, status)?;
    if let Some(value) = content_range.and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(answer)
}

fn with_fields<T>(mut answer: Response<T>, etag: &str, status: StatusCode) -> Result<Response<T>, Refusal> {
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::ETAG, HeaderValue::from_str(etag).map_err(|error| Refusal::internal(&error))?);
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Ok(answer)
}

/// What a request wants of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Reads `Range` and `If-Range`. Several ranges and what is not understood mean the whole, as RFC 9110 §14.2
/// allows; a bundle never changes under its name, so an `If-Range` with a date means the whole as well.
fn wanted(fields: &HeaderMap, etag: &str, length: u64) -> Wanted {
    let Some(range) = fields.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Wanted::Whole;
    };
    if fields.get(header::IF_RANGE).is_some_and(|value| value != etag) {
        return Wanted::Whole;
    }
    parse_range(range, length).unwrap_or(Wanted::Whole)
}

fn parse_range(text: &str, length: u64) -> Option<Wanted> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than a u64 has are beyond any bundle.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() || range.start >= length { Wanted::Unsatisfiable } else { Wanted::Part(range) })
}

/// Reads a part of a bundle on a thread of its own, a few pieces ahead of the receiver.
async fn open(bundle: Bundle, range: Range<u64>) -> Result<Streamed, Refusal> {
    let length = range.end - range.start;
    let opened = off_runtime(move || {
        let mut file = File::open(&bundle.path).map_err(|error| Refusal::internal(&error))?;
        file.seek(SeekFrom::Start(range.start)).map_err(|error| Refusal::internal(&error))?;
        Ok::<_, Refusal>(file)
    });
    let mut file = opened.await?;
    let (sender, pieces) = mpsc::channel(READ_AHEAD);
    tokio::spawn(async move {
        let mut left = length;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(limits::BLOCK).min(limits::BLOCK);
            let read =
                tokio::task::spawn_blocking(move || read_piece(&mut file, size).map(|piece| (file, piece)));
            let piece = match read.await.map_err(io::Error::other).flatten() {
                Ok((open, piece)) => {
                    file = open;
                    left -= piece.len() as u64;
                    Ok(piece)
                }
                Err(error) => {
                    tracing::error!(%error, "a bundle cannot be read");
                    // The receiver sees the answer break off. Whether it does, is not ours to know.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            match tokio::time::timeout(limits::STALL, sender.send(piece)).await {
                Ok(Ok(())) => {}
                // Nobody takes it any more: gone, or stalled for too long.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    });
    Ok(Streamed::new(pieces, length))
}

fn read_piece(file: &mut File, size: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; size];
    file.read_exact(&mut piece)?;
    Ok(piece.into())
}

/// Receives a bundle. It is kept aside until targets metadata lists it.
pub(super) async fn receive(
    app: &Arc<App>,
    name: &str,
    parts: &Parts,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let bad = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error);
    // A target's name, and one without folders.
    name.parse::<TargetName>().map_err(|error| bad(error.to_string()))?;
    let name: Label = name.parse().map_err(|error: LabelError| bad(error.to_string()))?;
    let digest = input::required(&parts.headers, &HeaderName::from_static("content-digest"))?;
    let ContentDigest(sha256) =
        digest.parse().map_err(|error: evenkeel_protocol::ContentDigestError| bad(error.to_string()))?;
    if body.size_hint().lower() > limits::BUNDLE.0 {
        return Err(UploadError::TooLong.into());
    }
    let _place = app.uploads.try_acquire().map_err(|_| {
        let sentence = format!("{} bundles are being received already; try again later", limits::UPLOADS);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence).with(header::RETRY_AFTER, "30")
    })?;
    let upload = app.repository(move |repository| repository.files().upload(&name, sha256)).await?;
    let upload = receive_body(upload, body).await?;
    let length = off_runtime(move || upload.finish()).await?;
    tracing::info!(%sha256, %length, "bundle received");
    Ok(empty(StatusCode::CREATED))
}

async fn receive_body(mut upload: Upload, mut body: Incoming) -> Result<Upload, Refusal> {
    loop {
        let frame = tokio::time::timeout(limits::STALL, body.frame()).await.map_err(|_| {
            let sentence =
                format!("no byte of the bundle came for {} s; nothing was kept", limits::STALL.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, sentence)
        })?;
        let Some(frame) = frame else { return Ok(upload) };
        let frame = frame.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the bundle broke off ({error}); nothing was kept"))
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        upload = off_runtime(move || upload.write(&piece).map(|()| upload)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_section_14_says() {
        let part = |range| Some(Wanted::Part(range));
        for (text, expected) in [
            ("bytes=0-0", part(0..1)),
            ("bytes=0-99", part(0..100)),
            ("bytes=90-", part(90..100)),
            ("bytes=90-1000", part(90..100)),
            ("bytes=-10", part(90..100)),
            ("bytes=-1000", part(0..100)),
            ("bytes=0-99999999999999999999999", part(0..100)),
            ("bytes=100-", Some(Wanted::Unsatisfiable)),
            ("bytes=100-200", Some(Wanted::Unsatisfiable)),
            ("bytes=-0", Some(Wanted::Unsatisfiable)),
            ("bytes=5-4", None),
            ("bytes=0-1,5-6", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=1 -2", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(parse_range(text, 100), expected, "{text}");
        }
    }
}
