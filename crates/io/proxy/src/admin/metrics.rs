//! The page of metrics, in the text form of Prometheus.

use std::sync::atomic::Ordering::Relaxed;

use evenkeel_balance::{Failure, Standing, Verdict};
use evenkeel_telemetry::{Exposition, Family};

use crate::{
    admin::control::Running,
    plan::Plan,
    shared::{Count, OWN_STATUSES, ServerTally},
};

const UP: Family = Family::gauge("evenkeel_up", "1 while the data plane takes clients, 0 while it drains.");
const UPTIME: Family = Family::gauge("evenkeel_uptime_seconds", "How long the data plane has run.");
const ACCEPTED: Family = Family::counter("evenkeel_client_connections_total", "Client connections accepted.");
const CLIENTS: Family = Family::gauge("evenkeel_client_connections", "Client connections open.");
const RESTING: Family = Family::gauge(
    "evenkeel_client_connections_resting",
    "Client connections between two requests that hold no task and no buffer.",
);
const ANSWERS: Family =
    Family::counter("evenkeel_responses_total", "Answers to clients, by the first digit of the status.");
const OWN: Family = Family::counter("evenkeel_own_responses_total", "Answers given without a server.");
const ACCEPT_ERRORS: Family =
    Family::counter("evenkeel_accept_errors_total", "Clients that could not be accepted.");
const SERVER_REQUESTS: Family =
    Family::counter("evenkeel_server_requests_total", "Requests or connections given to a server.");
const SERVER_ACTIVE: Family = Family::gauge("evenkeel_server_active", "Requests under way at a server.");
const SERVER_IDLE: Family =
    Family::gauge("evenkeel_server_idle_connections", "Connections kept for the next request.");
const SERVER_CONNECTS: Family =
    Family::counter("evenkeel_server_connects_total", "Connections attempted to a server.");
const SERVER_RETRIES: Family =
    Family::counter("evenkeel_server_retries_total", "Requests tried again after this server failed them.");
const SERVER_HEDGES: Family = Family::counter(
    "evenkeel_server_hedges_total",
    "Requests also sent to this server because another one took long.",
);
const SERVER_OVERTAKEN: Family = Family::counter(
    "evenkeel_server_overtaken_total",
    "Hedged requests that another server answered before this one.",
);
const SERVER_FAILURES: Family = Family::counter("evenkeel_server_failures_total", "Failures of a server.");
const SERVER_LOCAL: Family = Family::counter(
    "evenkeel_server_local_failures_total",
    "Requests that failed for want of ports, descriptors or memory on this side.",
);
const SERVER_CHECK: Family =
    Family::gauge("evenkeel_server_check_up", "1 while the health checks of a server pass.");
const SERVER_EJECTED: Family =
    Family::gauge("evenkeel_server_ejected_workers", "Workers that leave a server out for its failures.");
const LOG_DROPPED: Family =
    Family::counter("evenkeel_access_log_dropped_total", "Lines of the access log that were dropped.");

/// The page.
pub(crate) fn page(running: &Running) -> String {
    let plan = running.plan();
    let mut out = Exposition::new();
    let draining = running.draining.load(Relaxed);
    out.family(UP).sample(&[], !draining);
    out.family(UPTIME).sample(&[], running.clock.now().since(evenkeel_units::Instant::START));
    listeners(&plan, &mut out);
    crate::tls::report::metrics(&plan, &mut out);
    servers(&plan, &mut out);
    let dropped = plan.access_log.as_ref().map_or(0, crate::access_log::AccessLog::dropped);
    out.family(LOG_DROPPED).sample(&[], dropped);
    out.finish()
}

fn listeners(plan: &Plan, out: &mut Exposition) {
    let listeners = || plan.listeners.iter().map(|planned| &planned.shared);
    let mut family = out.family(ACCEPTED);
    for listener in listeners() {
        family.sample(&[("listener", &listener.name)], listener.sum(|tally| &tally.accepted));
    }
    let mut family = out.family(CLIENTS);
    for listener in listeners() {
        family.sample(&[("listener", &listener.name)], listener.sum(|tally| &tally.active));
    }
    let mut family = out.family(RESTING);
    for listener in listeners() {
        family.sample(&[("listener", &listener.name)], listener.sum(|tally| &tally.resting));
    }
    let mut family = out.family(ANSWERS);
    for listener in listeners() {
        for (class, name) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            let labels = [("listener", listener.name.as_str()), ("status", name)];
            family.sample(&labels, listener.sum(|tally| &tally.answers[class]));
        }
    }
    let mut family = out.family(OWN);
    for listener in listeners() {
        for (position, status) in OWN_STATUSES.iter().enumerate() {
            let labels = [("listener", listener.name.as_str()), ("status", &status.to_string())];
            family.sample(&labels, listener.sum(|tally| &tally.own[position]));
        }
    }
    let mut family = out.family(ACCEPT_ERRORS);
    for listener in listeners() {
        family.sample(&[("listener", &listener.name)], listener.sum(|tally| &tally.accept_errors));
    }
}

/// What is counted at a server.
type Counted = fn(&ServerTally) -> &Count;

fn servers(plan: &Plan, out: &mut Exposition) {
    let counted: [(Family, Counted); 8] = [
        (SERVER_REQUESTS, |tally| &tally.requests),
        (SERVER_ACTIVE, |tally| &tally.active),
        (SERVER_IDLE, |tally| &tally.idle),
        (SERVER_CONNECTS, |tally| &tally.connects),
        (SERVER_RETRIES, |tally| &tally.retries),
        (SERVER_HEDGES, |tally| &tally.hedges),
        (SERVER_OVERTAKEN, |tally| &tally.overtaken),
        (SERVER_LOCAL, |tally| &tally.local_failures),
    ];
    let servers = || plan.pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
    for (family, counter) in counted {
        let mut family = out.family(family);
        for (pool, server) in servers() {
            family.sample(&[("pool", &pool.name), ("server", &server.name)], server.sum(counter));
        }
    }
    let mut family = out.family(SERVER_FAILURES);
    for (pool, server) in servers() {
        for (position, failure) in Failure::ALL.iter().enumerate() {
            let labels =
                [("pool", pool.name.as_str()), ("server", &server.name), ("reason", failure.as_str())];
            family.sample(&labels, server.sum(|tally| &tally.failures[position]));
        }
    }
    let mut family = out.family(SERVER_CHECK);
    for (pool, server) in servers() {
        let labels = [("pool", pool.name.as_str()), ("server", &server.name)];
        family.sample(&labels, server.verdict() == Verdict::Up);
    }
    let mut family = out.family(SERVER_EJECTED);
    for (pool, server) in servers() {
        let ejected = server.tallies.iter().filter(|tally| tally.standing() == Standing::Ejected).count();
        family.sample(&[("pool", &pool.name), ("server", &server.name)], ejected as u64);
    }
}
