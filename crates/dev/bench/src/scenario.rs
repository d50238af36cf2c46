//! The kinds of traffic that are measured, and the marks that are set for them.
//!
//! Owns: names, sizes, and what each kind asks of a proxy's configuration. Leaves to `load` who sends the traffic, and to
//! `peers` how a proxy is set up for it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Scenario {
    /// Requests over kept connections, answers of 1 KiB.
    Keepalive,
    /// Each request over a client connection of its own, answers of 1 KiB.
    NewConnection,
    /// Requests over kept connections, answers of 1 MiB.
    Body1M,
    /// Connections passed through as bytes, with requests over them that are answered with 1 KiB.
    Tcp,
    /// Connections passed through as bytes, with requests over them that are answered with 1 MiB.
    Tcp1M,
    /// `Keepalive` over TLS 1.3.
    Tls,
    /// A full TLS 1.3 handshake for every request.
    TlsHandshake,
    /// HTTP/2 over TLS, ten streams at once on each connection, answers of 1 KiB.
    H2,
    /// The same without TLS, by prior knowledge (RFC 9113 §3.3).
    H2c,
    /// Messages over WebSocket connections (RFC 6455), each sent back by the server.
    Websocket,
    /// Memory that so many connections need once each has had one answer, and `Keepalive` beside them.
    Idle(u32),
    /// `Keepalive` over so many servers.
    Servers(u32),
    /// `Keepalive` over so many routes.
    Routes(u32),
}

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The peer of this name.
    Peer(&'static str),
    /// The peer with the least CPU per request in the same run.
    Best,
}

/// A ratio of CPU per request that is not to be exceeded, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The divisor.
    pub(crate) against: Against,
    /// 600 is 0.60.
    pub(crate) per_mille: u32,
}

const fn mark(against: Against, per_mille: u32) -> Mark {
    Mark { against, per_mille }
}

impl Scenario {
    /// Every scenario, in the order in which they are measured and shown.
    pub(crate) const ALL: [Self; 21] = [
        Self::Keepalive,
        Self::NewConnection,
        Self::Body1M,
        Self::Tcp,
        Self::Tcp1M,
        Self::Tls,
        Self::TlsHandshake,
        Self::H2,
        Self::H2c,
        Self::Websocket,
        Self::Idle(10_000),
        Self::Idle(100_000),
        Self::Servers(1),
        Self::Servers(10),
        Self::Servers(100),
        Self::Servers(1_000),
        Self::Routes(1),
        Self::Routes(10),
        Self::Routes(100),
        Self::Routes(1_000),
        Self::Routes(10_000),
    ];

    /// One sentence for tables.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Keepalive => "requests over 256 kept connections, answers of 1 KiB".to_owned(),
            Self::NewConnection => "a client connection for every request, answers of 1 KiB".to_owned(),
            Self::Body1M => "kept connections, answers of 1 MiB".to_owned(),
            Self::Tcp => "connections passed through as bytes, answers of 1 KiB".to_owned(),
            Self::Tcp1M => "connections passed through as bytes, answers of 1 MiB".to_owned(),
            Self::Tls => "`keepalive` over TLS 1.3".to_owned(),
            Self::TlsHandshake => "a full TLS 1.3 handshake for every request".to_owned(),
            Self::H2 => "HTTP/2 over TLS 1.3, 10 streams at once on each connection".to_owned(),
            Self::H2c => "HTTP/2 without TLS, 10 streams at once on each connection".to_owned(),
            Self::Websocket => "WebSocket messages of 128 bytes, each sent back by the server".to_owned(),
            Self::Idle(count) => format!("`keepalive` beside {count} idle connections"),
            Self::Servers(count) => format!("`keepalive` over {count} servers"),
            Self::Routes(count) => format!("`keepalive` over {count} routes"),
        }
    }

    /// The path that is asked for, where all requests have the same one.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Body1M | Self::Tcp1M => "/1m",
            Self::Websocket => "/echo",
            Self::Keepalive
            | Self::NewConnection
            | Self::Tcp
            | Self::Tls
            | Self::TlsHandshake
            | Self::H2
            | Self::H2c
            | Self::Idle(_)
            | Self::Servers(_)
            | Self::Routes(_) => "/1k",
        }
    }

    /// Client connections with traffic, of those that a run asks for. Large answers share an eighth: what is under way
    /// when a round ends costs CPU and is not counted, and of 256 MiB that would be a good part.
    pub(crate) const fn connections(self, asked: u32) -> u32 {
        match self {
            Self::Body1M | Self::Tcp1M => {
                if asked < 8 {
                    1
                } else {
                    asked / 8
                }
            }
            Self::Keepalive
            | Self::NewConnection
            | Self::Tcp
            | Self::Tls
            | Self::TlsHandshake
            | Self::H2
            | Self::H2c
            | Self::Websocket
            | Self::Idle(_)
            | Self::Servers(_)
            | Self::Routes(_) => asked,
        }
    }

    /// Bytes of content in each answer.
    pub(crate) const fn content_bytes(self) -> u64 {
        match self {
            Self::Body1M | Self::Tcp1M => 1 << 20,
            Self::Websocket => crate::load::MESSAGE_BYTES as u64,
            Self::Keepalive
            | Self::NewConnection
            | Self::Tcp
            | Self::Tls
            | Self::TlsHandshake
            | Self::H2
            | Self::H2c
            | Self::Idle(_)
            | Self::Servers(_)
            | Self::Routes(_) => 1 << 10,
        }
    }

    /// Whether the proxy sees bytes rather than requests.
    pub(crate) const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp1M)
    }

    /// Whether clients speak TLS.
    pub(crate) const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsHandshake | Self::H2)
    }

    /// Whether clients speak HTTP/2.
    pub(crate) const fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::H2c)
    }

    /// Whether a client closes after each answer.
    pub(crate) const fn closes(self) -> bool {
        matches!(self, Self::NewConnection | Self::TlsHandshake)
    }

    /// Servers behind the proxy.
    pub(crate) const fn servers(self) -> u32 {
        if let Self::Servers(count) = self { count } else { 1 }
    }

    /// Routes of the proxy beside the listener's own pool.
    pub(crate) const fn routes(self) -> u32 {
        if let Self::Routes(count) = self { count } else { 0 }
    }

    /// Connections that are held open without traffic.
    pub(crate) const fn idle(self) -> u32 {
        if let Self::Idle(count) = self { count } else { 0 }
    }

    /// The URL's scheme.
    pub(crate) const fn scheme(self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// The ratios that are not to be exceeded. Growth has none of its own: it is judged by how it grows.
    pub(crate) fn marks(self) -> &'static [Mark] {
        const HAPROXY: Against = Against::Peer("haproxy");
        match self {
            Self::Keepalive => &const { [mark(HAPROXY, 600), mark(Against::Peer("nginx"), 750)] },
            Self::NewConnection => &const { [mark(Against::Best, 800)] },
            Self::Body1M | Self::Tcp1M => &const { [mark(HAPROXY, 700)] },
            Self::Tcp => &const { [mark(Against::Best, 900)] },
            Self::Tls => &const { [mark(Against::Best, 600)] },
            Self::TlsHandshake => &const { [mark(Against::Best, 650)] },
            Self::H2 | Self::H2c => &const { [mark(Against::Best, 700)] },
            Self::Websocket | Self::Idle(_) | Self::Servers(_) | Self::Routes(_) => &[],
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keepalive => f.write_str("keepalive"),
            Self::NewConnection => f.write_str("new-connection"),
            Self::Body1M => f.write_str("body-1m"),
            Self::Tcp => f.write_str("tcp"),
            Self::Tcp1M => f.write_str("tcp-1m"),
            Self::Tls => f.write_str("tls"),
            Self::TlsHandshake => f.write_str("tls-handshake"),
            Self::H2 => f.write_str("h2"),
            Self::H2c => f.write_str("h2c"),
            Self::Websocket => f.write_str("websocket"),
            Self::Idle(count) => write!(f, "idle-{count}"),
            Self::Servers(count) => write!(f, "servers-{count}"),
            Self::Routes(count) => write!(f, "routes-{count}"),
        }
    }
}

impl From<Scenario> for String {
    fn from(scenario: Scenario) -> Self {
        scenario.to_string()
    }
}

/// A name that no scenario has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scenario; there are: {names}", names = Scenario::ALL.map(|s| s.to_string()).join(", "))]
pub(crate) struct Unknown(String);

impl FromStr for Scenario {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.to_string() == name);
        found.ok_or_else(|| Unknown(name.to_owned()))
    }
}

impl TryFrom<String> for Scenario {
    type Error = Unknown;

    fn try_from(name: String) -> Result<Self, Unknown> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_known_by_the_name_it_prints() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "keep-alive".parse::<Scenario>().unwrap_err().to_string();
        assert!(
            error.starts_with("`keep-alive` is no scenario") && error.contains("routes-10000"),
            "{error}"
        );
    }
}
