//! Reading `balancer.toml`: keys in, values or errors out.
//!
//! Each reader looks at all its keys before it gives up, so that every error is found in one pass.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::{net::SocketAddr, num::NonZeroU32, time::Duration};

use evenkeel_units::{ByteCount, PerMille};

use super::{
    AccessLog, Admin, Config, Deadlines, Ejection, HealthCheck, Limits, Listener, LogFormat, LogTarget, Mode,
    Policy, Pool, PoolIndex, PoolLimits, Probe, Retry, Server, ranges,
};
use crate::{
    Errors, Name, Weight,
    document::{self, Field, Section},
    range::{Count, Span},
    scalar::AbsolutePath,
};

const TOP_KEYS: &[&str] = &["admin", "listener", "pool", "access_log", "limits", "deadlines"];
const ADMIN_KEYS: &[&str] = &["listen"];
const LISTENER_KEYS: &[&str] = &["name", "bind", "mode", "pool"];
const POOL_KEYS: &[&str] =
    &["name", "policy", "server", "health_check", "ejection", "limits", "retry", "slow_start"];
const SERVER_KEYS: &[&str] = &["name", "address", "weight"];
const CHECK_KEYS: &[&str] = &["kind", "path", "status", "interval", "timeout", "rise", "fall"];
const EJECTION_KEYS: &[&str] = &["consecutive_failures", "base_time", "max_time", "max_share_per_mille"];
const POOL_LIMIT_KEYS: &[&str] = &["connections_per_server", "queue_length", "queue_deadline"];
const RETRY_KEYS: &[&str] = &["attempts", "budget_per_mille"];
const LOG_KEYS: &[&str] = &["path", "format"];
const LIMIT_KEYS: &[&str] =
    &["max_clients", "request_head_bytes", "response_head_bytes", "request_body_bytes"];
const DEADLINE_KEYS: &[&str] = &[
    "client_head",
    "client_body_idle",
    "client_write_idle",
    "keep_alive_idle",
    "connect",
    "server_head",
    "server_body_idle",
    "server_keep_idle",
    "tunnel_idle",
    "drain",
];

pub(super) fn config(file: &str, text: &str) -> Result<Config, Errors> {
    document::parse(file, text, TOP_KEYS, top)
}

fn top(top: &Section<'_>) -> Option<Config> {
    let admin = admin(top);
    let listeners = listeners(top, admin);
    let pools = pools(top, &listeners);
    let access_log = access_log(top);
    let limits = top.section("limits", LIMIT_KEYS).and_then(|section| limits(&section));
    let deadlines = top.section("deadlines", DEADLINE_KEYS).and_then(|section| deadlines(&section));
    Some(Config {
        listeners: resolve(listeners, &pools)?,
        admin: Admin { listen: admin?.0 },
        pools: pools.into_iter().map(|draft| draft.pool).collect::<Option<_>>()?,
        access_log: access_log?,
        limits: limits?,
        deadlines: deadlines?,
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

/// A listener whose pool is not resolved yet.
struct ListenerDraft<'a> {
    name: Option<Name>,
    bind: Option<SocketAddr>,
    mode: Option<Mode>,
    pool: Option<(Field<'a>, String)>,
}

fn listeners<'a>(top: &Section<'a>, admin: Option<(SocketAddr, usize)>) -> Vec<ListenerDraft<'a>> {
    let mut names = Claims(Vec::new());
    let mut addresses = Claims(admin.into_iter().filter(|(address, _)| address.port() != 0).collect());
    let sections = top.sections("listener", LISTENER_KEYS, ranges::MAX_LISTENERS, "[[listener]]");
    let draft = |section: Section<'a>| ListenerDraft {
        name: unique_name(&section, &mut names, "name = \"web\""),
        bind: bind(&section, &mut addresses),
        mode: mode(&section),
        pool: pool_name(&section),
    };
    sections.into_iter().map(draft).collect()
}

fn bind(section: &Section<'_>, claims: &mut Claims<SocketAddr>) -> Option<SocketAddr> {
    let field = section.required("bind", "bind = \"0.0.0.0:8080\"")?;
    let address = listen_address(&field)?;
    if address.port() != 0 {
        claims.claim(address, &field, "let each listen on a port of its own");
    }
    Some(address)
}

fn mode(section: &Section<'_>) -> Option<Mode> {
    let field = section.required("mode", "mode = \"http\"")?;
    let remedy = "write \"http\" for web traffic, \"tcp\" for anything else";
    field.text("\"http\" or \"tcp\"", remedy, |text| match text {
        "http" => Some(Mode::Http),
        "tcp" => Some(Mode::Tcp),
        _ => None,
    })
}

fn pool_name<'a>(section: &Section<'a>) -> Option<(Field<'a>, String)> {
    let field = section.required("pool", "pool = \"app\"")?;
    let name =
        field.text("the name of a pool", "write the `name` of a [[pool]]", |text| Some(text.to_owned()))?;
    Some((field, name))
}

/// Puts each listener to its pool; notes the pools that do not exist.
fn resolve(drafts: Vec<ListenerDraft<'_>>, pools: &[PoolDraft]) -> Option<Vec<Listener>> {
    let position = |name: &str| pools.iter().position(|pool| pool.label.as_deref() == Some(name));
    let resolved = drafts.into_iter().map(|draft| {
        let (field, name) = draft.pool?;
        let pool = position(&name);
        if pool.is_none() && pools.iter().all(|pool| pool.label.is_some()) {
            field.refuse_unresolved(pools.iter().filter_map(|pool| pool.label.clone()).collect());
        }
        Some(Listener { name: draft.name?, bind: draft.bind?, mode: draft.mode?, pool: PoolIndex(pool?) })
    });
    let resolved: Vec<_> = resolved.collect();
    resolved.into_iter().collect()
}

/// A pool with the text of its name, which listeners may use even when it is not a good name.
struct PoolDraft {
    label: Option<String>,
    pool: Option<Pool>,
}

fn pools(top: &Section<'_>, listeners: &[ListenerDraft<'_>]) -> Vec<PoolDraft> {
    let mut names = Claims(Vec::new());
    let sections = top.sections("pool", POOL_KEYS, ranges::MAX_POOLS, "[[pool]]");
    let draft = |section: Section<'_>| {
        let label = section.field("name").and_then(|field| field.as_text());
        let mode = mode_of(label.as_deref(), listeners);
        PoolDraft { pool: pool(&section, &mut names, mode), label }
    };
    sections.into_iter().map(draft).collect()
}

/// HTTP when there are listeners for the pool and all of them speak it.
fn mode_of(pool: Option<&str>, listeners: &[ListenerDraft<'_>]) -> Mode {
    let mut modes = listeners
        .iter()
        .filter(|draft| draft.pool.as_ref().map(|(_, name)| name.as_str()) == pool)
        .map(|draft| draft.mode.unwrap_or(Mode::Http))
        .peekable();
    let http = modes.peek().is_some() && modes.all(|mode| mode == Mode::Http);
    if http { Mode::Http } else { Mode::Tcp }
}

fn pool(section: &Section<'_>, names: &mut Claims<Name>, mode: Mode) -> Option<Pool> {
    let name = unique_name(section, names, "name = \"app\"");
    let policy = policy(section);
    let servers = servers(section);
    let health_check = section.section("health_check", CHECK_KEYS).and_then(|s| health_check(&s, mode));
    let ejection = section.section("ejection", EJECTION_KEYS).and_then(|s| ejection(&s));
    let limits = section.section("limits", POOL_LIMIT_KEYS).and_then(|s| pool_limits(&s));
    let retry = section.section("retry", RETRY_KEYS).and_then(|s| retry(&s));
    let slow_start = section.duration("slow_start", ranges::SLOW_START);
    Some(Pool {
        name: name?,
        policy: policy?,
        servers: servers?,
        health_check: health_check?,
        ejection: ejection?,
        limits: limits?,
        retry: retry?,
        slow_start: slow_start?,
    })
}

fn policy(section: &Section<'_>) -> Option<Policy> {
    let Some(field) = section.field("policy") else { return Some(Policy::LeastLoaded) };
    let remedy = match field.as_text().as_deref() {
        Some("peak-ewma" | "consistent-hash") => {
            "that policy comes with a later release; take \"least-loaded\""
        }
        Some(_) | None => "take \"least-loaded\" unless all requests cost the same",
    };
    field.text("\"round-robin\" or \"least-loaded\"", remedy, |text| match text {
        "round-robin" => Some(Policy::RoundRobin),
        "least-loaded" => Some(Policy::LeastLoaded),
        _ => None,
    })
}

fn servers(section: &Section<'_>) -> Option<Vec<Server>> {
    let mut names = Claims(Vec::new());
    let mut addresses = Claims(Vec::new());
    let sections = section.sections("server", SERVER_KEYS, ranges::MAX_SERVERS, "[[pool.server]]");
    let server = |section: Section<'_>| {
        let name = unique_name(&section, &mut names, "name = \"app1\"");
        let address = server_address(&section, &mut addresses);
        let weight = weight(&section);
        Some(Server { name: name?, address: address?, weight: weight? })
    };
    let servers: Vec<_> = sections.into_iter().map(server).collect();
    let servers: Option<Vec<_>> = servers.into_iter().collect();
    servers.filter(|servers| !servers.is_empty())
}

fn server_address(section: &Section<'_>, claims: &mut Claims<SocketAddr>) -> Option<SocketAddr> {
    let field = section.required("address", "address = \"10.0.0.11:80\"")?;
    let expected = "an IP address and a port such as `10.0.0.11:80`";
    let remedy =
        "names are not looked up, so that an outage of DNS is not one of the site: write the address";
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

fn health_check(section: &Section<'_>, mode: Mode) -> Option<HealthCheck> {
    let probe = probe(section, mode);
    let interval = section.duration("interval", ranges::CHECK_INTERVAL);
    let timeout = check_timeout(section, interval.unwrap_or(ranges::CHECK_INTERVAL.most));
    let rise = nonzero(section, "rise", ranges::CHECK_RISE);
    let fall = nonzero(section, "fall", ranges::CHECK_FALL);
    Some(HealthCheck { probe: probe?, interval: interval?, timeout: timeout?, rise: rise?, fall: fall? })
}

/// A check ends before the next one starts.
fn check_timeout(section: &Section<'_>, interval: Duration) -> Option<Duration> {
    let Some(field) = section.field("timeout") else {
        return Some(ranges::CHECK_TIMEOUT.default.min(interval));
    };
    field.duration(Span { most: interval, ..ranges::CHECK_TIMEOUT })
}

fn probe(section: &Section<'_>, mode: Mode) -> Option<Probe> {
    let kind = match section.field("kind") {
        None => Some(mode),
        Some(field) => {
            let remedy = "write \"http\" to ask for a page, \"tcp\" to only connect";
            field.text("\"http\" or \"tcp\"", remedy, |text| match text {
                "http" => Some(Mode::Http),
                "tcp" => Some(Mode::Tcp),
                _ => None,
            })
        }
    };
    let path = check_path(section, kind);
    let status = check_status(section, kind);
    match kind? {
        Mode::Tcp => path.and(status).map(|_| Probe::Tcp),
        Mode::Http => {
            let (least, most) = status?;
            Some(Probe::Http { path: path?, least, most })
        }
    }
}

/// Notes a key that only means something to a check of kind `http`.
fn only_for_http(field: &Field<'_>, kind: Option<Mode>) -> Option<()> {
    if kind != Some(Mode::Tcp) {
        return Some(());
    }
    field.refuse("no such key in a check of kind \"tcp\"", "remove it, or write kind = \"http\"");
    None
}

fn check_path(section: &Section<'_>, kind: Option<Mode>) -> Option<String> {
    let Some(field) = section.field("path") else { return Some("/".to_owned()) };
    only_for_http(&field, kind)?;
    let fits = |text: &&str| {
        text.starts_with('/')
            && text.len() <= MAX_CHECK_PATH_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let remedy = "write the path of a page that shows that the server works";
    field.text("a path such as `/health`, in ASCII without spaces", remedy, |text| {
        Some(text).filter(fits).map(str::to_owned)
    })
}

/// Longest path of a health check, in bytes: it must fit one packet with the rest of the request.
const MAX_CHECK_PATH_BYTES: usize = 1024;

fn check_status(section: &Section<'_>, kind: Option<Mode>) -> Option<(u16, u16)> {
    let Some(field) = section.field("status") else { return Some(ranges::CHECK_STATUS) };
    only_for_http(&field, kind)?;
    field.text("a status or a range such as `200` or `200-399`", "statuses are 100 to 599", |text| {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|status| (100..600).contains(status));
        number(least).zip(number(most)).filter(|(least, most)| least <= most)
    })
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

fn pool_limits(section: &Section<'_>) -> Option<PoolLimits> {
    let connections_per_server = nonzero(section, "connections_per_server", ranges::SERVER_CONNECTIONS);
    let queue_length = section.count("queue_length", ranges::QUEUE_LENGTH);
    let queue_deadline = section.duration("queue_deadline", ranges::QUEUE_DEADLINE);
    Some(PoolLimits {
        connections_per_server: connections_per_server?,
        queue_length: u32::try_from(queue_length?).ok()?,
        queue_deadline: queue_deadline?,
    })
}

fn retry(section: &Section<'_>) -> Option<Retry> {
    let attempts = section.count("attempts", ranges::RETRY_ATTEMPTS);
    let budget = per_mille(section, "budget_per_mille", ranges::RETRY_BUDGET);
    Some(Retry { attempts: u8::try_from(attempts?).ok()?, budget: budget? })
}

/// Where requests are logged; the inner `None` when the file does not ask for it.
fn access_log(top: &Section<'_>) -> Option<Option<AccessLog>> {
    let section = top.section("access_log", LOG_KEYS)?;
    if !section.is_present() {
        return Some(None);
    }
    let target = section.required("path", "path = \"-\"").and_then(|field| log_target(&field));
    let format = log_format(&section);
    Some(Some(AccessLog { target: target?, format: format? }))
}

fn log_target(field: &Field<'_>) -> Option<LogTarget> {
    let remedy = "write \"-\" for standard output, else the whole path of a file";
    field.text("`-` or an absolute path", remedy, |text| match text {
        "-" => Some(LogTarget::Stdout),
        path => AbsolutePath::parse(path).map(LogTarget::File),
    })
}

fn log_format(section: &Section<'_>) -> Option<LogFormat> {
    let Some(field) = section.field("format") else { return Some(LogFormat::Json) };
    field.text(
        "\"json\" or \"text\"",
        "write \"json\" for programs, \"text\" for people",
        |text| match text {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            _ => None,
        },
    )
}

fn limits(section: &Section<'_>) -> Option<Limits> {
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

fn deadlines(section: &Section<'_>) -> Option<Deadlines> {
    let client_head = section.duration("client_head", ranges::CLIENT_HEAD);
    let client_body_idle = section.duration("client_body_idle", ranges::CLIENT_BODY_IDLE);
    let client_write_idle = section.duration("client_write_idle", ranges::CLIENT_WRITE_IDLE);
    let keep_alive_idle = section.duration("keep_alive_idle", ranges::KEEP_ALIVE_IDLE);
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
        connect: connect?,
        server_head: server_head?,
        server_body_idle: server_body_idle?,
        server_keep_idle: server_keep_idle?,
        tunnel_idle: tunnel_idle?,
        drain: drain?,
    })
}

fn nonzero(section: &Section<'_>, key: &str, range: Count) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(section.count(key, range)?).ok()?)
}

fn per_mille(section: &Section<'_>, key: &str, range: Count) -> Option<PerMille> {
    PerMille::new(u16::try_from(section.count(key, range)?).ok()?).ok()
}
