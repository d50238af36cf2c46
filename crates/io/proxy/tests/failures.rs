//! What a client is told when it, a server, or time breaks the rules, and what is tried before that.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use support::{Answer, Client, Plane, answering, config, eventually, field, named, nobody, ok, server};

/// An answer of our own: with a request id in head and body, on a connection that ends.
fn assert_own(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.head);
    let id =
        field(&answer.head, "x-request-id").unwrap_or_else(|| panic!("{what}: no id in {}", answer.head));
    assert!(String::from_utf8_lossy(&answer.body).contains(id), "{what}");
    assert_eq!(field(&answer.head, "connection"), Some("close"), "{what}");
}

/// I9: refused with the status of the fault, the connection closed, and no byte of it at a server.
#[test]
fn i9_bad_requests_are_refused_and_reach_no_server() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let server = answering(move |_, _| {
        count.fetch_add(1, SeqCst);
        ok(b"")
    });
    let plane = Plane::http(&[server], "", "[limits]\nrequest_head_bytes = 1024\nrequest_body_bytes = 10\n");
    let long = "x".repeat(2000);
    for (status, request) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        (
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
                .to_owned(),
        ),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nx : y\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1}\0\u{5}hello".to_owned()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_owned()),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n".to_owned()),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n".to_owned()),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n")),
        (501, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned()),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned()),
        (505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        let mut client = plane.client();
        assert_own(&client.ask(&request), status, &request);
        assert!(client.is_closed(), "{request}");
    }
    assert_eq!(reached.load(SeqCst), 0);
    assert_eq!(plane.client().get("/").status, 200, "still at work");
}

#[test]
fn bad_chunks_behind_a_good_start_are_refused_too() {
    let server = server(|mut peer| {
        peer.head();
        while peer.take(1).len() == 1 {}
    });
    let plane = Plane::http(&[server], "", "");
    let mut client = plane.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    eventually("the request is under way", || {
        plane.admin("/status").1.contains("\"active\":1").then_some(())
    });
    client.send(b"nonsense\r\n");
    assert_own(&client.answer(false).unwrap(), 400, "chunks");
}

#[test]
fn bad_answers_become_502_and_silence_504() {
    for (status, said) in [
        (502, "220 mail.example ESMTP\r\n"),
        (502, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (502, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (502, "HTTP/1.1 101 No\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (502, "HTTP/1.1 200 OK\r\nContent-Le"),
        (502, ""),
        (504, "HTTP/1.1 200 OK\r\nwait"),
        (504, "wait"),
    ] {
        let server = server(move |mut peer| {
            peer.head();
            peer.stream.write_all(said.trim_end_matches("wait").as_bytes()).unwrap();
            if said.ends_with("wait") {
                // Silent until the other side gives up.
                peer.take(1);
            }
        });
        let plane = Plane::http(&[server], "", "[deadlines]\nserver_head = \"150ms\"\n");
        let mut client = plane.client();
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_own(&client.ask(post), status, said);
        assert!(client.is_closed());
    }
}

#[test]
fn an_answer_that_is_cut_never_looks_whole() {
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let server = server(move |mut peer| {
            peer.head();
            peer.stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes()).unwrap();
        });
        let plane = Plane::http(&[server], "", "");
        let mut client = plane.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let end = client.0.stream.read_to_end(&mut Vec::new());
        let reset = end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(reset, "{framing}: the connection must end with a reset, not in order");
    }
}

#[test]
fn a_server_that_refuses_is_passed_over() {
    let plane = Plane::start(&config("http", &[nobody(), named("b")], "", ""), 1);
    let mut client = plane.client();
    for _ in 0..10 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"b"[..]));
    }
    eventually("five refusals in a row are enough", || {
        plane.admin("/status").1.contains("\"state\":\"ejected\"").then_some(())
    });
}

#[test]
fn a_pool_without_a_living_server_says_so() {
    let plane = Plane::http(&[nobody(), nobody()], "", "");
    assert_own(&plane.client().get("/"), 502, "nobody listens");
}

#[test]
fn a_harmless_request_is_tried_on_another_server_and_another_is_not() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let dying = server(move |mut peer| {
        // A health check connects and says nothing.
        if peer.head().is_some() {
            count.fetch_add(1, SeqCst);
        }
    });
    let plane = Plane::start(&config("http", &[dying, named("b")], "", ""), 1);
    let get = |_| plane.client().get("/").body;
    assert_eq!((0..2).map(get).collect::<Vec<_>>(), [b"b", b"b"]);
    // A further try is the other server's turn, so the second request may come to the dying one again.
    assert!((1..=2).contains(&seen.load(SeqCst)));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let mut answers: Vec<_> = (0..2).map(|_| plane.client().ask(post).status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 502], "a POST may have been carried out already");
}

#[test]
fn a_kept_connection_that_the_server_closes_fails_no_request() {
    let server = server(|mut peer| {
        // Each connection carries one request and is then closed without a word.
        if peer.head().is_some() {
            peer.stream.write_all(&ok(b"once")).unwrap();
        }
    });
    let plane = Plane::http(&[server], "", "");
    let mut client = plane.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").body, b"once");
    }
    assert!(plane.admin("/status").1.contains("\"failures\":0"));
}

#[test]
fn a_server_that_fails_again_and_again_is_ejected_and_returns() {
    let healthy = Arc::new(AtomicUsize::new(0));
    let state = Arc::clone(&healthy);
    let flaky = answering(move |_, _| match state.load(SeqCst) {
        0 => b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(b"flaky"),
    });
    let pool = "[pool.ejection]\nconsecutive_failures = 3\nbase_time = \"300ms\"\nmax_time = \"300ms\"\n";
    let plane = Plane::start(&config("http", &[flaky, named("b")], pool, ""), 1);
    let mut client = plane.client();
    let statuses: Vec<_> = (0..20).map(|_| client.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 500).count(), 3, "{statuses:?}");
    healthy.store(1, SeqCst);
    eventually("the server returns", || (client.get("/").body == b"flaky").then_some(()));
}

#[test]
fn a_full_server_lets_requests_wait_and_a_full_queue_refuses_them() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = answering(move |head, _| {
        if head.contains("/wait") {
            gate.lock().unwrap().recv().unwrap();
        }
        ok(b"done")
    });
    let pool = "[pool.limits]\nconnections_per_server = 1\nqueue_length = 1\nqueue_deadline = \"20s\"\n";
    let plane = Plane::start(&config("http", &[slow], pool, ""), 1);
    let (mut first, mut second) = (plane.client(), plane.client());
    first.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the server is full", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    second.send(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n");
    // The second waits; whoever comes while it does is refused at once.
    let refused = eventually("the queue is full", || {
        let mut third = plane.client();
        third.0.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        third.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        third.answer(false)
    });
    assert_own(&refused, 503, "queue");
    release.send(()).unwrap();
    assert_eq!(first.answer(false).unwrap().body, b"done");
    assert_eq!(second.answer(false).unwrap().body, b"done");
}

#[test]
fn who_waits_too_long_for_a_server_is_told_so() {
    let slow = server(|mut peer| {
        peer.head();
        peer.take(1);
    });
    let pool = "[pool.limits]\nconnections_per_server = 1\nqueue_deadline = \"100ms\"\n";
    let plane = Plane::start(&config("http", &[slow], pool, ""), 1);
    let mut first = plane.client();
    first.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the server is full", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    assert_own(&plane.client().get("/"), 503, "late");
}

#[test]
fn slow_clients_meet_the_deadline_of_their_phase() {
    let deadlines =
        "[deadlines]\nclient_head = \"150ms\"\nclient_body_idle = \"150ms\"\nkeep_alive_idle = \"150ms\"\n";
    let plane = Plane::http(&[answering(|_, body| ok(body))], "", deadlines);
    let mut silent = plane.client();
    assert!(silent.is_closed(), "a client that says nothing is told nothing");
    assert_own(&plane.client().ask("GET / HTTP/1.1\r\nHo"), 408, "head");
    let mut slow = plane.client();
    assert_own(&slow.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"), 408, "content");
    let mut idle = plane.client();
    assert_eq!(idle.get("/").status, 200);
    assert!(idle.is_closed(), "an idle connection ends in order");
}

/// A client that has asked for more than there is room for on the way, where whoever reads nothing for 150 ms is cut.
fn asking_for_much() -> (Plane, Client) {
    let body = vec![7; 64 << 20];
    let big = answering(move |_, _| ok(&body));
    let plane = Plane::start(&config("http", &[big], "", "[deadlines]\nclient_write_idle = \"150ms\"\n"), 1);
    let mut client = plane.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    (plane, client)
}

#[test]
fn a_client_that_stops_reading_does_not_hold_its_server_for_ever() {
    let (plane, mut client) = asking_for_much();
    assert!(client.0.head().is_some());
    eventually("the server is free again", || {
        plane.admin("/status").1.contains("\"active\":0").then_some(())
    });
}

/// A client may say that it sends no more and read its answer all the same; one that does not read is cut like any other.
#[test]
fn a_half_closed_client_that_stops_reading_is_cut_at_its_deadline() {
    let (plane, mut client) = asking_for_much();
    client.0.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.0.head().is_some());
    // Only one that had to be waited for before is known to have closed its side.
    assert_eq!(client.0.take(16 << 20).len(), 16 << 20);
    eventually("the server is free again", || {
        plane.admin("/status").1.contains("\"active\":0").then_some(())
    });
}
