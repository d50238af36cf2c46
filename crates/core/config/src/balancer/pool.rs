//! `[[pool]]`: servers that give the same answers, and how the work is shared among them.
//!
//! Invariants: a pool has at least one server, or asks DNS for them; names and addresses differ.

use alloc::{string::String, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use evenkeel_units::PerMille;

use super::{
    Claims, HealthCheck, Mode, PoolTls, ProxySent,
    check::{self, CHECK_KEYS},
    discovery::{self, DISCOVERY_KEYS, Discovery},
    hedge::{self, HEDGE_KEYS, Hedge},
    listener::ListenerDraft,
    nonzero, per_mille,
    policy::{self, FAILOVER_KEYS, Failover, Policy, Priority},
    proxy_protocol, ranges,
    route::RouteDraft,
    sni::SniDraft,
    source,
    sticky::{self, Sticky},
    tls::{POOL_TLS_KEYS, pool_tls},
    unique_name,
};
use crate::{
    Name, Weight,
    document::{Field, Section},
    range::{Count, Span},
};

/// The place of a pool in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub(super) usize);

impl PoolIndex {
    /// The position in [`Config::pools`].
    #[must_use]
    pub const fn position(self) -> usize {
        self.0
    }
}

/// Servers that answer alike, and how the work is shared among them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// Who is next.
    pub policy: Policy,
    /// The zone whose servers are taken first.
    pub zone: Option<Name>,
    /// When servers of a lower rank join.
    pub failover: Failover,
    /// What its servers speak; means nothing to listeners in mode `tcp`.
    pub protocol: Protocol,
    /// The servers, in the order of the file: 1 to 1,024, with names and addresses of their own. Where DNS is asked
    /// there may be none yet.
    pub servers: Vec<Server>,
    /// The addresses of this box from which connections to the servers go, at most 16; none when the system chooses.
    pub sources: Vec<IpAddr>,
    /// How servers are asked whether they are well.
    pub health_check: HealthCheck,
    /// When a server that fails requests is left out for a while.
    pub ejection: Ejection,
    /// What a server is given at once, and how much may wait.
    pub limits: PoolLimits,
    /// How often a failed request is tried elsewhere.
    pub retry: Retry,
    /// Which servers DNS is asked for; `None` for none.
    pub discovery: Option<Discovery>,
    /// Whether a request that takes long is sent to a second server.
    pub hedge: Hedge,
    /// How clients come back to their server; `None` when they need not. Means nothing to listeners in mode `tcp`.
    pub sticky: Option<Sticky>,
    /// How servers are told whom a connection is from; `None` when they are not.
    pub proxy_protocol: Option<ProxySent>,
    /// How long a server that has come back takes to its full share; zero for at once.
    pub slow_start: Duration,
    /// What is encrypted with its servers; `None` for nothing.
    pub tls: Option<PoolTls>,
}

/// What servers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: from the first byte, or chosen in the TLS handshake.
    Http2,
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
    /// How soon it is taken.
    pub priority: Priority,
    /// The zone in which it stands.
    pub zone: Option<Name>,
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
    /// Requests (HTTP), connections (TCP) or sessions (UDP) that a server has at once, over all workers.
    pub connections_per_server: NonZeroU32,
    /// Whether a server that is slow beside the others is given less.
    pub learned: Learned,
    /// Requests that may wait for their clients, to send or to read, without counting in `connections_per_server`, over
    /// all servers and workers; 0 for none.
    pub stalled_requests: u32,
    /// Requests or connections that may wait for a server, over all workers; 0 for none.
    pub queue_length: u32,
    /// How long each may wait.
    pub queue_deadline: Duration,
}

/// Whether the limit of a server is learned from how it answers beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Learned {
    /// Yes; `connections_per_server` is the most.
    On,
    /// No: it is `connections_per_server`.
    Off,
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

const POOL_KEYS: &[&str] = &[
    "name",
    "policy",
    "hash",
    "load_bound_per_mille",
    "zone",
    "protocol",
    "server",
    "source",
    "discovery",
    "failover",
    "health_check",
    "ejection",
    "limits",
    "retry",
    "hedge",
    "sticky",
    "slow_start",
    "proxy_protocol",
    "proxy_fields",
    "tls",
];

const SERVER_KEYS: &[&str] = &["name", "address", "weight", "backup", "priority", "zone"];

const EJECTION_KEYS: &[&str] = &["consecutive_failures", "base_time", "max_time", "max_share_per_mille"];

const POOL_LIMIT_KEYS: &[&str] =
    &["connections_per_server", "learned", "stalled_requests", "queue_length", "queue_deadline"];

const RETRY_KEYS: &[&str] = &["attempts", "budget_per_mille"];

/// A pool with the text of its name, which listeners may use even when it is not a good name.
pub(super) struct PoolDraft {
    pub(super) label: Option<String>,
    pub(super) pool: Option<Pool>,
}

pub(super) fn pools(
    top: &Section<'_>,
    listeners: &[ListenerDraft<'_>],
    routes: &[RouteDraft<'_>],
) -> Vec<PoolDraft> {
    let mut names = Claims(Vec::new());
    let sections = top.sections("pool", POOL_KEYS, ranges::MAX_POOLS, "[[pool]]");
    let draft = |section: Section<'_>| {
        let label = section.field("name").and_then(|field| field.as_text());
        let mode = mode_of(label.as_deref(), listeners, routes);
        PoolDraft { pool: pool(&section, &mut names, mode), label }
    };
    sections.into_iter().map(draft).collect()
}

/// What all listeners and routes for the pool speak; TCP where they differ, for that says more of a server than a
/// datagram.
fn mode_of(pool: Option<&str>, listeners: &[ListenerDraft<'_>], routes: &[RouteDraft<'_>]) -> Mode {
    let routed = routes.iter().flat_map(RouteDraft::pool_names).any(|name| Some(name.as_str()) == pool);
    let rules = listeners.iter().filter_map(|draft| draft.sni.as_ref()).flatten();
    let passed = rules.filter_map(SniDraft::pool_name).any(|name| Some(name.as_str()) == pool);
    let mut modes = listeners
        .iter()
        .filter(|draft| draft.pool.as_ref().map(|(_, name)| name.as_str()) == pool)
        .map(|draft| draft.mode.unwrap_or(Mode::Http))
        .chain(routed.then_some(Mode::Http))
        .chain(passed.then_some(Mode::Tcp));
    match modes.next() {
        Some(first) if modes.all(|mode| mode == first) => first,
        Some(_) | None => Mode::Tcp,
    }
}

fn pool(section: &Section<'_>, names: &mut Claims<Name>, mode: Mode) -> Option<Pool> {
    let name = unique_name(section, names, "name = \"app\"");
    let policy = policy::policy(section);
    let zone = zone(section);
    let failover = section.section("failover", FAILOVER_KEYS).and_then(|s| policy::failover(&s));
    let protocol = protocol(section);
    let discovery = section.optional_section("discovery", DISCOVERY_KEYS, discovery::discovery);
    let servers = servers(section);
    let families = (servers.as_deref().unwrap_or_default(), discovery.as_ref().and_then(Option::as_ref));
    let known = servers.is_some() && discovery.is_some();
    // Only where the servers are known can be said what reaches them.
    let sources = if known { source::sources(section, mode, families) } else { unread(section, "source") };
    let health_check =
        section.section("health_check", CHECK_KEYS).and_then(|s| check::health_check(&s, mode));
    let ejection = section.section("ejection", EJECTION_KEYS).and_then(|s| ejection(&s));
    let limits = section.section("limits", POOL_LIMIT_KEYS).and_then(|s| pool_limits(&s, mode));
    let retry = section.section("retry", RETRY_KEYS).and_then(|s| retry(&s));
    let tls = section.optional_section("tls", POOL_TLS_KEYS, pool_tls);
    let hedge = section.section("hedge", HEDGE_KEYS).and_then(|s| hedge::hedge(&s));
    let sticky = sticky::pool(section, mode, hedge.as_ref());
    let proxy_protocol = proxy_protocol::pool(section, mode);
    let slow_start = section.duration("slow_start", ranges::SLOW_START);
    Some(Pool {
        name: name?,
        policy: policy?,
        zone: zone?,
        failover: failover?,
        protocol: protocol?,
        servers: servers?,
        sources: sources?,
        health_check: health_check?,
        ejection: ejection?,
        limits: limits?,
        retry: retry?,
        discovery: discovery?,
        hedge: hedge?,
        sticky: sticky?,
        slow_start: slow_start?,
        proxy_protocol: proxy_protocol?,
        tls: tls?,
    })
}

/// Leaves a key unread that depends on others which have errors already.
fn unread<T>(section: &Section<'_>, key: &str) -> Option<Vec<T>> {
    section.field(key).map_or_else(|| Some(Vec::new()), |_| None)
}

/// The zone that a pool prefers or a server stands in; the inner `None` when the file names none.
fn zone(section: &Section<'_>) -> Option<Option<Name>> {
    section.optional("zone", Field::name)
}

fn protocol(section: &Section<'_>) -> Option<Protocol> {
    let Some(field) = section.field("protocol") else { return Some(Protocol::Http1) };
    if field.as_text().as_deref() == Some("http2") && section.field("proxy_protocol").is_some() {
        field.refuse(
            "\"http1\" beside `proxy_protocol`",
            "a connection of HTTP/2 has requests of many clients: remove one",
        );
        return None;
    }
    let remedy = "write \"http2\" for servers that speak it, such as those of gRPC";
    field.text("\"http1\" or \"http2\"", remedy, |text| match text {
        "http1" => Some(Protocol::Http1),
        "http2" => Some(Protocol::Http2),
        _ => None,
    })
}

fn servers(section: &Section<'_>) -> Option<Vec<Server>> {
    let mut names = Claims(Vec::new());
    let mut addresses = Claims(Vec::new());
    let may_be_empty = section.field("discovery").is_some();
    let sections = if may_be_empty {
        section.tables("server", SERVER_KEYS, ranges::MAX_SERVERS)
    } else {
        section.sections("server", SERVER_KEYS, ranges::MAX_SERVERS, "[[pool.server]]")
    };
    let server = |section: Section<'_>| {
        let name = unique_name(&section, &mut names, "name = \"app1\"");
        let address = server_address(&section, &mut addresses);
        let weight = weight(&section);
        let (priority, zone) = (policy::priority(&section), zone(&section));
        Some(Server { name: name?, address: address?, weight: weight?, priority: priority?, zone: zone? })
    };
    let servers: Vec<_> = sections.into_iter().map(server).collect();
    let servers: Option<Vec<_>> = servers.into_iter().collect();
    servers.filter(|servers| may_be_empty || !servers.is_empty())
}

fn server_address(section: &Section<'_>, claims: &mut Claims<SocketAddr>) -> Option<SocketAddr> {
    let field = section.required("address", "address = \"10.0.0.11:80\"")?;
    let expected = "an IP address and a port such as `10.0.0.11:80`";
    let remedy = "write the address; names are looked up only where `[pool.discovery]` says so";
    let reachable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
    let address = field.text(expected, remedy, |text| text.parse().ok().filter(reachable))?;
    claims.claim(address, &field, "list each server once; a larger share is a larger `weight`");
    Some(address)
}

fn weight(section: &Section<'_>) -> Option<Weight> {
    let Some(field) = section.field("weight") else { return Some(Weight::ONE) };
    let range = Count::new(1, 1, Weight::MOST as u64);
    Weight::new(field.count(range)?)
}

fn ejection(section: &Section<'_>) -> Option<Ejection> {
    let consecutive_failures = nonzero(section, "consecutive_failures", ranges::EJECTION_FAILURES);
    let base_time = section.duration("base_time", ranges::EJECTION_BASE);
    let least = base_time.unwrap_or(ranges::EJECTION_MOST.least);
    let max_time = match section.field("max_time") {
        None => Some(ranges::EJECTION_MOST.default.max(least)),
        Some(field) => field.duration(Span { least, ..ranges::EJECTION_MOST }),
    };
    let max_share = per_mille(section, "max_share_per_mille", ranges::EJECTION_SHARE);
    Some(Ejection {
        consecutive_failures: consecutive_failures?,
        base_time: base_time?,
        max_time: max_time?,
        max_share: max_share?,
    })
}

fn pool_limits(section: &Section<'_>, mode: Mode) -> Option<PoolLimits> {
    let range = match mode {
        Mode::Http | Mode::Tcp => ranges::SERVER_CONNECTIONS,
        Mode::Udp => ranges::SERVER_SESSIONS,
    };
    let connections_per_server = nonzero(section, "connections_per_server", range);
    let learned = match section.field("learned") {
        None => Some(Learned::On),
        Some(field) => field.flag().map(|on| if on { Learned::On } else { Learned::Off }),
    };
    let stalled_requests = section.count("stalled_requests", ranges::STALLED_REQUESTS);
    let queue_length = section.count("queue_length", ranges::QUEUE_LENGTH);
    let queue_deadline = section.duration("queue_deadline", ranges::QUEUE_DEADLINE);
    Some(PoolLimits {
        connections_per_server: connections_per_server?,
        learned: learned?,
        stalled_requests: u32::try_from(stalled_requests?).ok()?,
        queue_length: u32::try_from(queue_length?).ok()?,
        queue_deadline: queue_deadline?,
    })
}

fn retry(section: &Section<'_>) -> Option<Retry> {
    let attempts = section.count("attempts", ranges::RETRY_ATTEMPTS);
    let budget = per_mille(section, "budget_per_mille", ranges::RETRY_BUDGET);
    Some(Retry { attempts: u8::try_from(attempts?).ok()?, budget: budget? })
}
