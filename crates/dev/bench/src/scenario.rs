//! The kinds of traffic that are measured.

use clap::ValueEnum;
use serde::Serialize;

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Requests over kept connections, answers of 1 KiB.
    Keepalive,
    /// Each request over a client connection of its own, answers of 1 KiB.
    NewConnection,
    /// Requests over kept connections, answers of 1 MiB.
    #[value(name = "body-1m")]
    #[serde(rename = "body-1m")]
    Body1M,
    /// Connections passed through as bytes, with requests over them that are answered with 1 KiB.
    Tcp,
}

impl Scenario {
    /// The path that is asked for.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Keepalive | Self::NewConnection | Self::Tcp => "/1k",
            Self::Body1M => "/1m",
        }
    }

    /// Whether the proxy sees bytes rather than requests.
    pub(crate) const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp)
    }

    /// Whether a client closes after each answer.
    pub(crate) const fn closes(self) -> bool {
        matches!(self, Self::NewConnection)
    }
}
