//! Answers that fit no question.
//!
//! Owns: reading a request's head, within limits, and answering it without a look at it. Each connection is closed after
//! its answer, so no framing is needed.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task, time,
};

/// Longest head that is waited for: as long as the data plane takes at most.
const MAX_HEAD: usize = 64 << 10;

/// Longest that a connection lives: a head that takes longer is nobody's.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers every request with 500.
pub(crate) async fn with_500(listener: TcpListener) {
    each(listener, |_| ("500 Internal Server Error", "text/plain", "this release is faulty\n".to_owned()))
        .await;
}

/// Accepts every connection and closes it.
pub(crate) async fn with_nothing(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream);
    }
}

/// Answers every request with the status, media type and content that `judge` gives for its path.
pub(crate) async fn each<F>(listener: TcpListener, judge: F)
where
    F: Fn(&str) -> (&'static str, &'static str, String) + Clone + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let judge = judge.clone();
        task::spawn(async move { time::timeout(PATIENCE, converse(stream, judge)).await });
    }
}

async fn converse(
    mut stream: TcpStream,
    judge: impl Fn(&str) -> (&'static str, &'static str, String),
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let (status, kind, content) = judge(text.split(' ').nth(1).unwrap_or_default());
    let length = content.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{content}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What the client still sends is read, for closing on unread bytes would reset the connection and lose the answer.
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}
