//! The command's client of the update server, shared by every subcommand that speaks to one.
//!
//! Owns: where the server is, the operator's token, requests with their deadlines and limits, and turning a
//! refusal into its sentence. Leaves to others: what is asked and how an answer is shown. One connection per
//! request, for an operator's command makes few of them.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use evenkeel_protocol::{ContentDigest, ErrorBody};
use evenkeel_units::Digest;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};

/// Longest answer that is read: 10,000 devices with 1 KiB each.
const ANSWER_LIMIT: usize = 10 << 20;

/// Longest wait for a connection: three lost packets with their growing repetition (1 + 2 + 4 s), and some.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for a small request's answer: a server under load, and its disk.
const ANSWER: Duration = Duration::from_secs(60);

/// Longest upload: 4 GiB at 10 Mbit/s.
const UPLOAD: Duration = Duration::from_secs(3600);

/// Bytes read from a file at once.
const BLOCK: usize = 256 << 10;

/// Where the update server is, and what opens it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// The update server
    #[arg(long, env = "EVENKEEL_SERVER", value_name = "URL", default_value = "http://127.0.0.1:9930")]
    pub(crate) server: String,
    /// The file with the operator's token: `operator-token` in the server's data directory
    #[arg(long, env = "EVENKEEL_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How a subcommand that asks the server is told to answer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl ServerArgs {
    /// A client of that server.
    ///
    /// # Errors
    /// When the address is not understood or the token cannot be read.
    pub(crate) fn open(&self) -> Result<Server> {
        Server::open(&self.server, self.token_file.as_deref())
    }
}

/// An update server.
pub(crate) struct Server {
    url: String,
    authority: String,
    token: Option<String>,
}

impl Server {
    /// A client of the server at `url`, with the operator's token if one is given.
    ///
    /// # Errors
    /// When the address is not understood or the token cannot be read.
    pub(crate) fn open(url: &str, token_file: Option<&Path>) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("server `{url}` is not an address"))?;
        let plain =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let Some(host) = uri.host().filter(|_| plain) else {
            bail!(
                "server `{url}` is not understood; expected http://HOST:PORT such as http://127.0.0.1:9930"
            );
        };
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let token = token_file.map(read_token).transpose()?;
        Ok(Self { url: url.trim_end_matches('/').to_string(), authority, token })
    }

    /// Asks for what is at `path`.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers with something else than expected.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = self.send(Method::GET, path, Vec::new(), Full::default(), ANSWER).await?;
        self.read(path, &body)
    }

    /// The bytes at `path`, or nothing where the server has none.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses for another reason.
    pub(crate) async fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let response = self.request(Method::GET, path, Vec::new(), Full::default(), ANSWER).await?;
        if response.0 == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(path, response).map(|body| Some(body.to_vec()))
    }

    /// Sends `message` to `path`.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers with something else than expected.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, message: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(message)?;
        let fields = vec![(header::CONTENT_TYPE, "application/json".to_string())];
        let answer = self.send(Method::POST, path, fields, Full::from(body), ANSWER).await?;
        self.read(path, &answer)
    }

    /// Puts a small file, such as signed metadata, to `path`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let fields = vec![(header::CONTENT_TYPE, "application/json".to_string())];
        self.send(Method::PUT, path, fields, Full::from(bytes), ANSWER).await.map(drop)
    }

    /// Streams a file of `length` bytes with the digest `sha256` to `path`.
    ///
    /// # Errors
    /// When the file cannot be read, the server cannot be reached, or it refuses.
    pub(crate) async fn put_file(&self, path: &str, file: &Path, length: u64, sha256: Digest) -> Result<()> {
        let open = File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
        let fields = vec![("content-digest".parse()?, ContentDigest(sha256).to_string())];
        let body = FileBody { file: open, left: length };
        self.send(Method::PUT, path, fields, body, UPLOAD).await.map(drop)
    }

    async fn send<B>(
        &self,
        method: Method,
        path: &str,
        fields: Vec<(header::HeaderName, String)>,
        body: B,
        limit: Duration,
    ) -> Result<Bytes>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let response = self.request(method, path, fields, body, limit).await?;
        self.accepted(path, response)
    }

    fn accepted(&self, path: &str, (status, body): (StatusCode, Bytes)) -> Result<Bytes> {
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(refusal) => Err(anyhow!("the update server refuses ({status}): {}", refusal.error)),
            Err(_) => {
                Err(anyhow!("{}{path} answered {status}; is this an Evenkeel update server?", self.url))
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).with_context(|| {
            format!(
                "the answer of {}{path} is not understood; server and command may differ in version",
                self.url
            )
        })
    }

    async fn request<B>(
        &self,
        method: Method,
        path: &str,
        fields: Vec<(header::HeaderName, String)>,
        body: B,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes)>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(body).with_context(|| format!("`{path}` is not a path of a request"))?;
        let exchange = async {
            let response = self.exchange(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body =
                body.map_err(|error| anyhow!("the answer of {}{path} broke off: {error}", self.url))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| anyhow!("{}{path} did not answer within {} s", self.url, limit.as_secs()))?
    }

    async fn exchange<B>(&self, request: Request<B>) -> Result<Response<Incoming>>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let unreachable =
            || format!("the update server at {} cannot be reached; is it running? (--server URL)", self.url);
        let stream = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(&self.authority)).await;
        let stream =
            stream.map_err(anyhow::Error::from).and_then(|stream| Ok(stream?)).with_context(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(unreachable)?;
        tokio::spawn(connection);
        sender
            .send_request(request)
            .await
            .with_context(|| format!("the update server at {} broke off the connection", self.url))
    }
}

fn read_token(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!("the operator's token cannot be read from {}; it is DATA-DIR/operator-token", file.display())
    })?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        bail!(
            "{} does not hold an operator's token; expected one line of letters and digits",
            file.display()
        );
    }
    Ok(token.to_string())
}

/// A file as the body of a request, read as it is sent.
struct FileBody {
    file: File,
    left: u64,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let want = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        if want == 0 {
            return Poll::Ready(None);
        }
        let mut block = vec![0; want];
        let read = self.file.read_exact(&mut block);
        self.left -= want as u64;
        Poll::Ready(Some(read.map(|()| Frame::data(block.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Runs the conversation with a server to its end.
///
/// # Errors
/// Those of the conversation.
pub(crate) fn run_async<T>(conversation: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(conversation)
}
