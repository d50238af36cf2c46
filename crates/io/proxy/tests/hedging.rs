//! Requests that take long go to a second server, where HTTP/2 is spoken on a side as where it is not.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{Plane, config, eventually, http2, nobody, sample};

/// What servers and clients speak; HTTP/1.1 on both sides is in `policies`.
const PAIRS: [(&str, &str); 3] = [("http1", "http2"), ("http2", "http1"), ("http2", "http2")];

fn plane(servers: &[SocketAddr], protocol: &str, pool: &str, rest: &str) -> Plane {
    let text = config("http", servers, pool, rest);
    Plane::start(&text.replacen("policy =", &format!("protocol = \"{protocol}\"\npolicy ="), 1), 1)
}

/// The status and content of an answer.
fn ask(plane: &Plane, client: &str, method: &str) -> (u16, Vec<u8>) {
    if client == "http1" {
        let answer = plane.client().ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        return (answer.status, answer.body);
    }
    http2::run(async {
        let mut client = http2::Client::connect(plane.address()).await;
        let answer = client.ask(http2::request(method, "/")).await.unwrap();
        (answer.status, answer.body)
    })
}

/// A server that answers with its name after `pause`.
fn named(protocol: &str, name: &'static str, pause: Duration) -> SocketAddr {
    if protocol == "http1" {
        return support::answering(move |_, _| {
            std::thread::park_timeout(pause);
            support::ok(name.as_bytes())
        });
    }
    http2::server(move |_, respond| async move {
        tokio::time::sleep(pause).await;
        http2::answer(respond, name.as_bytes()).await;
    })
}

/// A server that never answers; how many requests were given up there in the way of the protocol.
fn stuck(protocol: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let given_up = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given_up);
    if protocol == "http1" {
        let address = support::server(move |mut peer| {
            if peer.head().is_some() && peer.head().is_none() {
                count.fetch_add(1, SeqCst);
            }
        });
        return (address, given_up);
    }
    let address = http2::server(move |_, mut respond| {
        let count = Arc::clone(&count);
        async move {
            let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            if reset.is_ok_and(|reason| reason == h2::Reason::CANCEL) {
                count.fetch_add(1, SeqCst);
            }
        }
    });
    (address, given_up)
}

fn metric(plane: &Plane, name: &str, server: &str) -> u64 {
    sample(&plane.admin("/metrics").1, &format!("{name}{{pool=\"app\",server=\"{server}\"}}"))
}

const HEDGE: &str = "[pool.hedge]\nafter = \"10ms\"\n[pool.limits]\nlearned = false\n";

#[test]
fn a_second_server_answers_what_takes_long_and_the_first_is_told_to_stop() {
    for (protocol, client) in PAIRS {
        let what = format!("servers of {protocol}, clients of {client}");
        let (slow, given_up) = stuck(protocol);
        let plane = plane(&[slow, named(protocol, "b", Duration::ZERO)], protocol, HEDGE, "");
        for _ in 0..10 {
            assert_eq!(ask(&plane, client, "GET"), (200, b"b".to_vec()), "{what}");
        }
        let hedges = metric(&plane, "evenkeel_server_hedges_total", "s1");
        assert!(hedges >= 4, "{what}: every second request begins at the stuck server: {hedges}");
        eventually("what lost has been judged", || {
            (metric(&plane, "evenkeel_server_overtaken_total", "s0") == hedges).then_some(())
        });
        eventually("what lost was told to stop", || (given_up.load(SeqCst) as u64 == hedges).then_some(()));
        let status = plane.admin("/status").1;
        assert!(!status.contains("ejected") && status.contains("\"failures\":0"), "{what}: {status}");
        assert_eq!(metric(&plane, "evenkeel_server_active", "s0"), 0, "{what}");
    }
}

#[test]
fn what_is_not_safe_is_sent_once() {
    for (protocol, client) in PAIRS {
        let what = format!("servers of {protocol}, clients of {client}");
        let (slow, _) = stuck(protocol);
        let deadlines = "[deadlines]\nserver_head = \"300ms\"\n";
        let plane = plane(&[slow, named(protocol, "b", Duration::ZERO)], protocol, HEDGE, deadlines);
        let mut statuses: Vec<_> = (0..2).map(|_| ask(&plane, client, "POST").0).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 504], "{what}");
        assert_eq!(metric(&plane, "evenkeel_server_hedges_total", "s1"), 0, "{what}");
    }
}

#[test]
fn when_the_second_fails_too_the_first_is_waited_for() {
    for (protocol, client) in PAIRS {
        let what = format!("servers of {protocol}, clients of {client}");
        let late = named(protocol, "late", Duration::from_millis(100));
        let failing = plane(&[late, nobody()], protocol, HEDGE, "");
        for _ in 0..3 {
            assert_eq!(ask(&failing, client, "GET"), (200, b"late".to_vec()), "{what}");
        }
    }
}
