//! Answers, and refusals as one JSON sentence with a fitting status.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use evenkeel_protocol::ErrorBody;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    engine::EngineError,
    nonces::NonceError,
    repository::{RepositoryError, UploadError},
    secret::SecretError,
};

/// The body of an answer: in memory, or from a channel as it is read from disk.
pub(super) type Answer = Response<Either<Full<Bytes>, Streamed>>;

/// A body of known length whose pieces arrive by a channel.
#[derive(Debug)]
pub(super) struct Streamed {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Streamed {
    pub(super) const fn new(pieces: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Self {
        Self { pieces, left: length }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(cx).map(|piece| {
            let piece = match piece {
                Some(piece) => piece,
                None if self.left == 0 => return None,
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            };
            if let Ok(bytes) = &piece {
                self.left = self.left.saturating_sub(bytes.len() as u64);
            }
            Some(piece.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A refusal: a status, and one sentence with thing, value and remedy.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    sentence: String,
    /// A field that the status calls for.
    field: Option<(header::HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), field: None }
    }

    pub(super) fn with(self, name: header::HeaderName, value: &str) -> Self {
        Self { field: HeaderValue::from_str(value).ok().map(|value| (name, value)), ..self }
    }

    /// Something that is our fault: the details are logged, not told.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = chain(error), "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why, try again later")
    }

    pub(super) fn answer(self) -> Answer {
        let mut answer = json(self.status, &ErrorBody { error: self.sentence });
        if let Some((name, value)) = self.field {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.sentence)
    }
}

/// An error and its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::TokenUnknown
            | EngineError::TokenExpired { .. }
            | EngineError::DeviceUnknown(_)
            | EngineError::Signature(_)
            | EngineError::Nonce(NonceError::Replayed(_)) => StatusCode::UNAUTHORIZED,
            EngineError::TokenUsed { .. }
            | EngineError::AlreadyRunning { .. }
            | EngineError::RolloutOver(_) => StatusCode::CONFLICT,
            EngineError::Validity { .. }
            | EngineError::RefusedList { .. }
            | EngineError::Begin(_)
            | EngineError::Budget
            | EngineError::Silence { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::ReleaseUnknown(_) | EngineError::RolloutUnknown(_) => StatusCode::NOT_FOUND,
            EngineError::Store(_) | EngineError::Nonce(NonceError::Io { .. }) => {
                tracing::error!(error = chain(&error), "storage failed");
                StatusCode::INSUFFICIENT_STORAGE
            }
            EngineError::Stored(_) => return Self::internal(&error),
        };
        Self::new(status, error.to_string())
    }
}

impl From<RepositoryError> for Refusal {
    fn from(error: RepositoryError) -> Self {
        let status = match &error {
            RepositoryError::Version { .. } | RepositoryError::NoRoot | RepositoryError::Missing { .. } => {
                StatusCode::CONFLICT
            }
            RepositoryError::Trust(_)
            | RepositoryError::OnlineKey { .. }
            | RepositoryError::Inconsistent
            | RepositoryError::Name { .. }
            | RepositoryError::Custom { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            RepositoryError::Io { .. } => {
                tracing::error!(error = chain(&error), "the repository failed");
                StatusCode::INSUFFICIENT_STORAGE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let status = match &error {
            UploadError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Digest { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            UploadError::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<SecretError> for Refusal {
    fn from(error: SecretError) -> Self {
        Self::internal(&error)
    }
}

/// An answer of bytes in memory.
pub(super) fn plain(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(bytes.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, message: &impl Serialize) -> Answer {
    match serde_json::to_vec(message) {
        Ok(bytes) => {
            let mut answer = plain(status, "application/json", bytes);
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", "the server failed\n")
        }
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
}
