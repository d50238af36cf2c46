//! The page of metrics, in the text form of Prometheus or of OpenMetrics.
//!
//! Invariant: what a label says comes from the configuration or from a list in this program, never from a request, so
//! the number of samples has a bound: for each of 64 listeners and each server some tens.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use evenkeel_balance::{Failure, Standing, Verdict};
use evenkeel_telemetry::{Exposition, Family, Form};

use crate::{
    admin::control::Running,
    latency::Latency,
    plan::Plan,
    pool::{UnservedTally, ports::Towards},
    proxied::Refused,
    shared::{Count, Dropped, ListenerTally, OWN_STATUSES, ServerTally, Stuck},
    trace::{Lost, Traces},
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
const TOOK: Family = Family::histogram(
    "evenkeel_request_duration_seconds",
    "From the first byte of a request to the last of its answer.",
);
const BUILD: Family = Family::gauge("evenkeel_build_info", "Always 1; the label has the version.");
const OWN: Family = Family::counter("evenkeel_own_responses_total", "Answers given without a server.");
const ACCEPT_ERRORS: Family =
    Family::counter("evenkeel_accept_errors_total", "Clients that could not be accepted.");
const SOURCE_REFUSED: Family = Family::counter(
    "evenkeel_source_limit_refused_total",
    "Connections refused because their source had as many as it may have.",
);
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
const SERVER_CUT_STALLED: Family = Family::counter(
    "evenkeel_server_cut_stalled_total",
    "Requests cut off because their clients stood still while others waited for a place.",
);
const SERVER_LIMIT: Family =
    Family::gauge("evenkeel_server_limit", "Most requests that a server is given at once, over all workers.");
const SERVER_TAKEN: Family = Family::gauge(
    "evenkeel_server_taken_workers",
    "Workers that give requests to a server, which may also stand by.",
);
const SERVER_LATENCY: Family = Family::gauge(
    "evenkeel_server_latency_seconds",
    "How long a server's answers take, as far as the last ones tell; 0 when unknown.",
);
const DISCOVERY_STALE: Family = Family::gauge(
    "evenkeel_discovery_stale_seconds",
    "For how long DNS has given no good answer for a pool; 0 while it does.",
);
const DISCOVERY_FAILURES: Family = Family::counter(
    "evenkeel_discovery_failures_total",
    "Lookups of a pool's servers without a good answer.",
);
const SERVER_FAILURES: Family = Family::counter("evenkeel_server_failures_total", "Failures of a server.");
const SERVER_STICKY: Family = Family::counter(
    "evenkeel_server_sticky_requests_total",
    "Requests given to a server of a sticky pool, by whether their client came back to it.",
);
const SERVER_LOCAL: Family = Family::counter(
    "evenkeel_server_local_failures_total",
    "Requests that failed for want of ports, descriptors or memory on this side.",
);
const SERVER_CHECK: Family =
    Family::gauge("evenkeel_server_check_up", "1 while the health checks of a server pass.");
const SERVER_DRAINING: Family =
    Family::gauge("evenkeel_server_draining", "1 while an operator lets a server finish what it has.");
const SERVER_WEIGHT: Family =
    Family::gauge("evenkeel_server_weight", "The weight of a server, by the file or by an operator.");
const SERVER_EJECTED: Family =
    Family::gauge("evenkeel_server_ejected_workers", "Workers that leave a server out for its failures.");
const SOURCE_PORTS: Family = Family::gauge(
    "evenkeel_server_source_ports",
    "Source ports that there are towards a server, over all addresses that connections to it go from.",
);
const SOURCE_PORTS_OPEN: Family =
    Family::gauge("evenkeel_server_source_ports_open", "Source ports of open connections to a server.");
const SOURCE_PORTS_WAITING: Family = Family::gauge(
    "evenkeel_server_source_ports_time_wait",
    "Source ports towards a server that are in TIME-WAIT, because we closed first.",
);
const SOURCE_PORTS_REFUSED: Family = Family::counter(
    "evenkeel_server_source_ports_refused_total",
    "Connections to a server that found no source port and had to wait.",
);
const UNSERVED: Family = Family::counter(
    "evenkeel_unserved_requests_total",
    "Requests and connections that no server of a pool answered, by the last failure.",
);
const UNSERVED_RETRIES: Family = Family::counter(
    "evenkeel_unserved_retries_ended_total",
    "Of the unserved those that a server failed, by why nobody else was asked after it.",
);
const LOG_DROPPED: Family =
    Family::counter("evenkeel_access_log_dropped_total", "Lines of the access log that were dropped.");

const SPANS_SENT: Family =
    Family::counter("evenkeel_tracing_spans_sent_total", "Spans that the collector of traces took.");
const SPANS_LOST: Family =
    Family::counter("evenkeel_tracing_spans_dropped_total", "Spans that reached no collector.");
const EXPORT_FAILURES: Family = Family::counter(
    "evenkeel_tracing_export_failures_total",
    "Messages that the collector of traces did not take, each time they were sent.",
);

const DATAGRAMS_RECEIVED: Family =
    Family::counter("evenkeel_udp_received_datagrams_total", "Datagrams of clients in mode udp.");
const DATAGRAMS_RECEIVED_BYTES: Family =
    Family::counter("evenkeel_udp_received_bytes_total", "Bytes in datagrams of clients in mode udp.");
const DATAGRAMS_SENT: Family =
    Family::counter("evenkeel_udp_sent_datagrams_total", "Datagrams to clients in mode udp.");
const DATAGRAMS_SENT_BYTES: Family =
    Family::counter("evenkeel_udp_sent_bytes_total", "Bytes in datagrams to clients in mode udp.");
const PROXY_REFUSED: Family = Family::counter(
    "evenkeel_proxy_protocol_refused_total",
    "Connections refused for the PROXY header that they should begin with.",
);
const SESSIONS_MOVED: Family = Family::counter(
    "evenkeel_udp_moved_sessions_total",
    "Sessions that went over to another server because theirs failed or was found to be down.",
);
const DATAGRAMS_DROPPED: Family =
    Family::counter("evenkeel_udp_dropped_datagrams_total", "Datagrams that went no further.");

/// The page.
pub(crate) fn page(running: &Running, form: Form) -> String {
    let plan = running.plan();
    let mut out = Exposition::of(form);
    out.family(BUILD).sample(&[("version", running.version)], true);
    let draining = running.draining.load(Relaxed);
    out.family(UP).sample(&[], !draining);
    out.family(UPTIME).sample(&[], running.clock.now().since(evenkeel_units::Instant::START));
    listeners(&plan, &mut out);
    crate::tls::report::metrics(&plan, &mut out);
    proxied(&plan, &mut out);
    datagrams(&plan, &mut out);
    servers(&plan, &mut out);
    source_ports(&plan, &mut out);
    unserved(&plan, &mut out);
    discoveries(&plan, running.clock.now(), &mut out);
    let dropped = plan.access_log.as_ref().map_or(0, crate::access_log::AccessLog::dropped);
    out.family(LOG_DROPPED).sample(&[], dropped);
    traces(&plan.traces, &mut out);
    out.finish()
}

fn traces(traces: &Traces, out: &mut Exposition) {
    out.family(SPANS_SENT).sample(&[], traces.counts.sent.load(Relaxed));
    let mut family = out.family(SPANS_LOST);
    for (why, reason) in Lost::ALL {
        family.sample(&[("reason", reason)], traces.counts.lost(why));
    }
    out.family(EXPORT_FAILURES).sample(&[], traces.counts.failures.load(Relaxed));
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
    let mut family = out.family(TOOK);
    for listener in listeners() {
        let parts: Vec<_> = listener.tallies.iter().map(|tally| &tally.took).collect();
        let (rows, sum) = Latency::histogram(&parts);
        family.buckets(&[("listener", &listener.name)], rows, sum);
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
    let mut family = out.family(SOURCE_REFUSED);
    for listener in listeners() {
        family.sample(&[("listener", &listener.name)], listener.sum(|tally| &tally.source_refused));
    }
}

fn proxied(plan: &Plan, out: &mut Exposition) {
    let mut listeners = plan.listeners.iter().filter(|planned| planned.proxy_protocol.is_some()).peekable();
    if listeners.peek().is_none() {
        return;
    }
    let mut family = out.family(PROXY_REFUSED);
    for planned in listeners {
        for (at, reason) in Refused::WORDS.into_iter().enumerate() {
            let labels = [("listener", planned.shared.name.as_str()), ("reason", reason)];
            family.sample(&labels, planned.shared.sum(|tally| &tally.proxy_refused[at]));
        }
    }
}

/// What is counted at a listener.
type CountedThere = fn(&ListenerTally) -> &Count;

fn datagrams(plan: &Plan, out: &mut Exposition) {
    let listeners = || {
        let udp = plan.listeners.iter().filter(|planned| planned.udp.is_some());
        udp.map(|planned| &planned.shared)
    };
    if listeners().next().is_none() {
        return;
    }
    let counted: [(Family, CountedThere); 5] = [
        (DATAGRAMS_RECEIVED, |tally| &tally.udp.received),
        (DATAGRAMS_RECEIVED_BYTES, |tally| &tally.udp.received_bytes),
        (DATAGRAMS_SENT, |tally| &tally.udp.sent),
        (DATAGRAMS_SENT_BYTES, |tally| &tally.udp.sent_bytes),
        (SESSIONS_MOVED, |tally| &tally.udp.moved),
    ];
    for (family, counter) in counted {
        let mut family = out.family(family);
        for listener in listeners() {
            family.sample(&[("listener", &listener.name)], listener.sum(counter));
        }
    }
    let mut family = out.family(DATAGRAMS_DROPPED);
    for listener in listeners() {
        for (at, (_, reason)) in Dropped::ALL.iter().enumerate() {
            let labels = [("listener", listener.name.as_str()), ("reason", reason)];
            family.sample(&labels, listener.sum(|tally| &tally.udp.dropped[at]));
        }
    }
}

/// What is counted at a server.
type Counted = fn(&ServerTally) -> &Count;

fn servers(plan: &Plan, out: &mut Exposition) {
    let counted: [(Family, Counted); 11] = [
        (SERVER_REQUESTS, |tally| &tally.requests),
        (SERVER_ACTIVE, |tally| &tally.active),
        (SERVER_IDLE, |tally| &tally.idle),
        (SERVER_CONNECTS, |tally| &tally.connects),
        (SERVER_RETRIES, |tally| &tally.retries),
        (SERVER_HEDGES, |tally| &tally.hedges),
        (SERVER_OVERTAKEN, |tally| &tally.overtaken),
        (SERVER_CUT_STALLED, |tally| &tally.cut_stalled),
        (SERVER_LIMIT, |tally| &tally.limit),
        (SERVER_TAKEN, |tally| &tally.taken),
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
    sticky(plan, out);
    let mut family = out.family(SERVER_CHECK);
    for (pool, server) in servers() {
        let labels = [("pool", pool.name.as_str()), ("server", &server.name)];
        family.sample(&labels, server.verdict() == Verdict::Up);
    }
    let mut family = out.family(SERVER_DRAINING);
    for (pool, server) in servers() {
        family.sample(&[("pool", &pool.name), ("server", &server.name)], server.is_draining());
    }
    let mut family = out.family(SERVER_WEIGHT);
    for (told, pool) in plan.config.pools().iter().zip(&plan.pools) {
        for (told, server) in told.servers.iter().zip(&pool.servers) {
            let weight = server.ordered_weight().unwrap_or(told.weight);
            family.sample(&[("pool", &pool.name), ("server", &server.name)], u64::from(weight.as_u16()));
        }
    }
    let mut family = out.family(SERVER_EJECTED);
    for (pool, server) in servers() {
        let ejected = server.tallies.iter().filter(|tally| tally.standing() == Standing::Ejected).count();
        family.sample(&[("pool", &pool.name), ("server", &server.name)], ejected as u64);
    }
}

/// What is counted of source ports.
type CountedPorts = fn(&Towards) -> u64;

/// Summed over sources, so that the number of samples does not grow with them; `/status` has each.
fn source_ports(plan: &Plan, out: &mut Exposition) {
    let counted: [(Family, CountedPorts); 4] = [
        (SOURCE_PORTS, |towards| towards.all().into()),
        (SOURCE_PORTS_OPEN, Towards::open),
        (SOURCE_PORTS_WAITING, Towards::waiting),
        (SOURCE_PORTS_REFUSED, Towards::refused),
    ];
    for (family, counter) in counted {
        let mut family = out.family(family);
        for pool in &plan.pools {
            for (server, ways) in pool.servers.iter().zip(&pool.ways) {
                let labels = [("pool", pool.name.as_str()), ("server", &server.name)];
                family.sample(&labels, ways.iter().map(|towards| counter(towards)).sum::<u64>());
            }
        }
    }
}

fn unserved(plan: &Plan, out: &mut Exposition) {
    let mut family = out.family(UNSERVED);
    for pool in &plan.pools {
        for (cause, count) in UnservedTally::causes(&pool.unserved) {
            family.sample(&[("pool", pool.name.as_str()), ("cause", cause)], count);
        }
    }
    let mut family = out.family(UNSERVED_RETRIES);
    for pool in &plan.pools {
        for (ended, count) in UnservedTally::ends(&pool.unserved) {
            family.sample(&[("pool", pool.name.as_str()), ("ended", ended)], count);
        }
    }
}

fn sticky(plan: &Plan, out: &mut Exposition) {
    let pools = || {
        let all = plan.config.pools().iter().zip(&plan.pools);
        all.filter(|(told, _)| told.sticky.is_some()).map(|(_, pool)| pool)
    };
    if pools().next().is_none() {
        return;
    }
    let mut family = out.family(SERVER_STICKY);
    for (pool, server) in pools().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server))) {
        for (at, (_, how)) in Stuck::ALL.iter().enumerate() {
            let labels = [("pool", pool.name.as_str()), ("server", &server.name), ("client", how)];
            family.sample(&labels, server.sum(|tally| &tally.sticky[at]));
        }
    }
}

fn discoveries(plan: &Plan, now: evenkeel_units::Instant, out: &mut Exposition) {
    let mut family = out.family(SERVER_LATENCY);
    for pool in &plan.pools {
        for server in &pool.servers {
            let labels = [("pool", pool.name.as_str()), ("server", &server.name)];
            let latency = Duration::from_micros(server.most(|tally| &tally.latency_us));
            family.sample(&labels, latency);
        }
    }
    let asked = || plan.discovered.iter().flatten();
    let mut family = out.family(DISCOVERY_STALE);
    for discovered in asked() {
        let stale = discovered.state().stale_since.map(|since| now.since(since)).unwrap_or_default();
        family.sample(&[("pool", &discovered.pool)], stale);
    }
    let mut family = out.family(DISCOVERY_FAILURES);
    for discovered in asked() {
        family.sample(&[("pool", &discovered.pool)], discovered.state().failures);
    }
}
