//! Requests to an authority, each over a connection of its own.
//!
//! Owns: connecting, and how long an answer may be and take. Leaves to others: what is asked (instant-acme). Invariant:
//! nothing is sent to who does not prove to be the authority.

use std::{error::Error as StdError, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use http_body_util::Limited;
use hyper::{Request, Response, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer: a chain of certificates has some 10 KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Someone who asks an authority.
pub(super) struct Client {
    pub(super) tls: Arc<ClientConfig>,
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let late = || io::Error::from(io::ErrorKind::TimedOut).into();
            let asked = tokio::time::timeout(PATIENCE, ask(tls, request)).await;
            asked.unwrap_or_else(|_| Err(late())).map_err(Error::Other)
        })
    }
}

async fn ask(
    tls: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn StdError + Send + Sync>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let uri = std::mem::take(request.uri_mut());
    if uri.scheme_str() != Some("https") {
        return Err("the authority named a URL that is not encrypted".into());
    }
    let host = uri.host().ok_or_else(invalid)?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    let authority = uri.authority().ok_or_else(invalid)?.as_str().parse::<header::HeaderValue>()?;
    *request.uri_mut() =
        uri.path_and_query().map_or_else(|| Ok(Uri::from_static("/")), |path| path.as_str().parse())?;
    request.headers_mut().insert(header::HOST, authority);
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    let stream = TlsConnector::from(tls).connect(ServerName::try_from(host)?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what goes wrong on it the answer tells.
    tokio::spawn(async move { drop(connection.await) });
    let (parts, body) = sender.send_request(request).await?.into_parts();
    Ok(BytesResponse::from(Response::from_parts(parts, Box::pin(Limited::new(body, MAX_ANSWER_BYTES)))))
}
