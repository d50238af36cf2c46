//! Clients that do not read their answers, or do not send their requests, keep nobody else from the servers.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use support::{Client, Plane, answering, config, eventually, http2, ok, sample};

/// Far more than the buffers of both kernels hold, which on loopback are up to 6 MiB and 4 MiB a connection.
const LONG: usize = 64 << 20;

const GET_LONG: &[u8] = b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server whose answer to `/long` is long.
fn long_or_short() -> SocketAddr {
    let long = ok(&vec![7; LONG]);
    answering(move |head, _| if head.starts_with("GET /long ") { long.clone() } else { ok(b"short") })
}

/// A server that may have one request at once.
fn narrow(server: SocketAddr, limits: &str) -> String {
    config("http", &[server], &format!("[pool.limits]\nconnections_per_server = 1\n{limits}"), "")
}

/// Waits until the only place is taken by an answer that goes nowhere.
fn stands_still(plane: &Plane) {
    eventually("the place is taken", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
}

fn cut(plane: &Plane) -> u64 {
    sample(&plane.admin("/metrics").1, "evenkeel_server_cut_stalled_total{pool=\"app\",server=\"s0\"}")
}

#[test]
fn an_answer_that_nobody_reads_gives_its_place_to_others_and_goes_on_whole() {
    let plane = Plane::start(&narrow(long_or_short(), ""), 1);
    let (mut slow, mut other) = (plane.client(), plane.client());
    slow.send(GET_LONG);
    stands_still(&plane);
    for _ in 0..3 {
        assert_eq!(other.get("/").body, b"short");
    }
    let answer = slow.answer(false).unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, LONG));
    assert_eq!(slow.get("/").body, b"short", "the connection is as good as before");
    assert_eq!(cut(&plane), 0);
}

#[test]
fn an_answer_over_http2_that_nobody_reads_gives_its_place_to_others() {
    let plane = Plane::start(&narrow(long_or_short(), ""), 1);
    let mut slow = http2::Raw::connect(plane.address(), &[]);
    assert!(slow.send(&http2::frame(http2::HEADERS, 5, 1, &http2::get("/long", &[]))));
    stands_still(&plane);
    assert_eq!(plane.client().get("/").body, b"short");
    assert_eq!(cut(&plane), 0);
}

#[test]
fn a_request_whose_content_does_not_come_gives_its_place_to_others_and_goes_on_whole() {
    let plane = Plane::start(&narrow(answering(|_, body| ok(body)), ""), 1);
    let (mut slow, mut other) = (plane.client(), plane.client());
    slow.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    stands_still(&plane);
    for _ in 0..3 {
        assert_eq!(other.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nother").body, b"other");
    }
    slow.send(b"def");
    assert_eq!(slow.answer(false).unwrap().body, b"abcdef");
}

#[test]
fn many_that_take_their_places_again_at_once_give_them_up_at_once() {
    let plane = Plane::start(&narrow(answering(|_, body| ok(body)), "queue_deadline = \"5s\"\n"), 1);
    // With one a tick they would need longer than the other may wait.
    let mut slow: Vec<Client> = (0..30).map(|_| plane.client()).collect();
    for (before, client) in slow.iter_mut().enumerate() {
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
        let under_way = format!("\"active\":{}", before + 1);
        eventually("it has a place", || plane.admin("/status").1.contains(&under_way).then_some(()));
    }
    slow.iter_mut().for_each(|client| client.send(b"b"));
    assert_eq!(plane.client().get("/").status, 200);
    slow.iter_mut().for_each(|client| client.send(b"c"));
    for client in &mut slow {
        assert_eq!(client.answer(false).unwrap().body, b"abc");
    }
}

#[test]
fn a_request_over_http2_whose_content_does_not_come_gives_its_place_to_others() {
    let plane = Plane::start(&narrow(answering(|_, body| ok(body)), ""), 1);
    let mut slow = http2::Raw::connect(plane.address(), &[]);
    let post = http2::block(&[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":authority", b"site"),
        (":path", b"/"),
        ("content-length", b"6"),
    ]);
    assert!(slow.send(&http2::frame(http2::HEADERS, 4, 1, &post)));
    assert!(slow.send(&http2::frame(http2::DATA, 0, 1, b"abc")));
    stands_still(&plane);
    assert_eq!(plane.client().get("/").body, b"");
    assert!(slow.send(&http2::frame(http2::DATA, 1, 1, b"def")));
    assert_eq!(slow.wait_for(http2::DATA, 1).unwrap().payload, b"abcdef");
}

#[test]
fn where_no_answer_may_wait_beside_the_limit_the_one_that_stands_still_is_cut_off() {
    let plane = Plane::start(&narrow(long_or_short(), "stalled_requests = 0\nqueue_deadline = \"20s\"\n"), 1);
    let (mut slow, mut other) = (plane.client(), plane.client());
    slow.send(GET_LONG);
    stands_still(&plane);
    assert_eq!(other.get("/").body, b"short");
    assert_eq!(cut(&plane), 1);
    assert!(slow.answer(false).is_none_or(|answer| answer.body.len() < LONG));
}

#[test]
fn nobody_is_cut_off_while_there_is_room() {
    let limits = "[pool.limits]\nstalled_requests = 0\n";
    let plane = Plane::start(&config("http", &[long_or_short()], limits, ""), 1);
    let mut slow = plane.client();
    slow.send(GET_LONG);
    stands_still(&plane);
    // Longer than it takes until one may be cut off.
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_millis(2_500) {
        assert_eq!(plane.client().get("/").body, b"short");
    }
    assert_eq!(slow.answer(false).unwrap().body.len(), LONG);
    assert_eq!(cut(&plane), 0);
}

#[test]
fn a_place_given_up_before_a_reload_is_taken_again_after_it_and_the_limit_holds() {
    let (here, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let long = ok(&vec![7; LONG]);
    let server = {
        let (here, most) = (Arc::clone(&here), Arc::clone(&most));
        answering(move |head, _| {
            if head.starts_with("GET /long ") {
                return long.clone();
            }
            most.fetch_max(here.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::yield_now();
            here.fetch_sub(1, SeqCst);
            ok(b"short")
        })
    };
    let plane = Plane::start(&narrow(server, ""), 1);
    let mut slow = plane.client();
    slow.send(GET_LONG);
    stands_still(&plane);
    assert_eq!(plane.client().get("/").body, b"short");
    plane.apply(&narrow(server, "queue_length = 100\n")).unwrap();
    assert_eq!(plane.client().get("/").body, b"short");
    assert_eq!(slow.answer(false).unwrap().body.len(), LONG);
    let mut clients: Vec<Client> = (0..20).map(|_| plane.client()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer(false).unwrap().body, b"short"));
    }
    assert_eq!(most.load(SeqCst), 1, "the server never had more than its limit");
    eventually("nothing is in flight", || plane.admin("/status").1.contains("\"active\":0").then_some(()));
}
