//! The server behind the proxies: answers each request with a body made beforehand.
//!
//! Owns: being cheap, for it shares a core with the load generator. It reads heads and looks at nothing but the path and
//! whether the client wants to close; so it is no web server, and serves only the traffic of `load` and health checks.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task,
};

/// Longest head that is understood: the load generator's and the proxies' are below 512 bytes.
const MAX_HEAD: usize = 8 << 10;

/// The answers, complete with their heads.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        Self { small: answer(1 << 10), large: answer(1 << 20) }
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

async fn converse(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut buffer = vec![0; MAX_HEAD];
    let mut filled = 0;
    loop {
        while let Some(end) = head_end(&buffer[..filled]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime;

    fn ask(request: &'static str) -> Vec<u8> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
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
}
