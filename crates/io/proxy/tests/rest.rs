//! Clients at rest: nothing that they send is lost, and whatever ends a connection ends theirs.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{io::Read as _, net::Shutdown, time::Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, PATIENCE, Plane, answering, config, eventually, field, named, nobody, ok};

/// The value of a metric of the listener `web`.
fn metric(plane: &Plane, name: &str) -> usize {
    let start = format!("{name}{{listener=\"web\"}} ");
    let page = plane.admin("/metrics").1;
    page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap()
}

/// Waits until so many clients are at rest.
fn at_rest(plane: &Plane, count: usize) {
    eventually("clients go to rest", || {
        (metric(plane, "evenkeel_client_connections_resting") == count).then_some(())
    });
}

fn echo() -> std::net::SocketAddr {
    answering(|head, body| ok(&[head.split(' ').nth(1).unwrap().as_bytes(), body].concat()))
}

#[test]
fn a_client_at_rest_that_sends_again_is_served_again_and_again() {
    let plane = Plane::http(&[echo()], "", "");
    let mut client = plane.client();
    for path in ["/a", "/b", "/c"] {
        assert_eq!(client.get(path).body, path.as_bytes());
        at_rest(&plane, 1);
    }
    assert_eq!(metric(&plane, "evenkeel_client_connections_total"), 1);
}

#[test]
fn a_client_that_rests_before_its_first_request_is_served() {
    let plane = Plane::http(&[echo()], "", "");
    let mut client = plane.client();
    at_rest(&plane, 1);
    assert_eq!(client.get("/first").body, b"/first");
}

#[test]
fn a_head_that_comes_in_pieces_and_requests_that_come_at_once_are_whole_after_a_rest() {
    let plane = Plane::http(&[echo()], "", "");
    let mut client = plane.client();
    at_rest(&plane, 1);
    client.send(b"G");
    at_rest(&plane, 0);
    client.send(b"ET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyzGET /3 HT");
    assert_eq!(client.answer(false).unwrap().body, b"/1");
    assert_eq!(client.answer(false).unwrap().body, b"/2xyz");
    client.send(b"TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer(false).unwrap().body, b"/3");
    at_rest(&plane, 1);
}

#[test]
fn a_client_at_rest_that_leaves_is_gone_at_once() {
    let plane = Plane::http(&[echo()], "", "");
    let (mut ends, mut resets) = (plane.client(), plane.client());
    assert_eq!((ends.get("/").status, resets.get("/").status), (200, 200));
    at_rest(&plane, 2);
    socket2::SockRef::from(&resets.0.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(resets);
    ends.0.stream.shutdown(Shutdown::Write).unwrap();
    eventually("both are gone", || (metric(&plane, "evenkeel_client_connections") == 0).then_some(()));
    assert!(ends.is_closed());
}

#[test]
fn a_rest_ends_with_the_deadline_and_no_earlier() {
    let plane = Plane::http(&[echo()], "", "[deadlines]\nkeep_alive_idle = \"2s\"\nclient_head = \"3s\"\n");
    let (mut answered, mut silent) = (plane.client(), plane.client());
    let began = Instant::now();
    assert_eq!(answered.get("/").status, 200);
    at_rest(&plane, 2);
    assert!(answered.is_closed());
    let (first, then) = (began.elapsed(), Instant::now());
    assert!(first.as_millis() >= 2000 && first < PATIENCE, "{first:?}");
    assert!(silent.is_closed());
    assert!(began.elapsed().as_millis() >= 3000 && then.elapsed() < PATIENCE);
}

#[test]
fn a_drain_closes_clients_at_rest_but_not_before_what_they_sent_is_answered() {
    let plane = Plane::http(&[echo()], "", "");
    let mut clients: Vec<_> = (0..20).map(|_| plane.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    at_rest(&plane, 20);
    clients[7].send(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    plane.begin_drain();
    let last = clients[7].answer(false).unwrap();
    assert_eq!(last.body, b"/last");
    for client in &mut clients {
        assert!(client.is_closed());
    }
    plane.wait();
}

#[test]
fn a_reload_that_removes_a_listener_closes_its_clients_at_rest_and_no_others() {
    let plane = Plane::http(&[echo()], "", "");
    let mut old = plane.client();
    assert_eq!(old.get("/").status, 200);
    at_rest(&plane, 1);
    let other = |rest: &str| {
        config("http", &[named("b")], "", "")
            .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{}\"", nobody()))
            + rest
    };
    plane.apply(&other("")).unwrap();
    assert!(old.is_closed());
    let mut stays = plane.client();
    assert_eq!(stays.get("/").body, b"b");
    at_rest(&plane, 1);
    let address = plane.address();
    let kept = config("http", &[named("c")], "", "")
        .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{address}\""));
    plane.apply(&kept).unwrap();
    assert_eq!(stays.get("/").body, b"c", "a client at rest is served under the new settings");
}

/// Ten thousand, or as many as this process may have descriptors for.
#[test]
fn ten_thousand_clients_rest_and_are_served_again() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let room = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let count = 10_000.min((room - 500) / 2);
    assert!(count > 100, "no test with so few descriptors: {room}");
    let plane = Plane::http(&[echo()], "", &format!("[limits]\nmax_clients = {}\n", 2 * count));
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = plane.client();
        assert_eq!(client.get("/1").body, b"/1");
        clients.push(client);
    }
    at_rest(&plane, count);
    for client in clients.iter_mut().rev() {
        assert_eq!(client.get("/2").body, b"/2");
    }
    assert_eq!(metric(&plane, "evenkeel_client_connections"), count);
    plane.begin_drain();
    for mut client in clients {
        let closed = client.0.stream.read(&mut [0; 1]);
        assert!(matches!(closed, Ok(0)), "{closed:?}");
    }
    plane.wait();
}

#[test]
fn what_comes_with_the_connection_or_just_before_its_end_is_answered() {
    let plane = Plane::http(&[echo()], "", "");
    let mut client = Client::connect(plane.address());
    client.send(b"GET /all HTTP/1.1\r\nHost: a\r\n\r\n");
    client.0.stream.shutdown(Shutdown::Write).unwrap();
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.body.as_slice(), field(&answer.head, "connection")), (&b"/all"[..], None));
    assert!(client.is_closed());
}
