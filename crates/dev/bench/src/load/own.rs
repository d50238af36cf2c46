//! Load of our own, where no generator of Debian does it: full TLS handshakes, requests on TLS connections that are
//! there before them, and messages over WebSocket connections.
//!
//! Owns: one task for each connection, which does the next thing when the last one is done, and checks every answer byte
//! for byte. Runs as a process of its own, so that it can be pinned; its last line is the load as JSON.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Load, MESSAGE_BYTES, Order, output, summary};
use crate::{
    origin::{NONCE, SMALL, mask},
    scenario::Scenario,
    tls,
};

/// Longest that one step may take before it counts as failed: as wrk's here.
const PATIENCE: Duration = Duration::from_secs(10);

/// Errors after which a task gives up, so that a proxy that is gone does not make it spin.
const MOST_ERRORS: u64 = 100;

/// What the load prints when its connections are there; it goes on when it reads a line.
const READY: &str = "ready";

/// Starts this program as the load of an order.
pub(super) async fn start(order: Order, core: usize) -> Result<Load> {
    let text = output(order, core, &command(order)?).await?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("cannot read what the load printed:\n{text}"))
}

fn command(order: Order) -> Result<Vec<String>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Ok(vec![
        program.display().to_string(),
        "load".to_owned(),
        order.scenario.to_string(),
        format!("--address={}", order.address),
        format!("--connections={}", order.connections),
        format!("--seconds={}", order.seconds()),
    ])
}

/// The same, with a word from it when its connections are there.
pub(super) async fn start_connected(
    order: Order,
    core: usize,
    mut begins: impl FnMut() -> Result<()>,
) -> Result<Load> {
    let mut child = Command::new("taskset")
        .args(["--cpu-list", &core.to_string()])
        .args(command(order)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the load by taskset (package util-linux)")?;
    let mut input = child.stdin.take().context("the load has no input")?;
    let mut lines = BufReader::new(child.stdout.take().context("the load has no output")?).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    ensure!(first == READY, "the connections of the load could not be opened: {first}");
    begins()?;
    input.write_all(b"go\n").await?;
    let line = lines.next_line().await?.unwrap_or_default();
    child.wait().await?;
    serde_json::from_str(&line).with_context(|| format!("cannot read what the load printed:\n{line}"))
}

/// What one task has seen.
#[derive(Default)]
struct Seen {
    times_us: Vec<u32>,
    errors: u64,
    received_bytes: u64,
}

impl Seen {
    fn add(&mut self, began: Instant, bytes: usize) {
        self.times_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        self.received_bytes += bytes as u64;
    }
}

/// Sends the traffic of an order from this process.
///
/// # Errors
/// When the scenario is one that another generator sends.
pub(crate) async fn send(order: Order) -> Result<Load> {
    if order.scenario == Scenario::Tls {
        return connected(order).await;
    }
    let until = Instant::now() + order.length;
    let seen = match order.scenario {
        Scenario::TlsHandshake => {
            let connector = TlsConnector::from(Arc::new(tls::full_handshakes()));
            tasks(order, || handshakes(order.address, connector.clone(), until)).await
        }
        Scenario::Websocket => tasks(order, || messages(order.address, until)).await,
        other => anyhow::bail!("the load of {other} is not sent by this program"),
    };
    Ok(summary(seen.times_us, seen.errors, seen.received_bytes, order.length))
}

async fn tasks<F>(order: Order, task: impl Fn() -> F) -> Seen
where
    F: Future<Output = Seen> + Send + 'static,
{
    gather((0..order.connections).map(|_| task()).collect()).await
}

async fn gather(mut tasks: JoinSet<Seen>) -> Seen {
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        let Seen { times_us, errors, received_bytes } = seen.unwrap_or(Seen { errors: 1, ..Seen::default() });
        all.times_us.extend(times_us);
        all.errors += errors;
        all.received_bytes += received_bytes;
    }
    all
}

/// Requests over TLS connections that are there before the first of them.
async fn connected(order: Order) -> Result<Load> {
    let connector = TlsConnector::from(Arc::new(tls::full_handshakes()));
    // All at once, for a connection that waits for the others too long is cut before its first request.
    let mut connecting = JoinSet::new();
    for _ in 0..order.connections {
        let connector = connector.clone();
        connecting.spawn(async move { within(secure(order.address, &connector)).await });
    }
    let mut streams = Vec::new();
    while let Some(stream) = connecting.join_next().await {
        streams.push(stream?.context("a TLS connection")?);
    }
    println!("{READY}");
    io::stdin().read_line(&mut String::new())?;
    let until = Instant::now() + order.length;
    let seen = gather(streams.into_iter().map(|stream| requests(stream, until)).collect()).await;
    Ok(summary(seen.times_us, seen.errors, seen.received_bytes, order.length))
}

async fn secure(address: SocketAddr, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    connector.connect(ServerName::IpAddress(address.ip().into()), stream).await
}

/// Asks again and again on one connection.
async fn requests(mut stream: TlsStream<TcpStream>, until: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut answer = vec![0; SMALL + 2_048];
    while Instant::now() < until {
        let began = Instant::now();
        match within(request(&mut stream, &mut answer)).await {
            Ok(bytes) => seen.add(began, bytes),
            Err(_) => return Seen { errors: 1, ..seen },
        }
    }
    seen
}

/// One request and its answer, which ends with the content that the server sends.
async fn request(stream: &mut TlsStream<TcpStream>, answer: &mut [u8]) -> io::Result<usize> {
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
    let mut filled = 0;
    while filled < SMALL || !answer[..filled].ends_with(&[b'x'; SMALL]) {
        match stream.read(&mut answer[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(filled) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Runs a step until the time is over, and counts how it went.
async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    time::timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects, asks once, reads to the end; again and again.
async fn handshakes(address: SocketAddr, connector: TlsConnector, until: Instant) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < until && seen.errors < MOST_ERRORS {
        let began = Instant::now();
        match within(handshake(address, &connector)).await {
            Ok(bytes) => seen.add(began, bytes),
            Err(_) => seen.errors += 1,
        }
    }
    seen
}

async fn handshake(address: SocketAddr, connector: &TlsConnector) -> io::Result<usize> {
    let mut stream = secure(address, connector).await?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::with_capacity(SMALL + 512);
    match stream.read_to_end(&mut answer).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        // A proxy that closes without close_notify still answered: the length says whether all of it is there.
        Err(_) | Ok(_) => {}
    }
    stream.shutdown().await.ok();
    let whole = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&[b'x'; SMALL]);
    if whole { Ok(answer.len()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Upgrades once, then sends a message when the last one has come back.
async fn messages(address: SocketAddr, until: Instant) -> Seen {
    let mut seen = Seen::default();
    let Ok(mut stream) = within(upgrade(address)).await else { return Seen { errors: 1, ..seen } };
    let mut number = 0_u32;
    while Instant::now() < until {
        let began = Instant::now();
        match within(message(&mut stream, number)).await {
            Ok(bytes) => seen.add(began, bytes),
            Err(_) => return Seen { errors: 1, ..seen },
        }
        number = number.wrapping_add(1);
    }
    seen
}

/// Connects and upgrades.
///
/// # Errors
/// When the answer is not 101.
pub(crate) async fn upgrade(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(stream) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Sends one binary message and reads it back, unmasked as it comes from a server (RFC 6455 §5.2).
///
/// # Errors
/// When something else comes back.
pub(crate) async fn message(stream: &mut TcpStream, number: u32) -> io::Result<usize> {
    const BINARY: u8 = 0x82;
    let length = u8::try_from(MESSAGE_BYTES).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut content = [b'm'; MESSAGE_BYTES];
    content[..4].copy_from_slice(&number.to_be_bytes());
    let key = number.to_le_bytes();
    let mut frame = vec![BINARY, 0x80 | 126, 0, length];
    frame.extend(key);
    frame.extend(content);
    mask(&mut frame[8..], key);
    stream.write_all(&frame).await?;
    let mut answer = [0; 4 + MESSAGE_BYTES];
    stream.read_exact(&mut answer).await?;
    let same = answer[..4] == [BINARY, 126, 0, length] && answer[4..] == content;
    if same { Ok(answer.len()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
