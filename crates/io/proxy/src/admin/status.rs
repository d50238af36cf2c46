//! The status page: what runs, as JSON.

use std::{
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use evenkeel_balance::{Failure, Standing, Verdict};
use evenkeel_units::Instant;
use serde::Serialize;

use crate::{
    admin::control::Running,
    latency::Latency,
    plan::PlannedListener,
    shared::{PoolShared, ServerShared},
};

#[derive(Serialize)]
struct Status<'a> {
    version: &'a str,
    uptime_seconds: u64,
    workers: usize,
    draining: bool,
    listeners: Vec<Listener<'a>>,
    pools: Vec<Pool<'a>>,
    totals: Totals,
}

/// Over all listeners, since the start.
#[derive(Serialize)]
struct Totals {
    requests: u64,
    server_errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    median_us: Option<u64>,
}

#[derive(Serialize)]
struct Listener<'a> {
    name: &'a str,
    address: String,
    mode: &'static str,
    pool: &'a str,
    connections: u64,
    connections_total: u64,
    responses: u64,
    responses_5xx: u64,
}

#[derive(Serialize)]
struct Pool<'a> {
    name: &'a str,
    healthy: usize,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    address: String,
    /// `usable`, `ejected` or `down`.
    state: &'static str,
    reason: String,
    requests: u64,
    active: u64,
    idle_connections: u64,
    retries: u64,
    failures: u64,
    local_failures: u64,
    /// Why the last TLS handshake that failed did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tls_fault: Option<String>,
    last_check: Option<Check>,
}

#[derive(Serialize)]
struct Check {
    result: String,
    ago_ms: u64,
    took_ms: u64,
}

/// The page.
pub(crate) fn page(running: &Running) -> String {
    let plan = running.plan();
    let now = running.clock.now();
    let status = Status {
        version: running.version,
        uptime_seconds: now.since(Instant::START).as_secs(),
        workers: running.workers,
        draining: running.draining.load(Relaxed),
        listeners: plan.listeners.iter().map(|listener| self::listener(listener, &plan.pools)).collect(),
        pools: plan.pools.iter().map(|pool| self::pool(pool, now)).collect(),
        totals: totals(&plan.listeners),
    };
    serde_json::to_string(&status).expect("text and numbers have a form in JSON") + "\n"
}

fn totals(listeners: &[PlannedListener]) -> Totals {
    let tallies = listeners.iter().flat_map(|listener| listener.shared.tallies.iter());
    let answers = |class: usize| tallies.clone().map(|tally| tally.answers[class].value()).sum::<u64>();
    Totals {
        requests: (0..5).map(answers).sum(),
        server_errors: answers(4),
        median_us: Latency::median_us(&tallies.clone().map(|tally| &tally.took)),
    }
}

fn listener<'a>(planned: &'a PlannedListener, pools: &'a [std::sync::Arc<PoolShared>]) -> Listener<'a> {
    let shared = &planned.shared;
    Listener {
        name: &shared.name,
        address: shared.address.to_string(),
        mode: match planned.mode {
            evenkeel_config::balancer::Mode::Http => "http",
            evenkeel_config::balancer::Mode::Tcp => "tcp",
        },
        pool: &pools[planned.pool.position()].name,
        connections: shared.sum(|tally| &tally.active),
        connections_total: shared.sum(|tally| &tally.accepted),
        responses: (0..5).map(|class| shared.sum(|tally| &tally.answers[class])).sum(),
        responses_5xx: shared.sum(|tally| &tally.answers[4]),
    }
}

fn pool(pool: &PoolShared, now: Instant) -> Pool<'_> {
    let servers: Vec<_> = pool.servers.iter().map(|server| self::server(server, now)).collect();
    let healthy = servers.iter().filter(|server| server.state == Standing::Usable.as_str()).count();
    Pool { name: &pool.name, healthy, servers }
}

fn server(server: &ServerShared, now: Instant) -> Server<'_> {
    let last_check = server.last_check.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ejected = server.tallies.iter().filter(|tally| tally.standing() == Standing::Ejected).count();
    let checked = last_check.as_ref().map_or("not checked yet", |check| &check.result);
    let (state, reason) = if server.verdict() == Verdict::Down {
        (Standing::Down.as_str(), format!("health check: {checked}"))
    } else if ejected > 0 {
        let reason = format!("too many failures in a row at {ejected} of {} workers", server.tallies.len());
        (Standing::Ejected.as_str(), reason)
    } else {
        (Standing::Usable.as_str(), format!("health check: {checked}"))
    };
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Server {
        name: &server.name,
        address: server.address.to_string(),
        state,
        reason,
        requests: server.sum(|tally| &tally.requests),
        active: server.sum(|tally| &tally.active),
        idle_connections: server.sum(|tally| &tally.idle),
        retries: server.sum(|tally| &tally.retries),
        failures: (0..Failure::ALL.len()).map(|at| server.sum(|tally| &tally.failures[at])).sum(),
        local_failures: server.sum(|tally| &tally.local_failures),
        last_tls_fault: server.last_tls_fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        last_check: last_check.map(|check| Check {
            result: check.result,
            ago_ms: milliseconds(now.since(check.at)),
            took_ms: milliseconds(check.took),
        }),
    }
}
