//! The clients of a soak: each does the next thing when the last one is done and some time has passed, checks what it
//! gets byte for byte, and tells the tally.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time,
};
use tokio_rustls::TlsConnector;

use super::tally::{Client, Tally};
use crate::{load::own, origin::SMALL, tls};

/// Longest that anything may take: longer than the balancer's deadlines, so that it is the one to give up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause of a client between two requests: some hundred requests a second in all, so that the machine has room to show
/// that what is late is late by the balancer.
const PAUSE: Duration = Duration::from_millis(50);

/// Content of an upload, in bytes.
const UPLOAD: usize = 256 << 10;

/// Latest end of a head that does not come to one: the deadline of 10 s, and time to see it.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type Wire = Box<dyn Stream>;

/// Where clients connect to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) until: Instant,
    pub(super) tally: Tally,
}

impl Target {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    async fn connect(&self, client: Client) -> io::Result<Wire> {
        let address = match client {
            Client::Tls | Client::Handshake | Client::Http2 => self.tls,
            Client::Tcp => self.tcp,
            Client::Keepalive
            | Client::Closing
            | Client::Large
            | Client::Upload
            | Client::Websocket
            | Client::SlowHead
            | Client::SlowReader => self.plain,
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if address == self.tls {
            Ok(Box::new(secure(stream, b"http/1.1").await?))
        } else {
            Ok(Box::new(stream))
        }
    }
}

/// A full TLS handshake for one protocol.
async fn secure(
    stream: TcpStream,
    protocol: &[u8],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let address = stream.peer_addr()?;
    let mut config = tls::full_handshakes();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::IpAddress(address.ip().into()), stream).await
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    time::timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// HTTP/1.1 in all of its kinds.
pub(super) async fn http1(client: Client, target: Target) {
    let closes = matches!(client, Client::Closing | Client::Handshake);
    let (request, length) = request(client, closes);
    let mut kept: Option<Wire> = None;
    while target.goes_on() {
        let began = Instant::now();
        let exchange = async {
            let mut wire = match kept.take() {
                Some(wire) => wire,
                None => target.connect(client).await?,
            };
            wire.write_all(&request).await?;
            let open = answer(&mut wire, length).await?;
            Ok((wire, open && !closes))
        };
        match in_time(exchange).await {
            Ok((wire, open)) => {
                target.tally.done(client);
                kept = open.then_some(wire);
            }
            Err(error) => target.tally.failed(client, began, &error.to_string()),
        }
        time::sleep(PAUSE).await;
    }
}

/// A request, and the length of the content that answers it.
fn request(client: Client, closes: bool) -> (Vec<u8>, usize) {
    let close = if closes { "Connection: close\r\n" } else { "" };
    if client == Client::Upload {
        let head = format!("POST /upload HTTP/1.1\r\nHost: soak\r\nContent-Length: {UPLOAD}\r\n\r\n");
        return ([head.as_bytes(), &vec![b'u'; UPLOAD]].concat(), SMALL);
    }
    let (path, length) = if client == Client::Large { ("/1m", 1 << 20) } else { ("/1k", SMALL) };
    (format!("GET {path} HTTP/1.1\r\nHost: soak\r\n{close}\r\n").into_bytes(), length)
}

/// Reads an answer with status 200 and so much content; tells whether the connection stays open.
async fn answer(wire: &mut Wire, length: usize) -> io::Result<bool> {
    let mut bytes = Vec::with_capacity(length + 1024);
    let end = loop {
        if wire.read_buf(&mut bytes).await? == 0 {
            let text = if bytes.is_empty() { "closed without an answer" } else { "closed within a head" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        let status = head.lines().next().unwrap_or_default().to_owned();
        return Err(io::Error::other(status));
    }
    while bytes.len() < end + length {
        if wire.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within the content"));
        }
    }
    if bytes.len() != end + length || bytes[end..].iter().any(|byte| *byte != b'x') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "content that the server did not send"));
    }
    Ok(!head.contains("\r\nconnection: close\r\n"))
}

/// Messages over a connection that is upgraded once.
pub(super) async fn websocket(target: Target) {
    let mut number = 0_u32;
    while target.goes_on() {
        let began = Instant::now();
        let mut stream = match in_time(own::upgrade(target.plain)).await {
            Ok(stream) => stream,
            Err(error) => {
                target.tally.failed(Client::Websocket, began, &format!("upgrade: {error}"));
                time::sleep(PAUSE).await;
                continue;
            }
        };
        while target.goes_on() {
            let began = Instant::now();
            if let Err(error) = in_time(own::message(&mut stream, number)).await {
                target.tally.failed(Client::Websocket, began, &error.to_string());
                break;
            }
            target.tally.done(Client::Websocket);
            number = number.wrapping_add(1);
            time::sleep(PAUSE).await;
        }
    }
}

/// Sends a head byte by byte; done when the balancer has had enough of it.
pub(super) async fn slow_head(target: Target) {
    while target.goes_on() {
        let began = Instant::now();
        let cut = async {
            let mut stream = TcpStream::connect(target.plain).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: soak\r\nX-Slow: ").await?;
            loop {
                // An answer such as 408, the end and a reset are all the cut that is waited for.
                let cut = time::timeout(Duration::from_millis(500), stream.read(&mut [0; 512])).await;
                if cut.is_ok() || stream.write_all(b"a").await.is_err() {
                    return Ok::<(), io::Error>(());
                }
            }
        };
        match time::timeout(HEAD_DEADLINE, cut).await {
            Ok(Ok(())) => target.tally.done(Client::SlowHead),
            Ok(Err(error)) => target.tally.failed(Client::SlowHead, began, &error.to_string()),
            Err(_) => target.tally.failed(Client::SlowHead, began, "a head without an end is not cut"),
        }
        time::sleep(PAUSE).await;
    }
}

/// Takes a large answer in small pieces; it must come whole.
pub(super) async fn slow_reader(target: Target) {
    while target.goes_on() {
        let began = Instant::now();
        let whole = async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(16 << 10)?;
            let mut stream = socket.connect(target.plain).await?;
            stream.write_all(b"GET /1m HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n").await?;
            let (mut piece, mut taken) = (vec![0; 16 << 10], 0);
            loop {
                match stream.read(&mut piece).await? {
                    0 if taken > 1 << 20 => return Ok(()),
                    0 => return Err(io::Error::other(format!("closed after {taken} bytes"))),
                    length => taken += length,
                }
                time::sleep(Duration::from_millis(150)).await;
            }
        };
        match in_time(whole).await {
            Ok(()) => target.tally.done(Client::SlowReader),
            Err(error) => target.tally.failed(Client::SlowReader, began, &error.to_string()),
        }
    }
}

/// Ten streams at once on a connection, which lasts until the balancer takes its leave (RFC 9113 §6.8).
pub(super) async fn http2(target: Target) {
    while target.goes_on() {
        let began = Instant::now();
        if let Err(error) = http2_connection(&target).await {
            target.tally.failed(Client::Http2, began.max(Instant::now() - PAUSE), &error);
        }
        time::sleep(PAUSE).await;
    }
}

async fn http2_connection(target: &Target) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(target.tls).await.map_err(|error| say(&error))?;
    let stream = in_time(secure(stream, b"h2")).await.map_err(|error| say(&error))?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("HTTP/2 is not spoken".to_owned());
    }
    let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| say(&error))?;
    let driver = tokio::spawn(connection);
    let mut streams: tokio::task::JoinSet<()> =
        (0..10).map(|_| http2_stream(target.clone(), sender.clone())).collect();
    drop(sender);
    while streams.join_next().await.is_some() {}
    driver.abort();
    Ok(())
}

/// Requests one after another, until the connection takes no more.
async fn http2_stream(target: Target, mut sender: h2::client::SendRequest<bytes::Bytes>) {
    while target.goes_on() {
        let Ok(ready) = sender.ready().await else { return };
        sender = ready;
        let began = Instant::now();
        match time::timeout(PATIENCE, http2_exchange(&mut sender)).await {
            Ok(Ok(())) => target.tally.done(Client::Http2),
            Ok(Err(error)) if took_leave(&error) => return,
            Ok(Err(error)) => target.tally.failed(Client::Http2, began, &error.to_string()),
            Err(_) => target.tally.failed(Client::Http2, began, "no answer"),
        }
        time::sleep(PAUSE).await;
    }
}

/// Whether the request was refused unseen, so that it may be sent again on another connection.
fn took_leave(error: &Http2Error) -> bool {
    match error {
        Http2Error::Protocol(error) => {
            error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
                || error.reason() == Some(h2::Reason::REFUSED_STREAM)
        }
        Http2Error::Answer(_) => false,
    }
}

#[derive(Debug, thiserror::Error)]
enum Http2Error {
    #[error(transparent)]
    Protocol(#[from] h2::Error),
    #[error("{0}")]
    Answer(String),
}

async fn http2_exchange(sender: &mut h2::client::SendRequest<bytes::Bytes>) -> Result<(), Http2Error> {
    let request = http::Request::get("https://soak/1k").body(()).expect("a request of constants");
    let (answer, _) = sender.send_request(request, true)?;
    let answer = answer.await?;
    if answer.status() != http::StatusCode::OK {
        return Err(Http2Error::Answer(format!("status {}", answer.status())));
    }
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        length += piece.len();
        body.flow_control().release_capacity(piece.len())?;
    }
    if length == SMALL { Ok(()) } else { Err(Http2Error::Answer(format!("{length} bytes"))) }
}
