//! HAProxy's configuration, as well as it can be set up for each scenario.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use super::Setup;
use crate::scenario::Scenario;

/// What each request's path is looked up in: a file of its own is HAProxy's way for many routes.
pub(super) fn map(setup: Setup<'_>) -> String {
    (0..setup.scenario.routes()).map(|number| format!("/r/{number}/ origin\n")).collect()
}

/// The text of `haproxy.cfg`, which names the file of the map.
pub(super) fn configuration(setup: Setup<'_>, address: SocketAddr, map: &Path) -> String {
    let scenario = setup.scenario;
    // From a quarter of its file descriptors on, HAProxy closes idle server connections: stay far below. It need not get
    // so many descriptors (`no strict-limits`), for it only counts with them.
    let room = (8 * (2 * setup.connections + 64)).max(7 * scenario.servers()) + 2 * scenario.idle();
    // What costs it least: it does not splice answers over HTTP by itself, and small pieces are cheaper copied.
    let splice = if matches!(scenario, Scenario::Body1M) { "splice-response" } else { "splice-auto" };
    let mode = if scenario.is_tcp() { "mode tcp" } else { "mode http\n    http-reuse always" };
    let certificate = setup.certificate.both().display();
    let bind = match (scenario.is_tls(), scenario.is_h2()) {
        (true, true) => format!(" ssl crt {certificate} alpn h2"),
        (true, false) => format!(" ssl crt {certificate} alpn http/1.1"),
        (false, true) => " proto h2".to_owned(),
        (false, false) => String::new(),
    };
    let mut text = format!(
        "global
    nbthread 1
    no strict-limits
    maxconn {room}

defaults
    {mode}
    option {splice}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    timeout tunnel 1h

frontend bench
    bind {address}{bind}
    default_backend origin
"
    );
    if scenario.routes() > 0 {
        writeln!(text, "    use_backend %[path,map_beg({},origin)]", map.display())
            .expect("a String takes all");
    }
    text += "\nbackend origin\n    balance roundrobin\n";
    for (number, server) in setup.servers().enumerate() {
        writeln!(text, "    server s{number} {server}").expect("a String takes all");
    }
    text
}
