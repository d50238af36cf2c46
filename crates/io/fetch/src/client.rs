//! HTTP/1.1 requests with a limit on everything: length, waiting for the first byte, waiting for the next.
//!
//! Owns: connections, deadlines and limits. Leaves to others: what the bytes mean, and trying again.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use evenkeel_units::ByteCount;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::Error;

/// Longest wait for a connection: three SYNs (RFC 6298: 1, 2, 4 s apart) and some.
const CONNECT: Duration = Duration::from_secs(8);

/// Longest wait for the head of an answer: a busy server, far away.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(20);

/// Longest pause within an answer: below this, a bad line is slow; above it, it is dead.
const STALL: Duration = Duration::from_secs(20);

/// Most bytes of a refusal's body that are read, for its message.
const REFUSAL: ByteCount = ByteCount::kib(8);

/// A client of one HTTP service. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// The answer to a request for a file that may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its bytes.
    Bytes(Bytes),
    /// The server has none (404).
    Missing,
}

impl Client {
    /// A client of the service at `base`, such as `http://10.0.2.2:9930`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(STALL)
            .pool_max_idle_per_host(2)
            .build(connector);
        Self { base: base.trim_end_matches('/').into(), http }
    }

    /// The address of `path`, which starts with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Fetches a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it does not come whole, or is longer.
    pub async fn get(&self, path: &str, limit: ByteCount) -> Result<Found, Error> {
        let mut body = match self.send(Request::get(self.url(path)), Bytes::new(), FIRST_BYTE).await {
            Err(Error::Status { status: 404, .. }) => return Ok(Found::Missing),
            other => other?,
        };
        body.read_all(limit).await.map(Found::Bytes)
    }

    /// The status of a request that is sent only to see whether and how it is answered; the body is left unread.
    ///
    /// # Errors
    /// When no answer comes within `deadline`.
    pub async fn probe(&self, path: &str, deadline: Duration) -> Result<u16, Error> {
        let url = self.url(path);
        let request = build(Request::get(&url), &url, Bytes::new())?;
        self.exchange(request, &url, deadline).await.map(|response| response.status().as_u16())
    }

    /// Opens a file from byte `from` up to, not including, byte `end`.
    ///
    /// # Errors
    /// When the server does not answer with just this part.
    pub async fn range(&self, path: &str, from: u64, end: u64) -> Result<Body, Error> {
        let request = Request::get(self.url(path)).header(header::RANGE, format!("bytes={from}-{}", end - 1));
        let body = self.send(request, Bytes::new(), FIRST_BYTE).await?;
        let refuse = |reason: String| Error::Answer { url: body.url.clone(), reason };
        if body.status != StatusCode::PARTIAL_CONTENT {
            return Err(refuse(format!("status {} to a request for a range", body.status.as_u16())));
        }
        let range =
            body.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !range.starts_with(&format!("bytes {from}-{}/", end - 1)) {
            return Err(refuse(format!("range `{range}`, asked for {from} to {}", end - 1)));
        }
        Ok(body)
    }

    /// Sends a body of JSON and reads an answer of at most `limit` bytes.
    ///
    /// # Errors
    /// When the server refuses, or the answer does not come whole within `deadline`.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        json: Bytes,
        limit: ByteCount,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        let request = Request::post(self.url(path)).header(header::CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.send(request, json, deadline).await?.read_all(limit).await
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
        first_byte: Duration,
    ) -> Result<Body, Error> {
        let url = request.uri_ref().map(ToString::to_string).unwrap_or_default();
        let request = build(request, &url, body)?;
        let (parts, incoming) = self.exchange(request, &url, first_byte).await?.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        let mut body = Body { url, status, headers, incoming, waiting: BytesMut::new(), read: ByteCount(0) };
        if status.is_success() {
            return Ok(body);
        }
        let text = body.read_all(REFUSAL).await.unwrap_or_default();
        Err(Error::Status { url: body.url, status: status.as_u16(), message: message_of(&text, status) })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        url: &str,
        first_byte: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let stalled = |_| Error::Stalled { url: url.into(), what: "an answer", waited: first_byte };
        timeout(first_byte, self.http.request(request))
            .await
            .map_err(stalled)?
            .map_err(|source| Error::Connect { url: url.into(), source })
    }
}

fn build(request: http::request::Builder, url: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
    request.body(Full::new(body)).map_err(|error| Error::Answer {
        url: url.into(),
        reason: format!("no request can be made: {error}"),
    })
}

/// What a refusal says: our server's `{"error": "…"}`, else its text, else what the status means.
fn message_of(body: &[u8], status: StatusCode) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error")).and_then(|error| error.as_str());
    let text = error.map_or_else(|| String::from_utf8_lossy(body).into_owned(), Into::into);
    let text = if text.trim().is_empty() { status.canonical_reason().unwrap_or("").into() } else { text };
    text.trim().chars().take(300).collect()
}

/// The body of an answer, read piece by piece.
#[derive(Debug)]
pub struct Body {
    url: String,
    status: StatusCode,
    headers: HeaderMap,
    incoming: Incoming,
    waiting: BytesMut,
    read: ByteCount,
}

impl Body {
    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// When the transfer breaks off or stalls before.
    pub async fn read_exact(&mut self, length: usize) -> Result<Bytes, Error> {
        while self.waiting.len() < length {
            if !self.read_more().await? {
                return Err(Error::Truncated { url: self.url.clone(), got: self.read });
            }
        }
        Ok(self.waiting.split_to(length).freeze())
    }

    /// Reads to the end, which has to come within `limit` bytes.
    ///
    /// # Errors
    /// When the transfer breaks off, stalls or is longer.
    pub async fn read_all(&mut self, limit: ByteCount) -> Result<Bytes, Error> {
        let promised = self.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let promised = promised.and_then(|value| value.parse().ok()).map(ByteCount);
        let too_long = || Error::TooLong { url: self.url.clone(), limit };
        if promised.is_some_and(|promised| promised > limit) {
            return Err(too_long());
        }
        while self.read_more().await? {
            if self.waiting.len() as u64 > limit.0 {
                return Err(Error::TooLong { url: self.url.clone(), limit });
            }
        }
        Ok(self.waiting.split().freeze())
    }

    /// Takes in the next piece; false at the end.
    async fn read_more(&mut self) -> Result<bool, Error> {
        let frame = timeout(STALL, self.incoming.frame()).await;
        let stalled = |_| Error::Stalled { url: self.url.clone(), what: "the rest", waited: STALL };
        let Some(frame) = frame.map_err(stalled)? else { return Ok(false) };
        // A body that ends before its promised length is an error of hyper's: the connection is gone.
        let frame = frame.map_err(|_| Error::Truncated { url: self.url.clone(), got: self.read })?;
        if let Ok(data) = frame.into_data() {
            self.read.0 += data.remaining() as u64;
            self.waiting.extend_from_slice(&data);
        }
        Ok(true)
    }
}
