//! Policies as clients see them: what leads a request to a server, and who stands by.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use support::{Client, Plane, config, eventually, named, nobody, server};

/// A data plane over `servers` with these lines in its pool's table.
fn plane(mode: &str, servers: &[SocketAddr], policy: &str, rest: &str) -> Plane {
    let text = config(mode, servers, rest, "");
    Plane::start(&text.replace("policy = \"round-robin\"", policy), 2)
}

/// Who answers a request with these lines, on a connection of its own, so that every worker is asked.
fn who(plane: &Plane, path: &str, lines: &str) -> String {
    let answer = plane.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: site\r\n{lines}\r\n"));
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

fn servers() -> [SocketAddr; 3] {
    [named("a"), named("b"), named("c")]
}

#[test]
fn a_request_is_led_by_the_property_that_the_pool_hashes() {
    let with = |hash: &str, path: &dyn Fn(usize) -> String, lines: &dyn Fn(usize) -> String| {
        let policy = format!("policy = \"consistent-hash\"\nhash = \"{hash}\"");
        let plane = plane("http", &servers(), &policy, "");
        let mut all = BTreeSet::new();
        for key in 0..12 {
            let home = who(&plane, &path(key), &lines(key));
            for _ in 0..4 {
                assert_eq!(who(&plane, &path(key), &lines(key)), home, "{hash}: key {key}");
            }
            all.insert(home);
        }
        all.len()
    };
    let root = |_| "/".to_owned();
    let none = |_| String::new();
    assert_eq!(with("path", &|key| format!("/course/{key}?page=1"), &none), 3);
    assert_eq!(with("header:X-Course", &root, &|key| format!("x-course: {key}\r\n")), 3);
    assert_eq!(with("cookie:id", &root, &|key| format!("Cookie: a=b; id={key}; c=d\r\n")), 3);
    assert_eq!(with("source", &root, &none), 1, "all from one address");
}

#[test]
fn the_query_does_not_lead_a_request_elsewhere() {
    let plane = plane("http", &servers(), "policy = \"consistent-hash\"\nhash = \"path\"", "");
    let home = who(&plane, "/x?1", "");
    (0..20).for_each(|query| assert_eq!(who(&plane, &format!("/x?{query}"), ""), home));
}

#[test]
fn in_tcp_mode_connections_from_one_address_go_to_one_server() {
    let plane = plane("tcp", &servers(), "policy = \"consistent-hash\"", "");
    let seen: BTreeSet<String> = (0..12).map(|_| who(&plane, "/", "")).collect();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn every_policy_serves_over_all_servers() {
    for policy in ["least-loaded", "peak-ewma", "power-of-two"] {
        let plane = plane("http", &servers(), &format!("policy = \"{policy}\""), "");
        let seen: BTreeSet<String> = (0..60).map(|_| who(&plane, "/", "")).collect();
        assert_eq!(seen.len(), 3, "{policy}: {seen:?}");
    }
}

#[test]
fn a_backup_answers_once_the_servers_before_it_are_down() {
    let check = "[pool.health_check]\nkind = \"tcp\"\ninterval = \"50ms\"\nfall = 1\n";
    let text = config("http", &[nobody(), named("backup")], "", "")
        .replace("[pool.health_check]\nkind = \"tcp\"\ninterval = \"10s\"\n", check)
        .replace("name = \"s1\"", "name = \"s1\"\nbackup = true");
    let plane = Plane::start(&text, 1);
    eventually("the backup takes over", || {
        let answer = Client::connect(plane.address()).get("/");
        (answer.status == 200 && answer.body == b"backup").then_some(())
    });
}

/// A server that takes requests and never answers; how many of them were given up.
fn stuck() -> (SocketAddr, Arc<AtomicUsize>) {
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given_up);
    let address = server(move |mut peer| {
        if peer.head().is_some() && peer.head().is_none() {
            count.fetch_add(1, SeqCst);
        }
    });
    (address, given_up)
}

/// The value of a metric of a server.
fn metric(plane: &Plane, name: &str, server: &str) -> u64 {
    let (_, page) = plane.admin("/metrics");
    let labels = format!("{name}{{pool=\"app\",server=\"{server}\"}} ");
    page.lines()
        .find_map(|line| line.strip_prefix(&labels)?.parse().ok())
        .unwrap_or_else(|| panic!("{labels}: {page}"))
}

#[test]
fn a_request_that_takes_long_is_answered_by_a_second_server_and_the_first_is_let_go() {
    let (slow, given_up) = stuck();
    let hedge = "[pool.hedge]\nafter = \"10ms\"\n[pool.limits]\nlearned = false\n";
    let plane = Plane::start(&config("http", &[slow, named("b")], hedge, ""), 1);
    let mut client = plane.client();
    for _ in 0..10 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"b"[..]));
    }
    let hedges = metric(&plane, "evenkeel_server_hedges_total", "s1");
    assert!(hedges >= 4, "every second request begins at the stuck server: {hedges}");
    assert_eq!(metric(&plane, "evenkeel_server_overtaken_total", "s0"), hedges);
    eventually("the connections that lost are closed", || {
        (given_up.load(SeqCst) as u64 == hedges).then_some(())
    });
    assert!(!plane.admin("/status").1.contains("ejected"), "being slow is no failure");
}

#[test]
fn what_is_not_safe_or_has_content_is_sent_once() {
    let (slow, _) = stuck();
    let hedge = "[pool.hedge]\nafter = \"10ms\"\n";
    let plane = Plane::start(
        &config("http", &[slow, named("b")], hedge, "[deadlines]\nserver_head = \"300ms\"\n"),
        1,
    );
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let mut answers: Vec<_> = (0..2).map(|_| plane.client().ask(request).status).collect();
        answers.sort_unstable();
        assert_eq!(answers, [200, 504], "{request}");
    }
    assert_eq!(metric(&plane, "evenkeel_server_hedges_total", "s1"), 0);
}

#[test]
fn when_the_hedge_fails_too_the_first_server_is_waited_for() {
    let after_a_while = server(|mut peer| {
        // How long does not matter, only that the hedge is sent and refused before.
        if peer.head().is_some() {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            let _ = std::io::Write::write_all(&mut peer.stream, &support::ok(b"late"));
        }
    });
    let hedge = "[pool.hedge]\nafter = \"5ms\"\n";
    let plane = Plane::start(&config("http", &[after_a_while, nobody()], hedge, ""), 1);
    for _ in 0..4 {
        assert_eq!(plane.client().get("/").body, b"late");
    }
}
