//! The status page: what runs, as JSON.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use evenkeel_balance::{Failure, Standing, Verdict};
use evenkeel_config::balancer;
use evenkeel_units::Instant;
use serde::Serialize;

use crate::{
    admin::control::Running,
    latency::Latency,
    plan::{Plan, PlannedListener},
    pool::{UnservedTally, discovery::Discovered, ports::Towards},
    shared::{PoolShared, ServerShared},
    tls::report::{self, CertificateStatus},
};

/// What runs.
#[derive(Serialize)]
pub(crate) struct Status {
    version: String,
    uptime_seconds: u64,
    workers: usize,
    draining: bool,
    listeners: Vec<Listener>,
    pools: Vec<Pool>,
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
struct Listener {
    name: String,
    address: String,
    mode: &'static str,
    pool: String,
    connections: u64,
    connections_total: u64,
    responses: u64,
    responses_5xx: u64,
    /// What it shows to clients; only where it speaks TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateStatus>,
}

#[derive(Serialize)]
struct Pool {
    name: String,
    policy: &'static str,
    healthy: usize,
    /// Down to which rank, by priority and zone, servers are given requests, at the worker that goes furthest.
    rank_taken: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Discovery>,
    /// Requests that no server answered, by the last failure.
    unserved: BTreeMap<&'static str, u64>,
    /// Of these, those that a server failed, by why nobody else was asked after it.
    retries_ended: BTreeMap<&'static str, u64>,
    servers: Vec<Server>,
}

/// What DNS says of a pool.
#[derive(Serialize)]
struct Discovery {
    name: String,
    /// What the last lookup came to, in words.
    result: String,
    /// How long ago the last good answer came.
    answered_ago_ms: Option<u64>,
    /// For how long there has been no good answer.
    stale_for_ms: Option<u64>,
    failures: u64,
}

#[derive(Serialize)]
struct Server {
    name: String,
    address: String,
    /// `usable`, `ejected`, `down` or `draining`.
    state: &'static str,
    reason: String,
    weight: u16,
    /// Whether an operator gave it that weight, and not the file.
    weight_ordered: bool,
    requests: u64,
    active: u64,
    idle_connections: u64,
    retries: u64,
    hedges: u64,
    overtaken: u64,
    /// How long its answers take, as far as the last ones tell, at the worker where they take longest; 0 when unknown.
    latency_us: u64,
    /// Most requests that it is given at once, over all workers.
    limit: u64,
    /// Its rank by priority and zone; 0 is taken first.
    rank: u64,
    /// Workers that give requests to it.
    taken_by_workers: u64,
    failures: u64,
    local_failures: u64,
    /// Of each source the ports towards it.
    source_ports: Vec<SourcePorts>,
    /// Why the last TLS handshake that failed did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tls_fault: Option<String>,
    last_check: Option<Check>,
}

#[derive(Serialize)]
struct SourcePorts {
    /// Absent where the system chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Of open connections.
    open: u64,
    /// In TIME-WAIT, because we closed first.
    time_wait: u64,
    /// How many there are.
    all: u32,
    /// How often a connection found none.
    refused: u64,
}

#[derive(Serialize)]
struct Check {
    result: String,
    ago_ms: u64,
    took_ms: u64,
}

/// The page.
pub(crate) fn page(running: &Running) -> String {
    serde_json::to_string(&of(running)).expect("text and numbers have a form in JSON") + "\n"
}

/// What runs.
pub(crate) fn of(running: &Running) -> Status {
    let plan = running.plan();
    let now = running.clock.now();
    Status {
        version: running.version.to_owned(),
        uptime_seconds: now.since(Instant::START).as_secs(),
        workers: running.workers,
        draining: running.draining.load(Relaxed),
        listeners: plan.listeners.iter().map(|listener| self::listener(listener, &plan.pools)).collect(),
        pools: (0..plan.pools.len()).map(|at| pool(&plan, at, now)).collect(),
        totals: totals(&plan.listeners),
    }
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

fn listener(planned: &PlannedListener, pools: &[Arc<PoolShared>]) -> Listener {
    let shared = &planned.shared;
    Listener {
        name: shared.name.clone(),
        address: shared.address.to_string(),
        mode: planned.mode.as_str(),
        pool: pools[planned.pool.position()].name.clone(),
        connections: shared.sum(|tally| &tally.active),
        connections_total: shared.sum(|tally| &tally.accepted),
        responses: (0..5).map(|class| shared.sum(|tally| &tally.answers[class])).sum(),
        responses_5xx: shared.sum(|tally| &tally.answers[4]),
        certificates: planned.tls.as_deref().map(report::certificates).unwrap_or_default(),
    }
}

fn pool(plan: &Plan, at: usize, now: Instant) -> Pool {
    let pool = &plan.pools[at];
    let servers = plan.config.pools()[at].servers.iter().zip(&pool.servers);
    let servers: Vec<_> = servers.zip(&pool.ways).map(|(both, ways)| server(both, ways, now)).collect();
    let healthy = servers.iter().filter(|server| server.state == Standing::Usable.as_str()).count();
    let taken = servers.iter().filter(|server| server.taken_by_workers > 0);
    Pool {
        name: pool.name.clone(),
        policy: plan.layouts[at].settings().policy.as_str(),
        healthy,
        rank_taken: taken.map(|server| server.rank).max().unwrap_or(0),
        discovery: plan.discovered[at].as_ref().map(|discovered| discovery(discovered, now)),
        unserved: counted(UnservedTally::causes(&pool.unserved)),
        retries_ended: counted(UnservedTally::ends(&pool.unserved)),
        servers,
    }
}

/// What there is of each, without what there is not.
fn counted(counts: impl Iterator<Item = (&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    counts.filter(|&(_, count)| count > 0).collect()
}

fn discovery(discovered: &Discovered, now: Instant) -> Discovery {
    let state = discovered.state();
    let ago = |then: Option<Instant>| then.map(|then| milliseconds(now.since(then)));
    Discovery {
        name: discovered.settings.name.as_str().to_owned(),
        result: state.result,
        answered_ago_ms: ago(state.answered),
        stale_for_ms: ago(state.stale_since),
        failures: state.failures,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn server(
    (told, server): (&balancer::Server, &Arc<ServerShared>),
    ways: &[Arc<Towards>],
    now: Instant,
) -> Server {
    let last_check = server.last_check.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ejected = server.tallies.iter().filter(|tally| tally.standing() == Standing::Ejected).count();
    let checked = last_check.as_ref().map_or("not checked yet", |check| &check.result);
    let (state, reason) = if server.is_draining() {
        (Standing::Draining.as_str(), "an operator lets it finish what it has".to_owned())
    } else if server.verdict() == Verdict::Down {
        (Standing::Down.as_str(), format!("health check: {checked}"))
    } else if ejected > 0 {
        let reason = format!("too many failures in a row at {ejected} of {} workers", server.tallies.len());
        (Standing::Ejected.as_str(), reason)
    } else {
        (Standing::Usable.as_str(), format!("health check: {checked}"))
    };
    Server {
        name: server.name.clone(),
        address: server.address.to_string(),
        state,
        reason,
        weight: server.ordered_weight().unwrap_or(told.weight).as_u16(),
        weight_ordered: server.ordered_weight().is_some(),
        requests: server.sum(|tally| &tally.requests),
        active: server.sum(|tally| &tally.active),
        idle_connections: server.sum(|tally| &tally.idle),
        retries: server.sum(|tally| &tally.retries),
        hedges: server.sum(|tally| &tally.hedges),
        overtaken: server.sum(|tally| &tally.overtaken),
        latency_us: server.most(|tally| &tally.latency_us),
        limit: server.sum(|tally| &tally.limit),
        rank: server.most(|tally| &tally.rank),
        taken_by_workers: server.sum(|tally| &tally.taken),
        failures: (0..Failure::ALL.len()).map(|at| server.sum(|tally| &tally.failures[at])).sum(),
        local_failures: server.sum(|tally| &tally.local_failures),
        source_ports: ways.iter().map(|towards| source_ports(towards)).collect(),
        last_tls_fault: server.last_tls_fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        last_check: last_check.map(|check| Check {
            result: check.result,
            ago_ms: milliseconds(now.since(check.at)),
            took_ms: milliseconds(check.took),
        }),
    }
}

fn source_ports(towards: &Towards) -> SourcePorts {
    SourcePorts {
        source: towards.source.map(|source| source.to_string()),
        open: towards.open(),
        time_wait: towards.waiting(),
        all: towards.all(),
        refused: towards.refused(),
    }
}
