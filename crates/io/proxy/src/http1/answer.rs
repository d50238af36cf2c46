//! Answers of our own, when no server's can be given.
//!
//! Invariant: each carries a request id that the access log repeats, and each closes the connection, for
//! behind a refused request nothing can be framed for certain.

use std::time::Duration;

use evenkeel_units::Instant;

use crate::{
    client::Client,
    date::DateText,
    http1::request::Request,
    listening::Settings,
    net::{scratch, socket::Read, sweep::Phase},
    route::errors,
};

/// How long a client may go on sending after it was refused, before the connection is cut.
///
/// Closing while bytes arrive makes the kernel send a reset, which would take the answer away from a client
/// that has not read it yet; 2 s is what Apache httpd lingers when it closes early.
const LINGER: Duration = Duration::from_secs(2);

/// Most bytes that are read and thrown away while lingering: a window's worth of a fast upload.
const MAX_LINGER_BYTES: usize = 16 << 20;

/// An answer that this proxy gives itself.
pub(crate) struct Own<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) head_only: bool,
    /// By which the answer takes its form; `None` when its head was refused.
    pub(crate) request: Option<&'a Request>,
}

/// Sends an answer of our own and lets the client read it before the connection closes; the request's id.
pub(crate) async fn send(client: &Client, own: Own<'_>) -> String {
    let id = own.request.map_or_else(|| client.worker.next_id(), |request| request.name(&client.worker));
    let tally = client.listening.tally();
    tally.answered(own.status);
    tally.refused(own.status);
    let text = text(&own, &id, &client.worker.date(), &client.listening.settings());
    let watch = &client.watch;
    watch.set(Phase::Busy, client.worker.clock.now() + LINGER);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match client.socket.write(rest) {
            Ok(0) if client.socket.writable(watch).await.is_err() => return id,
            Ok(written) => rest = &rest[written..],
            Err(_) => return id,
        }
    }
    linger(client).await;
    id
}

/// Reads on after the last answer until the client closes, so that the answer is not lost to a reset.
pub(crate) async fn linger(client: &Client) {
    client.socket.shut_write();
    let until: Instant = client.worker.clock.now() + LINGER;
    client.watch.set(Phase::Busy, until);
    let mut thrown = 0;
    while thrown < MAX_LINGER_BYTES && client.socket.readable(&client.watch).await.is_ok() {
        match scratch::with(|scratch| client.socket.read(&mut scratch.input)) {
            Ok(Read::Bytes(length)) => thrown += length,
            Ok(Read::Wait) => {}
            Ok(Read::End) | Err(_) => return,
        }
    }
}

/// The whole text of an answer of our own.
pub(crate) fn text(own: &Own<'_>, id: &str, date: &DateText, settings: &Settings) -> String {
    let phrase = phrase(own.status);
    let date = std::str::from_utf8(date).expect("a date is ASCII");
    let pages = errors::pages(settings, own.request);
    let (kind, body) = errors::body(pages, errors::form(own.request), (own.status, own.reason, id));
    let retry = if matches!(own.status, 429 | 503) { "Retry-After: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {} {phrase}\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nX-Request-Id: {id}\r\n{retry}Connection: close\r\n\r\n{}",
        own.status,
        body.len(),
        if own.head_only { "" } else { &body }
    )
}

pub(crate) const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Error",
    }
}
