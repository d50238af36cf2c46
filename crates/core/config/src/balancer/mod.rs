//! `balancer.toml`: what the data plane listens on, whom it sends to, and within which limits.
//!
//! Owns: the whole file. Each table has a module with its values and how they are read; ranges and defaults stand with
//! their reasons in `ranges`. Invariants: only [`Config::parse`] makes a [`Config`], so names are unique and every
//! listener's pool exists; what is protective is on unless the file turns it down; a reader looks at all its keys
//! before it gives up, so that every error is found in one pass.

mod acme;
mod check;
mod discovery;
mod forward;
mod hedge;
mod limits;
mod listener;
mod log;
mod per_source;
mod policy;
mod pool;
mod proxy_protocol;
mod ranges;
pub mod route;
mod sni;
mod source;
mod sticky;
mod tls;
mod tracing;
mod udp;

use alloc::vec::Vec;
use core::{net::SocketAddr, num::NonZeroU32};

use evenkeel_units::PerMille;

use crate::{
    Errors, Name,
    document::{self, Field, NamedFile, Section},
    range::Count,
};
use limits::{DEADLINE_KEYS, LIMIT_KEYS};
use route::{ErrorPage, Route, Routing};

pub use acme::{Acme, Challenge};
pub use check::{Expected, HealthCheck, Probe};
pub use discovery::{Discovery, DomainName, Found, Loopback, Records};
pub use forward::{Forward, ForwardField, ForwardFields};
pub use hedge::{Hedge, HedgeAfter};
pub use limits::{Deadlines, Limits};
pub use listener::{Http2, Listener, ListenerIndex, Mode};
pub use log::{AccessLog, LogFormat, LogTarget};
pub use per_source::{PerSource, SourceConnections};
pub use policy::{Failover, HashBy, Hashing, LoadBound, Policy, Priority};
pub use pool::{Ejection, Learned, Pool, PoolIndex, PoolLimits, Protocol, Retry, Server};
pub use proxy_protocol::{ProxyField, ProxyFields, ProxyProtocol, ProxySent, ProxyVersion};
pub use sni::{SniName, SniRule};
pub use sticky::{Draining, SameSite, Scripts, Secure, Sticky};
pub use tls::{
    CertificateFiles, ClientCertificates, ListenerTls, PoolTls, Presence, TlsVersion, UnknownName, Verify,
};
pub use tracing::{Encryption, Endpoint, Tracing, TracingHeader};
pub use udp::Udp;

/// A configuration of the data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    admin: Admin,
    listeners: Vec<Listener>,
    pools: Vec<Pool>,
    routes: Vec<Route>,
    routing: Routing,
    error_pages: Vec<ErrorPage>,
    access_log: Option<AccessLog>,
    tracing: Option<Tracing>,
    limits: Limits,
    deadlines: Deadlines,
    files: Vec<NamedFile>,
}

impl Config {
    /// Reads the text of a file called `file_name`, which only serves to name it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with the text, at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Errors> {
        document::parse(file_name, text, TOP_KEYS, top)
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

    /// The listener at `position` in [`Config::listeners`]; `None` when there is none.
    #[must_use]
    pub fn listener_index(&self, position: usize) -> Option<ListenerIndex> {
        (position < self.listeners.len()).then_some(ListenerIndex(position))
    }

    /// The pools, in the order of the file; at least one, with names of their own.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The same with the servers that DNS answered with; `found` gives them for a pool.
    #[must_use]
    pub fn joined_by(mut self, found: impl Fn(&Pool) -> Vec<Found>) -> Self {
        for pool in &mut self.pools {
            if pool.discovery.is_some() {
                *pool = pool.joined_by(&found(pool));
            }
        }
        self
    }

    /// The pool that a listener of this configuration sends to.
    ///
    /// # Panics
    /// When `index` is of another configuration that has more pools.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }

    /// The files that are read or written where this runs, and where they are named; maybe one of them more than once.
    #[must_use]
    pub fn files(&self) -> &[NamedFile] {
        &self.files
    }

    /// The routes, in the order of the file; none when every request goes to its listener's pool.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// How paths are read before routes are chosen.
    #[must_use]
    pub const fn routing(&self) -> &Routing {
        &self.routing
    }

    /// What errors of all listeners look like.
    #[must_use]
    pub fn error_pages(&self) -> &[ErrorPage] {
        &self.error_pages
    }

    /// Where requests are logged; `None` when they are not.
    #[must_use]
    pub const fn access_log(&self) -> Option<&AccessLog> {
        self.access_log.as_ref()
    }

    /// Where spans of requests are sent; `None` when there are none.
    #[must_use]
    pub const fn tracing(&self) -> Option<&Tracing> {
        self.tracing.as_ref()
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

/// The listener for metrics, status and probes of life.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
}

const TOP_KEYS: &[&str] = &[
    "admin",
    "listener",
    "route",
    "routing",
    "error_pages",
    "pool",
    "access_log",
    "tracing",
    "limits",
    "deadlines",
];

const ADMIN_KEYS: &[&str] = &["listen"];

fn top(top: &Section<'_>) -> Option<Config> {
    let admin = admin(top);
    let listeners = listener::listeners(top, admin);
    let routes = route::routes(top);
    let pools = pool::pools(top, &listeners, &routes);
    let routes = route::resolve(routes, &listeners, &pools);
    let error_pages = route::error_pages(top);
    let routing = top.section("routing", route::ROUTING_KEYS).and_then(|section| route::routing(&section));
    let access_log = log::access_log(top);
    let tracing = tracing::tracing(top);
    let limits = top.section("limits", LIMIT_KEYS).and_then(|section| limits::limits(&section));
    let deadlines = top.section("deadlines", DEADLINE_KEYS).and_then(|section| limits::deadlines(&section));
    Some(Config {
        listeners: listener::resolve(listeners, &pools)?,
        admin: Admin { listen: admin?.0 },
        pools: pools.into_iter().map(|draft| draft.pool).collect::<Option<_>>()?,
        routes: routes?,
        routing: routing?,
        error_pages: error_pages?,
        access_log: access_log?,
        tracing: tracing?,
        limits: limits?,
        deadlines: deadlines?,
        files: top.named_files(),
    })
}

/// Values that must differ, with the lines that have them.
struct Claims<T>(Vec<(T, usize)>);

impl<T: PartialEq> Claims<T> {
    /// Notes it when `value` is claimed already, else claims it.
    fn claim(&mut self, value: T, field: &Field<'_>, remedy: &'static str) {
        match self.0.iter().find(|(claimed, _)| *claimed == value) {
            Some(&(_, first)) => field.refuse_repeated(first, remedy),
            None => self.0.push((value, field.line())),
        }
    }
}

/// The name that the table must have, which no other one of its kind may have.
fn unique_name(section: &Section<'_>, claims: &mut Claims<Name>, example: &'static str) -> Option<Name> {
    let field = section.required("name", example)?;
    let name = field.name()?;
    claims.claim(name.clone(), &field, "give it another name");
    Some(name)
}

fn listen_address(field: &Field<'_>) -> Option<SocketAddr> {
    let expected = "an IP address and a port such as `0.0.0.0:8080` or `[::]:8080`";
    field.text(expected, "write the address of an interface, or 0.0.0.0 for all", |text| text.parse().ok())
}

/// The admin listener's address and line.
fn admin(top: &Section<'_>) -> Option<(SocketAddr, usize)> {
    let section = top.section("admin", ADMIN_KEYS)?;
    match section.field("listen") {
        Some(field) => listen_address(&field).map(|address| (address, field.line())),
        None => Some((ranges::ADMIN_LISTEN, section.line())),
    }
}

fn nonzero(section: &Section<'_>, key: &str, range: Count) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(section.count(key, range)?).ok()?)
}

fn per_mille(section: &Section<'_>, key: &str, range: Count) -> Option<PerMille> {
    PerMille::new(u16::try_from(section.count(key, range)?).ok()?).ok()
}
