//! Every metric there is, in one table: its name, its kind, what it says, and how it is read.
//!
//! Owns: the table. Leaves to others: the text form (`io/telemetry`), walking over a plan (`metrics`). Invariants: what a
//! label says comes from the configuration or from a list in this program, never from a request, so the number of samples
//! has a bound; each family is here and in docs/balancer.md.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use evenkeel_balance::{Failure, Standing, Verdict};
use evenkeel_config::balancer;
use evenkeel_telemetry::{Family, Value};
use evenkeel_units::Instant;

use crate::{
    admin::control::Running,
    plan::{Plan, PlannedListener},
    pool::{UnservedTally, discovery::State, ports::Towards},
    proxied::Refused,
    shared::{Count, Dropped, ListenerTally, OWN_STATUSES, PoolShared, ServerShared, ServerTally},
    tls::{files::Certificate, handshake::Reason},
    trace::Lost,
};

/// A family and how it is read.
pub(super) struct Row {
    pub(super) family: Family,
    pub(super) read: Read,
}

/// How the samples of a family are read; each way has the labels that its samples have.
pub(super) enum Read {
    /// One sample, always 1; label `version`.
    Version,
    /// One sample without labels.
    Process(fn(&Running, &Plan) -> Value),
    /// One sample for each word; one label.
    ProcessBy(Label, fn(&Plan, usize) -> u64),
    /// A sum over the workers for each listener; label `listener`.
    Listener(Which, fn(&ListenerTally) -> &Count),
    /// A sum over the workers for each listener and word; label `listener` and another one.
    ListenerBy(Which, Label, fn(&ListenerTally, usize) -> &Count),
    /// A histogram of how long answers took, for each listener; label `listener`.
    Took,
    /// For each certificate that a listener shows and did not make itself; labels `listener` and `certificate`.
    Certificate(fn(&Certificate) -> Value),
    /// A sum over the workers for each server; labels `pool` and `server`.
    Server(fn(&ServerTally) -> &Count),
    /// A sum over the workers for each server and word; labels `pool`, `server` and another one.
    ServerBy(Label, fn(&ServerTally, usize) -> &Count),
    /// What is known of each server; labels `pool` and `server`.
    ServerState(fn(&ServerShared, &balancer::Server) -> Value),
    /// What is counted of the source ports towards each server, summed over our addresses; labels `pool` and `server`.
    Way(fn(&Towards) -> u64),
    /// For each pool and word; label `pool` and another one.
    PoolBy(Label, fn(&PoolShared, usize) -> u64),
    /// What DNS says of a pool, where it is asked; label `pool`.
    Discovery(fn(&State, Instant) -> Value),
}

/// A label with all the words that it can say.
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) words: fn() -> Vec<String>,
}

/// At which listeners something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// At all.
    All,
    /// Where TLS is spoken.
    Tls,
    /// Where TLS is spoken, or looked into.
    Hello,
    /// Where connections begin with the PROXY protocol.
    Proxied,
    /// Where there are sessions of UDP.
    Udp,
}

impl Which {
    /// Whether it is counted at this one.
    pub(super) const fn is(self, planned: &PlannedListener, listener: &balancer::Listener) -> bool {
        match self {
            Self::All => true,
            Self::Tls => planned.tls.is_some(),
            Self::Hello => planned.tls.is_some() || !listener.sni.is_empty(),
            Self::Proxied => planned.proxy_protocol.is_some(),
            Self::Udp => planned.udp.is_some(),
        }
    }
}

fn words(words: impl IntoIterator<Item = &'static str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

const CLASSES: Label = Label { name: "status", words: || words(["1xx", "2xx", "3xx", "4xx", "5xx"]) };
const STATUSES: Label = Label { name: "status", words: || OWN_STATUSES.iter().map(u16::to_string).collect() };
const HANDSHAKES: Label = Label { name: "kind", words: || words(["full", "resumed"]) };
const UNSHAKEN: Label =
    Label { name: "reason", words: || words(Reason::ALL.iter().map(|reason| reason.label())) };
const REFUSED: Label = Label { name: "reason", words: || words(Refused::WORDS) };
const DROPPED: Label = Label { name: "reason", words: || words(Dropped::ALL.map(|(_, word)| word)) };
const FAILURES: Label =
    Label { name: "reason", words: || words(Failure::ALL.iter().map(|failure| failure.as_str())) };
const CAUSES: Label =
    Label { name: "cause", words: || words(UnservedTally::causes(&[]).map(|(word, _)| word)) };
const ENDS: Label = Label { name: "ended", words: || words(UnservedTally::ends(&[]).map(|(word, _)| word)) };
const LOST: Label = Label { name: "reason", words: || words(Lost::ALL.map(|(_, word)| word)) };

const fn counter(name: &'static str, help: &'static str, read: Read) -> Row {
    Row { family: Family::counter(name, help), read }
}

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Row {
    Row { family: Family::gauge(name, help), read }
}

/// Everything that is counted or measured, in the order of the page.
pub(super) const FAMILIES: &[Row] = &[
    gauge("evenkeel_build_info", "Always 1; the label has the version.", Read::Version),
    gauge(
        "evenkeel_up",
        "1 while the data plane takes clients, 0 while it drains.",
        Read::Process(|running, _| Value::Flag(!running.draining.load(Relaxed))),
    ),
    gauge(
        "evenkeel_uptime_seconds",
        "How long the data plane has run.",
        Read::Process(|running, _| Value::Time(running.clock.now().since(Instant::START))),
    ),
    counter(
        "evenkeel_client_connections_total",
        "Client connections accepted.",
        Read::Listener(Which::All, |tally| &tally.accepted),
    ),
    gauge(
        "evenkeel_client_connections",
        "Client connections open.",
        Read::Listener(Which::All, |tally| &tally.active),
    ),
    gauge(
        "evenkeel_client_connections_resting",
        "Client connections between two requests that hold no task and no buffer.",
        Read::Listener(Which::All, |tally| &tally.resting),
    ),
    counter(
        "evenkeel_responses_total",
        "Answers to clients, by the first digit of the status.",
        Read::ListenerBy(Which::All, CLASSES, |tally, at| &tally.answers[at]),
    ),
    Row {
        family: Family::histogram(
            "evenkeel_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
        ),
        read: Read::Took,
    },
    counter(
        "evenkeel_own_responses_total",
        "Answers given without a server.",
        Read::ListenerBy(Which::All, STATUSES, |tally, at| &tally.own[at]),
    ),
    counter(
        "evenkeel_accept_errors_total",
        "Clients that could not be accepted.",
        Read::Listener(Which::All, |tally| &tally.accept_errors),
    ),
    counter(
        "evenkeel_tls_handshakes_total",
        "TLS sessions with clients, new and resumed.",
        Read::ListenerBy(Which::Tls, HANDSHAKES, |tally, at| &tally.handshakes[at]),
    ),
    counter(
        "evenkeel_tls_handshake_failures_total",
        "TLS handshakes with clients that failed.",
        Read::ListenerBy(Which::Hello, UNSHAKEN, |tally, at| &tally.unshaken[at]),
    ),
    gauge(
        "evenkeel_tls_certificate_expiry_timestamp_seconds",
        "When a certificate ends, in seconds since 1970.",
        Read::Certificate(|certificate| Value::Count(u64::try_from(certificate.expires).unwrap_or(0))),
    ),
    counter(
        "evenkeel_proxy_protocol_refused_total",
        "Connections refused for the PROXY header that they should begin with.",
        Read::ListenerBy(Which::Proxied, REFUSED, |tally, at| &tally.proxy_refused[at]),
    ),
    counter(
        "evenkeel_udp_received_datagrams_total",
        "Datagrams of clients in mode udp.",
        Read::Listener(Which::Udp, |tally| &tally.udp.received),
    ),
    counter(
        "evenkeel_udp_received_bytes_total",
        "Bytes in datagrams of clients in mode udp.",
        Read::Listener(Which::Udp, |tally| &tally.udp.received_bytes),
    ),
    counter(
        "evenkeel_udp_sent_datagrams_total",
        "Datagrams to clients in mode udp.",
        Read::Listener(Which::Udp, |tally| &tally.udp.sent),
    ),
    counter(
        "evenkeel_udp_sent_bytes_total",
        "Bytes in datagrams to clients in mode udp.",
        Read::Listener(Which::Udp, |tally| &tally.udp.sent_bytes),
    ),
    counter(
        "evenkeel_udp_moved_sessions_total",
        "Sessions that went over to another server because theirs failed or was found to be down.",
        Read::Listener(Which::Udp, |tally| &tally.udp.moved),
    ),
    counter(
        "evenkeel_udp_dropped_datagrams_total",
        "Datagrams that went no further.",
        Read::ListenerBy(Which::Udp, DROPPED, |tally, at| &tally.udp.dropped[at]),
    ),
    counter(
        "evenkeel_server_requests_total",
        "Requests or connections given to a server.",
        Read::Server(|tally| &tally.requests),
    ),
    gauge("evenkeel_server_active", "Requests under way at a server.", Read::Server(|tally| &tally.active)),
    gauge(
        "evenkeel_server_idle_connections",
        "Connections kept for the next request.",
        Read::Server(|tally| &tally.idle),
    ),
    counter(
        "evenkeel_server_connects_total",
        "Connections attempted to a server.",
        Read::Server(|tally| &tally.connects),
    ),
    counter(
        "evenkeel_server_retries_total",
        "Requests tried again after this server failed them.",
        Read::Server(|tally| &tally.retries),
    ),
    counter(
        "evenkeel_server_hedges_total",
        "Requests also sent to this server because another one took long.",
        Read::Server(|tally| &tally.hedges),
    ),
    counter(
        "evenkeel_server_cut_stalled_total",
        "Requests cut off because their clients stood still while others waited for a place.",
        Read::Server(|tally| &tally.cut_stalled),
    ),
    counter(
        "evenkeel_server_overtaken_total",
        "Hedged requests that another server answered before this one.",
        Read::Server(|tally| &tally.overtaken),
    ),
    gauge(
        "evenkeel_server_limit",
        "Most requests that a server is given at once, over all workers.",
        Read::Server(|tally| &tally.limit),
    ),
    gauge(
        "evenkeel_server_taken_workers",
        "Workers that give requests to a server, which may also stand by.",
        Read::Server(|tally| &tally.taken),
    ),
    counter(
        "evenkeel_server_local_failures_total",
        "Requests that failed for want of ports, descriptors or memory on this side.",
        Read::Server(|tally| &tally.local_failures),
    ),
    counter(
        "evenkeel_server_failures_total",
        "Failures of a server.",
        Read::ServerBy(FAILURES, |tally, at| &tally.failures[at]),
    ),
    gauge(
        "evenkeel_server_check_up",
        "1 while the health checks of a server pass.",
        Read::ServerState(|server, _| Value::Flag(server.verdict() == Verdict::Up)),
    ),
    gauge(
        "evenkeel_server_draining",
        "1 while an operator lets a server finish what it has.",
        Read::ServerState(|server, _| Value::Flag(server.is_draining())),
    ),
    gauge(
        "evenkeel_server_weight",
        "The weight of a server, by the file or by an operator.",
        Read::ServerState(|server, told| {
            Value::Count(server.ordered_weight().unwrap_or(told.weight).as_u16().into())
        }),
    ),
    gauge(
        "evenkeel_server_ejected_workers",
        "Workers that leave a server out for its failures.",
        Read::ServerState(|server, _| {
            let is_ejected = |tally: &&ServerTally| tally.standing() == Standing::Ejected;
            Value::Count(server.tallies.iter().filter(is_ejected).count() as u64)
        }),
    ),
    gauge(
        "evenkeel_server_latency_seconds",
        "How long a server's answers take, as far as the last ones tell; 0 when unknown.",
        Read::ServerState(|server, _| {
            Value::Time(Duration::from_micros(server.most(|tally| &tally.latency_us)))
        }),
    ),
    gauge(
        "evenkeel_server_source_ports",
        "Source ports that there are towards a server, over all addresses that connections to it go from.",
        Read::Way(|towards| towards.all().into()),
    ),
    gauge(
        "evenkeel_server_source_ports_open",
        "Source ports of open connections to a server.",
        Read::Way(Towards::open),
    ),
    gauge(
        "evenkeel_server_source_ports_time_wait",
        "Source ports towards a server that are in TIME-WAIT, because we closed first.",
        Read::Way(Towards::waiting),
    ),
    counter(
        "evenkeel_server_source_ports_refused_total",
        "Connections to a server that found no source port and had to wait.",
        Read::Way(Towards::refused),
    ),
    counter(
        "evenkeel_unserved_requests_total",
        "Requests and connections that no server of a pool answered, by the last failure.",
        Read::PoolBy(CAUSES, |pool, at| {
            UnservedTally::causes(&pool.unserved).nth(at).map_or(0, |(_, count)| count)
        }),
    ),
    counter(
        "evenkeel_unserved_retries_ended_total",
        "Of the unserved those that a server failed, by why nobody else was asked after it.",
        Read::PoolBy(ENDS, |pool, at| {
            UnservedTally::ends(&pool.unserved).nth(at).map_or(0, |(_, count)| count)
        }),
    ),
    gauge(
        "evenkeel_discovery_stale_seconds",
        "For how long DNS has given no good answer for a pool; 0 while it does.",
        Read::Discovery(|state, now| {
            Value::Time(state.stale_since.map(|since| now.since(since)).unwrap_or_default())
        }),
    ),
    counter(
        "evenkeel_discovery_failures_total",
        "Lookups of a pool's servers without a good answer.",
        Read::Discovery(|state, _| Value::Count(state.failures)),
    ),
    counter(
        "evenkeel_access_log_dropped_total",
        "Lines of the access log that were dropped.",
        Read::Process(|_, plan| {
            Value::Count(plan.access_log.as_ref().map_or(0, crate::access_log::AccessLog::dropped))
        }),
    ),
    counter(
        "evenkeel_tracing_spans_sent_total",
        "Spans that the collector of traces took.",
        Read::Process(|_, plan| Value::Count(plan.traces.counts.sent.load(Relaxed))),
    ),
    counter(
        "evenkeel_tracing_spans_dropped_total",
        "Spans that reached no collector.",
        Read::ProcessBy(LOST, |plan, at| plan.traces.counts.lost(Lost::ALL[at].0)),
    ),
    counter(
        "evenkeel_tracing_export_failures_total",
        "Messages that the collector of traces did not take, each time they were sent.",
        Read::Process(|_, plan| Value::Count(plan.traces.counts.failures.load(Relaxed))),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the configuration bounds: listeners, servers over all pools, certificates of a listener, pools.
    const LISTENERS: usize = 64;
    const SERVERS: usize = 256 * 1024;
    const CERTIFICATES: usize = 64 * 1001;
    const POOLS: usize = 256;

    /// Most samples of a family, and the labels that they have.
    fn most(read: &Read) -> (usize, Vec<&'static str>) {
        let by = |label: &Label| (label.words)().len();
        match read {
            Read::Version => (1, vec!["version"]),
            Read::Process(_) => (1, vec![]),
            Read::ProcessBy(label, _) => (by(label), vec![label.name]),
            Read::Listener(..) => (LISTENERS, vec!["listener"]),
            Read::ListenerBy(_, label, _) => (LISTENERS * by(label), vec!["listener", label.name]),
            Read::Took => (LISTENERS * 20, vec!["listener", "le"]),
            Read::Certificate(_) => (CERTIFICATES, vec!["listener", "certificate"]),
            Read::Server(_) | Read::ServerState(_) | Read::Way(_) => (SERVERS, vec!["pool", "server"]),
            Read::PoolBy(label, _) => (POOLS * by(label), vec!["pool", label.name]),
            Read::ServerBy(label, _) => (SERVERS * by(label), vec!["pool", "server", label.name]),
            Read::Discovery(_) => (POOLS, vec!["pool"]),
        }
    }

    #[test]
    fn each_family_is_there_once_with_labels_that_differ_and_words_that_differ() {
        let mut names: Vec<_> = FAMILIES.iter().map(|row| row.family.name()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
        for row in FAMILIES {
            let (_, labels) = most(&row.read);
            let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
            assert_eq!(distinct.len(), labels.len(), "{}", row.family.name());
            if let Read::ListenerBy(_, label, _)
            | Read::ServerBy(label, _)
            | Read::PoolBy(label, _)
            | Read::ProcessBy(label, _) = &row.read
            {
                let words = (label.words)();
                let distinct: std::collections::BTreeSet<_> = words.iter().collect();
                assert!(!words.is_empty() && distinct.len() == words.len(), "{words:?}");
                assert!(words.iter().all(|word| word.len() <= 32), "{words:?}");
            }
        }
    }

    #[test]
    fn units_stand_at_the_end_of_names_and_are_base_units() {
        for row in FAMILIES {
            let name = row.family.name();
            let plain = name.strip_suffix("_total").unwrap_or(name);
            for unit in ["_seconds", "_bytes"] {
                assert!(!plain.contains(unit) || plain.ends_with(unit), "{name}: the unit stands last");
            }
            for other in ["_ms", "_us", "_millis", "_micros", "_minutes", "_percent", "_kb", "_mb"] {
                assert!(!plain.contains(other), "{name}: not a base unit");
            }
            for kind in ["_counter", "_gauge", "_count", "_sum", "_bucket"] {
                assert!(!plain.ends_with(kind), "{name}: its kind does not belong into its name");
            }
        }
    }

    #[test]
    fn what_a_usual_box_shows_is_small_and_what_the_largest_shows_has_a_bound() {
        let largest: usize = FAMILIES.iter().map(|row| most(&row.read).0).sum();
        // Servers make nearly all of it: some 20 samples each.
        assert!(largest < 30 * SERVERS, "{largest}");
        assert!(FAMILIES.iter().all(|row| most(&row.read).1.len() <= 3));
    }

    #[test]
    fn operators_are_told_of_every_family() {
        let page = include_str!("../../../../../docs/balancer.md");
        for row in FAMILIES {
            let name = row.family.name();
            assert!(page.contains(&format!("`{name}`")), "docs/balancer.md does not tell of {name}");
        }
    }
}
