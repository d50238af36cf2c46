//! `balancer.toml`: what the data plane listens on, whom it sends to, and within which limits.
//!
//! Owns: the values. How they are read stands in `read`, their ranges and defaults with the reasons in
//! `ranges`. Invariant: only [`Config::parse`] makes a [`Config`], so names are unique and every
//! listener's pool exists; what is protective is on unless the file turns it down.

mod ranges;
mod read;

use alloc::{string::String, vec::Vec};
use core::{net::SocketAddr, num::NonZeroU32, time::Duration};

use evenkeel_units::{ByteCount, PerMille};

use crate::{AbsolutePath, Errors, Name, Weight};

/// A configuration of the data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    admin: Admin,
    listeners: Vec<Listener>,
    pools: Vec<Pool>,
    access_log: Option<AccessLog>,
    limits: Limits,
    deadlines: Deadlines,
}

impl Config {
    /// Reads the text of a file called `file_name`, which only serves to name it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with the text, at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Errors> {
        read::config(file_name, text)
    }

    /// The listener for metrics and status.
    #[must_use]
    pub const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The listeners, in the order of the file; at least one, with names and addresses of their own.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The pools, in the order of the file; at least one, with names of their own.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The pool that a listener of this configuration sends to.
    ///
    /// # Panics
    /// When `index` is of another configuration that has more pools.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }

    /// Where requests are logged; `None` when they are not.
    #[must_use]
    pub const fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    /// What clients may ask of the box.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long each phase of an exchange may take.
    #[must_use]
    pub const fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }
}

/// The place of a pool in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(usize);

impl PoolIndex {
    /// The position in [`Config::pools`].
    #[must_use]
    pub const fn position(self) -> usize {
        self.0
    }
}

/// The listener for metrics, status and probes of life.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// A place where clients arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Where it listens; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// What is spoken there.
    pub mode: Mode,
    /// Whom its clients are sent to.
    pub pool: PoolIndex,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// HTTP/1.1: each request is balanced.
    Http,
    /// Bytes: each connection is balanced.
    Tcp,
}

/// Servers that answer alike, and how the work is shared among them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// Who is next.
    pub policy: Policy,
    /// The servers, in the order of the file: 1 to 256, with names and addresses of their own.
    pub servers: Vec<Server>,
    /// How servers are asked whether they are well.
    pub health_check: HealthCheck,
    /// When a server that fails requests is left out for a while.
    pub ejection: Ejection,
    /// What a server is given at once, and how much may wait.
    pub limits: PoolLimits,
    /// How often a failed request is tried elsewhere.
    pub retry: Retry,
    /// How long a server that has come back takes to its full share; zero for at once.
    pub slow_start: Duration,
}

/// Who is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Each in turn, by weight.
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastLoaded,
}

/// Something that the data plane connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its name.
    pub name: Name,
    /// Where it listens; the port is not 0.
    pub address: SocketAddr,
    /// Its share beside the others.
    pub weight: Weight,
}

/// How servers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From one check's start to the next.
    pub interval: Duration,
    /// How long one check may take; at most `interval`.
    pub timeout: Duration,
    /// Checks passed in a row after which a server is up.
    pub rise: NonZeroU32,
    /// Checks failed in a row after which a server is down.
    pub fall: NonZeroU32,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether a connection is accepted.
    Tcp,
    /// Whether `GET path` is answered with a status from `least` to `most`.
    Http {
        /// The path; starts with `/`, printable ASCII without spaces.
        path: String,
        /// The lowest good status, 100 to 599.
        least: u16,
        /// The highest good status, `least` to 599.
        most: u16,
    },
}

/// When a server that fails requests is left out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ejection {
    /// Failures in a row after which it is left out.
    pub consecutive_failures: NonZeroU32,
    /// How long the first time; twice as long each further time.
    pub base_time: Duration,
    /// How long at most; at least `base_time`.
    pub max_time: Duration,
    /// How many of the pool's servers may be left out at once, rounded up.
    pub max_share: PerMille,
}

/// What a server is given at once, and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Requests (HTTP) or connections (TCP) that a server has at once, over all workers.
    pub connections_per_server: NonZeroU32,
    /// Requests or connections that may wait for a server, over all workers; 0 for none.
    pub queue_length: u32,
    /// How long each may wait.
    pub queue_deadline: Duration,
}

/// How often a failed request is tried elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Further tries of one request after the first, 0 to [`Retry::MOST_ATTEMPTS`].
    pub attempts: u8,
    /// Further tries as a part of all requests.
    pub budget: PerMille,
}

impl Retry {
    /// Most further tries: who fails on nine servers in turn fails because of itself.
    pub const MOST_ATTEMPTS: u8 = 8;
}

/// Where requests are logged, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output, written `-`: the journal, when systemd runs the daemon.
    Stdout,
    /// The end of this file.
    File(AbsolutePath),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Words and `key=value`, for people.
    Text,
}

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
