//! One small blocking HTTP request at a time, as a visitor of the site makes them.
//!
//! Leaves to others: everything a real client library does. A visitor here opens a connection, asks once and
//! closes, so that each request shows by itself whether the box answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// Longest a visitor waits for connection, each read and each write.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Most bytes of an answer that are read: a status page of a box is a few KiB.
const ANSWER_LIMIT_BYTES: u64 = 1 << 20;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body, as text.
    pub(crate) body: String,
}

/// Asks `address` for `path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut bytes).context("read the answer")?;
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> Result<Answer> {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!(
            "the connection was closed before a whole answer: `{}`",
            text.chars().take(80).collect::<String>()
        )
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status code")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body).context("broken chunked body")? } else { body.to_owned() };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_length_or_in_chunks() {
        let plain = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\napp1\n").unwrap();
        assert_eq!((plain.status, plain.body.as_str()), (200, "app1\n"));
        let chunked =
            "HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let chunked = parse(chunked).unwrap();
        assert_eq!((chunked.status, chunked.body.as_str()), (502, "abcde"));
    }

    #[test]
    fn half_an_answer_is_an_error() {
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Le").is_err());
    }
}
