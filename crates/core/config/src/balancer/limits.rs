//! `[limits]` and `[deadlines]`: what clients may ask of the box, and how long each phase may take.

use core::{num::NonZeroU32, time::Duration};

use evenkeel_units::ByteCount;

use super::{nonzero, ranges};
use crate::document::Section;

/// What clients may ask of the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Client connections at once, over all workers and listeners.
    pub max_clients: NonZeroU32,
    /// Longest request line and header fields together.
    pub request_head_bytes: ByteCount,
    /// Longest status line and header fields of an answer together.
    pub response_head_bytes: ByteCount,
    /// Longest content of a request.
    pub request_body_bytes: ByteCount,
}

/// How long each phase of an exchange may take.
///
/// An `idle` deadline starts again with each byte that arrives or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// From the first byte of a request's head to its last; for the first request, from the connection.
    pub client_head: Duration,
    /// Between two arrivals of a request's content.
    pub client_body_idle: Duration,
    /// Between two departures of an answer to a client that reads slowly.
    pub client_write_idle: Duration,
    /// From an answer to the first byte of the client's next request.
    pub keep_alive_idle: Duration,
    /// From a client's connection to the end of its TLS handshake.
    pub tls_handshake: Duration,
    /// From a connection to the whole PROXY header that a listener demands.
    pub proxy_header: Duration,
    /// From asking for a connection to a server to having it.
    pub connect: Duration,
    /// From the end of the request sent to a server to the head of its answer.
    pub server_head: Duration,
    /// Between two arrivals of an answer's content, or two departures of a request's content.
    pub server_body_idle: Duration,
    /// How long a connection to a server is kept for the next request.
    pub server_keep_idle: Duration,
    /// Between two bytes in either direction, in mode `tcp` and after an upgrade.
    pub tunnel_idle: Duration,
    /// From the order to stop, or from a listener's removal, to closing what is still open.
    pub drain: Duration,
}

pub(super) const LIMIT_KEYS: &[&str] =
    &["max_clients", "request_head_bytes", "response_head_bytes", "request_body_bytes"];

pub(super) const DEADLINE_KEYS: &[&str] = &[
    "client_head",
    "client_body_idle",
    "client_write_idle",
    "keep_alive_idle",
    "tls_handshake",
    "proxy_header",
    "connect",
    "server_head",
    "server_body_idle",
    "server_keep_idle",
    "tunnel_idle",
    "drain",
];

pub(super) fn limits(section: &Section<'_>) -> Option<Limits> {
    let max_clients = nonzero(section, "max_clients", ranges::MAX_CLIENTS);
    let request_head = section.count("request_head_bytes", ranges::REQUEST_HEAD_BYTES);
    let response_head = section.count("response_head_bytes", ranges::RESPONSE_HEAD_BYTES);
    let request_body = section.count("request_body_bytes", ranges::REQUEST_BODY_BYTES);
    Some(Limits {
        max_clients: max_clients?,
        request_head_bytes: ByteCount(request_head?),
        response_head_bytes: ByteCount(response_head?),
        request_body_bytes: ByteCount(request_body?),
    })
}

pub(super) fn deadlines(section: &Section<'_>) -> Option<Deadlines> {
    let client_head = section.duration("client_head", ranges::CLIENT_HEAD);
    let client_body_idle = section.duration("client_body_idle", ranges::CLIENT_BODY_IDLE);
    let client_write_idle = section.duration("client_write_idle", ranges::CLIENT_WRITE_IDLE);
    let keep_alive_idle = section.duration("keep_alive_idle", ranges::KEEP_ALIVE_IDLE);
    let proxy_header = section.duration("proxy_header", ranges::PROXY_HEADER);
    let tls_handshake = section.duration("tls_handshake", ranges::TLS_HANDSHAKE);
    let connect = section.duration("connect", ranges::CONNECT);
    let server_head = section.duration("server_head", ranges::SERVER_HEAD);
    let server_body_idle = section.duration("server_body_idle", ranges::SERVER_BODY_IDLE);
    let server_keep_idle = section.duration("server_keep_idle", ranges::SERVER_KEEP_IDLE);
    let tunnel_idle = section.duration("tunnel_idle", ranges::TUNNEL_IDLE);
    let drain = section.duration("drain", ranges::DRAIN);
    Some(Deadlines {
        client_head: client_head?,
        client_body_idle: client_body_idle?,
        client_write_idle: client_write_idle?,
        keep_alive_idle: keep_alive_idle?,
        tls_handshake: tls_handshake?,
        proxy_header: proxy_header?,
        connect: connect?,
        server_head: server_head?,
        server_body_idle: server_body_idle?,
        server_keep_idle: server_keep_idle?,
        tunnel_idle: tunnel_idle?,
        drain: drain?,
    })
}
