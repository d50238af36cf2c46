//! What is told of a request and of each try at a server: the stable semantic conventions for HTTP spans.
//!
//! Differs from the specification: queries are not told, neither as `url.query` nor in `url.full`, for they carry names
//! and passwords that nobody looks for in a trace.

use alloc::{format, string::String, vec::Vec};
use core::net::SocketAddr;

use crate::{
    Attribute, Outcome,
    span::{known_method, name},
};

/// A request as it was received.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The method, as it was sent.
    pub method: &'a [u8],
    /// The target, in whatever form.
    pub target: &'a [u8],
    /// The host that was asked for, maybe with a port.
    pub host: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The version of HTTP: `1.0`, `1.1` or `2`.
    pub version: &'a str,
    /// The field User-Agent; empty where there is none.
    pub user_agent: &'a [u8],
    /// Who asked.
    pub client: SocketAddr,
    /// The listener's name.
    pub listener: &'a str,
}

/// The answer that a client got.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Its status; `None` when there was none.
    pub status: Option<u16>,
    /// Why it is not whole, in a word of few; `None` when it is.
    pub fault: Option<&'static str>,
    /// The pool.
    pub pool: &'a str,
    /// The server that answered.
    pub server: Option<&'a str>,
    /// The route, where there is one.
    pub route: Option<&'a str>,
    /// Servers that were asked.
    pub tries: u8,
}

/// A server that was asked.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// Its own name.
    pub server: &'a str,
    /// Where it is.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The version of HTTP: `1.1` or `2`.
    pub version: &'a str,
}

/// How a try at a server ended.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    /// The status of its answer; `None` when there was none.
    pub status: Option<u16>,
    /// Why there was no whole answer, in a word of few.
    pub fault: Option<&'static str>,
    /// Tries before this one.
    pub resends: u8,
}

/// Name, outcome and attributes of the span of a request.
#[must_use]
pub fn request(received: &Received<'_>, given: &Given<'_>) -> (String, Outcome, Vec<Attribute>) {
    let mut told = Vec::with_capacity(20);
    method(received.method, &mut told);
    told.push(Attribute::text("url.path", path(received.target)));
    told.push(Attribute::text("url.scheme", received.scheme.as_bytes()));
    let (host, port) = host_and_port(received.host);
    if !host.is_empty() {
        told.push(Attribute::text("server.address", host));
    }
    told.extend(port.map(|port| Attribute::number("server.port", port)));
    told.push(Attribute::text(
        "client.address",
        format!("{}", received.client.ip().to_canonical()).as_bytes(),
    ));
    told.push(Attribute::number("client.port", received.client.port()));
    told.push(Attribute::text("network.protocol.version", received.version.as_bytes()));
    if !received.user_agent.is_empty() {
        told.push(Attribute::text("user_agent.original", received.user_agent));
    }
    told.push(Attribute::text("evenkeel.listener", received.listener.as_bytes()));
    told.push(Attribute::text("evenkeel.pool", given.pool.as_bytes()));
    let names = [("evenkeel.server", given.server), ("evenkeel.route", given.route)];
    for (key, text) in names {
        told.extend(text.map(|text| Attribute::text(key, text.as_bytes())));
    }
    told.push(Attribute::number("evenkeel.tries", given.tries));
    // A status below 500 is the client's matter, and no error of who answered it (HTTP spans, Status).
    let outcome = ended(given.status, given.fault, 500, &mut told);
    (name(received.method), outcome, told)
}

/// Name, outcome and attributes of the span of a try at a server.
#[must_use]
pub fn attempt(
    received: &Received<'_>,
    peer: &Peer<'_>,
    attempted: &Attempted,
) -> (String, Outcome, Vec<Attribute>) {
    let mut told = Vec::with_capacity(14);
    method(received.method, &mut told);
    let path = path(received.target);
    let address = peer.address;
    let full = [format!("{}://{address}", peer.scheme).as_bytes(), path].concat();
    told.push(Attribute::text("url.full", &full));
    let ip = format!("{}", address.ip().to_canonical());
    told.push(Attribute::text("server.address", ip.as_bytes()));
    told.push(Attribute::number("server.port", address.port()));
    told.push(Attribute::text("network.peer.address", ip.as_bytes()));
    told.push(Attribute::number("network.peer.port", address.port()));
    told.push(Attribute::text("network.protocol.version", peer.version.as_bytes()));
    told.push(Attribute::text("evenkeel.pool", peer.pool.as_bytes()));
    told.push(Attribute::text("evenkeel.server", peer.server.as_bytes()));
    if attempted.resends > 0 {
        told.push(Attribute::number("http.request.resend_count", attempted.resends));
    }
    let outcome = ended(attempted.status, attempted.fault, 400, &mut told);
    (name(received.method), outcome, told)
}

fn method(method: &[u8], told: &mut Vec<Attribute>) {
    told.push(Attribute::text("http.request.method", known_method(method).unwrap_or("_OTHER").as_bytes()));
    if known_method(method).is_none() {
        told.push(Attribute::text("http.request.method_original", method));
    }
}

/// Status and error of a span, in which statuses from `bad` on are errors.
fn ended(status: Option<u16>, fault: Option<&'static str>, bad: u16, told: &mut Vec<Attribute>) -> Outcome {
    told.extend(status.map(|status| Attribute::number("http.response.status_code", status)));
    let error = match (fault, status) {
        (Some(fault), _) => Some(Attribute::text("error.type", fault.as_bytes())),
        (None, Some(status)) if status >= bad => {
            Some(Attribute::text("error.type", format!("{status}").as_bytes()))
        }
        (None, _) => None,
    };
    let outcome = if error.is_some() { Outcome::Error } else { Outcome::Unset };
    told.extend(error);
    outcome
}

/// The path of a target in any form (RFC 9112 §3.2), without its query.
fn path(target: &[u8]) -> &[u8] {
    let whole = match target.windows(3).position(|bytes| bytes == b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let rest = &target[at + 3..];
            rest.iter().position(|&byte| byte == b'/').map_or(&b"/"[..], |slash| &rest[slash..])
        }
        Some(_) | None => target,
    };
    whole.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default()
}

/// The host and the port of an authority (RFC 3986 §3.2).
fn host_and_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    let port_from = match authority.iter().rposition(|&byte| byte == b']') {
        Some(bracket) => bracket + 1,
        None => authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(port_from);
    let port = rest.strip_prefix(b":").and_then(|port| core::str::from_utf8(port).ok()?.parse().ok());
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    (host, port)
}
