//! HTTP/2 as the tests speak it: whole messages by the h2 crate, and single frames by hand.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::PATIENCE;

/// Runs a test that waits, for as long as anything may take.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") })
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    /// On a connection that was made, and maybe encrypted.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self { requests, ended: tokio::spawn(connection) }
    }

    /// Begins a request; its content is sent by who asks.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|context| self.requests.poll_ready(context)).await.unwrap();
        self.requests.send_request(request, ends).unwrap()
    }

    /// Sends a request with its content and reads the answer.
    pub(crate) async fn ask(&mut self, request: Request<Vec<u8>>) -> Result<Answer, h2::Error> {
        let (head, body) = request.into_parts();
        let (answer, stream) = self.begin(Request::from_parts(head, ()), body.is_empty()).await;
        let upload = async {
            if !body.is_empty() {
                // A server may answer without having read it all.
                let _ = send(stream, Bytes::from(body)).await;
            }
        };
        let (answer, ()) = tokio::join!(async { read(answer.await?).await }, upload);
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request("GET", path)).await.unwrap()
    }
}

/// A request without content.
pub(crate) fn request(method: &str, path: &str) -> Request<Vec<u8>> {
    Request::builder().method(method).uri(format!("http://site{path}")).body(Vec::new()).unwrap()
}

/// Sends content as far as the other side lets it, then the end.
pub(crate) async fn send(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
            Some(room) => {
                let piece = body.split_to(room?.min(body.len()));
                stream.send_data(piece, body.is_empty())?;
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Reads all of an answer.
pub(crate) async fn read(answer: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { status: head.status.as_u16(), fields: head.headers, body, trailers })
}

/// A client that sends frames by hand.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    held: Vec<u8>,
}

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

impl Frame {
    /// The error of RST_STREAM or GOAWAY.
    pub(crate) fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field block that refers to nothing (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name.as_bytes(), value] {
            // Lengths up to 126 take one byte; longer ones seven bits a byte after it (RFC 7541 §5.1).
            match text.len() {
                short @ ..127 => out.push(u8::try_from(short).unwrap()),
                long => {
                    out.push(127);
                    let mut rest = long - 127;
                    while rest >= 128 {
                        out.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    out.push(u8::try_from(rest).unwrap());
                }
            }
            out.extend_from_slice(text);
        }
    }
    out
}

/// The fields of a plain request, with others after them.
pub(crate) fn get(path: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let fields =
        [(":method", &b"GET"[..]), (":scheme", b"http"), (":authority", b"site"), (":path", path.as_bytes())];
    block(&[&fields, more].concat())
}

impl Raw {
    /// Says what a client says first; `settings` is the payload of its SETTINGS.
    pub(crate) fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream, held: Vec::new() };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(&frame(SETTINGS, 0, 0, settings));
        raw
    }

    /// Sends the preface byte by byte.
    pub(crate) fn slowly(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { stream, held: Vec::new() };
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            raw.send(&[*byte]);
        }
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    /// Sends, as long as the other side listens; whether it did.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let length = |held: &[u8]| 9 + u32::from_be_bytes([0, held[0], held[1], held[2]]) as usize;
        while self.held.len() < 9 || self.held.len() < length(&self.held) {
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(count) if count > 0 => self.held.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
        let rest = self.held.split_off(length(&self.held));
        let whole = std::mem::replace(&mut self.held, rest);
        let stream = u32::from_be_bytes(whole[5..9].try_into().unwrap()) & 0x7fff_ffff;
        Some(Frame { kind: whole[3], flags: whole[4], stream, payload: whole[9..].to_vec() })
    }

    /// The next frame of this kind on this stream.
    pub(crate) fn wait_for(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind && frame.stream == stream)
    }

    /// The error with which the other side ends the connection; `None` when it ends without a word.
    pub(crate) fn goodbye(&mut self) -> Option<u32> {
        self.wait_for(GOAWAY, 0).map(|frame| frame.error())
    }
}

/// A server whose every request is handled by `handle`.
pub(crate) fn server<R: Future<Output = ()> + Send + 'static>(
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> R + Send + Sync + 'static,
) -> SocketAddr {
    server_with(h2::server::Builder::new(), Arc::default(), handle)
}

/// A server with settings of its own, that counts its connections.
pub(crate) fn server_with<R: Future<Output = ()> + Send + 'static>(
    builder: h2::server::Builder,
    connections: Arc<AtomicUsize>,
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> R + Send + Sync + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (builder, handle, connections) =
                    (builder.clone(), Arc::clone(&handle), Arc::clone(&connections));
                tokio::spawn(async move {
                    // A health check may come and go without a word.
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
                    connections.fetch_add(1, Relaxed);
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(handle(request, respond));
                    }
                });
            }
        });
    });
    address
}

/// Reads all content of a request, and its trailer fields.
pub(crate) async fn content(mut stream: RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut body = Vec::new();
    while let Some(Ok(piece)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    (body, stream.trailers().await.ok().flatten())
}

/// Answers with 200 and this content.
pub(crate) async fn answer(mut respond: SendResponse<Bytes>, body: impl Into<Bytes>) {
    let body = body.into();
    if let Ok(stream) = respond.send_response(Response::new(()), body.is_empty()) {
        let _ = send(stream, body).await;
    }
}

/// A server that speaks frames by hand, whose every connection is handled by `handle` after both sides' SETTINGS.
pub(crate) fn raw_server(handle: impl Fn(Raw) + Send + Sync + 'static) -> SocketAddr {
    super::server(move |mut peer| {
        if peer.take(24) != b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            return;
        }
        let mut raw = Raw { stream: peer.stream, held: peer.held };
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw.send(&frame(SETTINGS, 1, 0, &[]));
        // Whoever asks waits for our SETTINGS, which an answer to its PING proves.
        if let Some(ping) = raw.wait_for(PING, 0) {
            raw.send(&frame(PING, 1, 0, &ping.payload));
            handle(raw);
        }
    })
}
