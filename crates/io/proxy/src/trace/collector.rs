//! The collector's end: one connection that is kept, one message after another (OTLP over HTTP).
//!
//! Owns: connecting and what is sent beside the spans. Leaves to others: what answers mean (`core/trace`). Invariant: a
//! collector that does not prove to be the one that was meant is shown no token, where the endpoint is `https`.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use evenkeel_config::balancer::{Encryption, Endpoint, Tracing, TracingHeader};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Uri,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::TraceError;
use crate::tls::{back, files};

/// Longest answer that is looked at: a message and a sentence.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Longest value of a field: as much as servers take of a whole head.
const MAX_VALUE_BYTES: usize = 8 << 10;

/// A collector and the connection to it.
pub(super) struct Collector {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    kept: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A field for the collector, with the value that stands in its file.
///
/// # Errors
/// When the file is of no use.
pub(super) fn header(one: &TracingHeader, folder: &Path) -> Result<(HeaderName, HeaderValue), TraceError> {
    let path = files::path(folder, &one.file);
    let bytes = files::read(&path)?;
    let value = bytes.trim_ascii();
    let plain = value.len() <= MAX_VALUE_BYTES && value.iter().all(|byte| (b' '..=b'~').contains(byte));
    let name = HeaderName::from_bytes(one.name.as_bytes());
    match (name, HeaderValue::from_bytes(value)) {
        (Ok(name), Ok(mut value)) if plain && !value.is_empty() => {
            value.set_sensitive(true);
            Ok((name, value))
        }
        _ => Err(TraceError::Header(path)),
    }
}

/// What a collector answered.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The field Retry-After.
    pub(super) retry_after: Option<String>,
    pub(super) content: Bytes,
}

/// What of sending can go wrong.
type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Collector {
    /// By the configuration in `folder`.
    ///
    /// # Errors
    /// When a file that it names is of no use.
    pub(super) fn new(settings: &Tracing, folder: &Path) -> Result<Self, TraceError> {
        let tls = match settings.endpoint.encryption {
            Encryption::None => None,
            Encryption::Tls => {
                let roots = match &settings.ca {
                    Some(ca) => files::roots(&files::path(folder, ca))?,
                    None => files::system_roots()?,
                };
                Some(Arc::new(back::client(roots)?))
            }
        };
        let headers = settings.headers.iter().map(|one| header(one, folder)).collect::<Result<_, _>>()?;
        Ok(Self { endpoint: settings.endpoint.clone(), tls, headers, kept: None })
    }

    /// Sends one message; it is to be given up when that takes too long.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<Answer, Failed> {
        let mut kept = self.kept.take();
        if let Some(connection) = &mut kept
            && connection.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let answer = connection.send_request(self.request(message)?).await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let content = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
        self.kept = Some(connection);
        Ok(Answer { status, retry_after, content })
    }

    fn request(&self, message: Bytes) -> Result<Request<Full<Bytes>>, Failed> {
        let Endpoint { host, port, path, .. } = &self.endpoint;
        let mut request = Request::post(path.parse::<Uri>()?)
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(message))?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failed> {
        let host = self.endpoint.host.trim_matches(['[', ']']).to_owned();
        let stream = TcpStream::connect((host.as_str(), self.endpoint.port)).await?;
        match &self.tls {
            None => over(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                over(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?).await
            }
        }
    }
}

async fn over<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Failed>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what goes wrong on it the answer tells.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
