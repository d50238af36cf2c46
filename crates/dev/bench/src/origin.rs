//! The server behind the proxies: answers each request with a body made beforehand, and sends messages back.
//!
//! Owns: being cheap, for it shares a core with the load generator. It reads heads and looks at nothing but the path,
//! whether the client wants to close, and whether it upgrades; so it is no web server, and serves only the traffic of
//! `load` and health checks.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task,
};

use crate::load::MESSAGE_BYTES;

/// Longest head that is understood: the load generator's and the proxies' are below 512 bytes.
const MAX_HEAD: usize = 8 << 10;

/// Content of a small answer, in bytes.
pub(crate) const SMALL: usize = 1 << 10;

/// The nonce that every WebSocket client of the load sends: the example of RFC 6455 §1.3.
pub(crate) const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What belongs to the nonce, from the same place.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The answers, complete with their heads.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        Self { small: answer(SMALL), large: answer(1 << 20) }
    }

    fn to(&self, head: &[u8]) -> &[u8] {
        if head.starts_with(b"GET /1m ") { &self.large } else { &self.small }
    }
}

fn answer(length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; length]].concat()
}

/// Serves until the process ends; prints its address first.
pub(crate) async fn serve(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("{}", listener.local_addr()?);
    let answers = Arc::new(Answers::new());
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept connections")?;
        stream.set_nodelay(true).ok();
        let answers = Arc::clone(&answers);
        task::spawn(async move { converse(stream, &answers).await.ok() });
    }
}

async fn converse(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    let mut buffer = vec![0; MAX_HEAD];
    let mut filled = 0;
    loop {
        while let Some(end) = head_end(&buffer[..filled]) {
            if buffer.starts_with(b"GET /echo ") {
                return echo(stream, buffer[end..filled].to_vec()).await;
            }
            if buffer.starts_with(b"POST ") {
                let Some(length) = content_length(&buffer[..end]) else { return stream.shutdown().await };
                let here = length.min(filled - end);
                discard(&mut stream, length - here).await?;
                // What was read of the content is passed over like the head below.
                stream.write_all(&answers.small).await?;
                buffer.copy_within(end + here..filled, 0);
                filled -= end + here;
                continue;
            }
            stream.write_all(answers.to(&buffer[..end])).await?;
            if wants_close(&buffer[..end]) {
                return stream.shutdown().await;
            }
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            length => filled += length,
        }
    }
}

/// Where a head ends, its empty line included.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn wants_close(head: &[u8]) -> bool {
    const CLOSE: &[u8] = b"\r\nconnection: close\r\n";
    head.windows(CLOSE.len()).any(|window| window.eq_ignore_ascii_case(CLOSE))
}

/// The length of a request's content, in bytes; none where it is not told.
fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))?;
    let value = head[at + NAME.len()..].split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Reads so many bytes and forgets them.
async fn discard(stream: &mut TcpStream, mut left: usize) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    while left > 0 {
        let most = left.min(piece.len());
        match stream.read(&mut piece[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => left -= length,
        }
    }
    Ok(())
}

/// Sends every message of the load back: masked as it comes from a client, unmasked as it leaves a server.
async fn echo(mut stream: TcpStream, mut pending: Vec<u8>) -> io::Result<()> {
    /// First byte, length in 16 bits, key, content.
    const FRAME: usize = 8 + MESSAGE_BYTES;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        while let Some(frame) = pending.first_chunk_mut::<FRAME>() {
            let key = [frame[4], frame[5], frame[6], frame[7]];
            mask(&mut frame[8..], key);
            let answer = [&[frame[0], frame[1] & 0x7f, frame[2], frame[3]], &frame[8..]].concat();
            stream.write_all(&answer).await?;
            pending.drain(..FRAME);
        }
        if stream.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
    }
}

/// Masks content, or takes the mask off (RFC 6455 §5.3).
pub(crate) fn mask(content: &mut [u8], key: [u8; 4]) {
    for (byte, key) in content.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        load::{Order, own},
        scenario::Scenario,
    };

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn ask(request: &'static str) -> Vec<u8> {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let serving = task::spawn(async move { converse(server, &Answers::new()).await });
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            serving.await.unwrap().unwrap();
            answer
        })
    }

    #[test]
    fn each_request_of_a_connection_is_answered_until_it_asks_to_close() {
        let small = answer(1 << 10);
        assert_eq!(
            ask("GET /1k HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            small.repeat(2)
        );
        assert_eq!(ask("GET /1k HTTP/1.1\r\nConnection: Close\r\n\r\nGET / HTTP/1.1\r\n\r\n"), small);
    }

    #[test]
    fn the_large_answer_has_a_body_of_1_mib() {
        assert_eq!(ask("GET /1m HTTP/1.1\r\nHost: a\r\n\r\n"), answer(1 << 20));
    }

    #[test]
    fn content_of_a_request_is_taken_before_the_next_one() {
        let small = answer(SMALL);
        let request = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\n\r\n";
        assert_eq!(ask(request), small.repeat(2));
    }

    #[test]
    fn messages_come_back_as_they_were_and_are_counted() {
        let load = runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            task::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    task::spawn(async move { converse(stream, &Answers::new()).await });
                }
            });
            let length = Duration::from_millis(50);
            own::send(Order { scenario: Scenario::Websocket, address, connections: 3, length }).await.unwrap()
        });
        assert!(load.requests >= 3, "{load:?}");
        assert_eq!((load.errors, load.received_bytes), (0, load.requests * (4 + MESSAGE_BYTES as u64)));
    }
}
