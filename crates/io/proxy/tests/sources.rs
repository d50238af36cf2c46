//! How many connections each source may have.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
};

use support::{Client, Peer, Plane, config, eventually, field, named, nobody, sample, server};

fn limited(mode: &str, servers: &[SocketAddr], per_source: &str, rest: &str) -> String {
    config(mode, servers, "", rest).replacen(
        "pool = \"app\"\n",
        &format!("pool = \"app\"\nper_source = {{ {per_source} }}\n"),
        1,
    )
}

/// A connection from an address of the box itself.
fn from(last: u8, plane: &Plane) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&plane.address().into()).unwrap();
    Client(Peer::new(TcpStream::from(socket)))
}

fn refused(plane: &Plane) -> u64 {
    sample(&plane.admin("/metrics").1, "evenkeel_source_limit_refused_total{listener=\"web\"}")
}

#[test]
fn a_source_has_as_many_connections_as_it_may_have_over_all_workers_and_no_more() {
    let plane = Plane::start(&limited("http", &[named("a")], "connections = 5, exempt = []", ""), 2);
    let mut held: Vec<_> = (0..5).map(|_| from(1, &plane)).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    for more in 1..=20 {
        let mut client = from(1, &plane);
        let answer = client.answer(false).expect("it is told why");
        assert_eq!((answer.status, field(&answer.head, "connection")), (429, Some("close")));
        assert_eq!(field(&answer.head, "retry-after"), Some("1"));
        assert!(String::from_utf8(answer.body).unwrap().contains("too many connections"));
        assert!(client.is_closed());
        assert_eq!(refused(&plane), more);
    }
    assert_eq!(from(2, &plane).get("/").status, 200, "others are not concerned");
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    drop(held.pop());
    let mut freed = eventually("a place", || {
        let mut client = from(1, &plane);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.answer(false).is_some_and(|answer| answer.status == 200).then_some(client)
    });
    assert_eq!(freed.get("/").status, 200);
    let metrics = plane.admin("/metrics").1;
    assert!(sample(&metrics, "evenkeel_own_responses_total{listener=\"web\",status=\"429\"}") >= 20);
}

/// Refusals that are told are bounded too: who does not read them is cut off.
#[test]
fn a_flood_of_connections_is_not_told_one_by_one() {
    let plane = Plane::start(&limited("http", &[named("a")], "connections = 1, exempt = []", ""), 1);
    let mut held = from(1, &plane);
    assert_eq!(held.get("/").status, 200);
    let flood: Vec<_> = (0..200).map(|_| from(1, &plane)).collect();
    eventually("all are refused", || (refused(&plane) == 200).then_some(()));
    let told = flood.into_iter().filter_map(|mut client| client.answer(false)).count();
    assert!((1..=64).contains(&told), "{told} of 200");
    assert_eq!(held.get("/").status, 200);
}

#[test]
fn a_connection_of_tcp_beyond_the_limit_is_cut_off_and_reaches_no_server() {
    let echo = server(|mut peer| {
        while let bytes @ [_, ..] = &peer.take(1)[..] {
            std::io::Write::write_all(&mut peer.stream, bytes).unwrap();
        }
    });
    let plane = Plane::start(&limited("tcp", &[echo], "connections = 2, exempt = []", ""), 2);
    let mut held: Vec<_> = (0..2).map(|_| from(1, &plane)).collect();
    let works = |client: &mut Client| {
        client.send(b"x");
        client.0.take(1) == b"x"
    };
    assert!(held.iter_mut().all(works));
    assert!(from(1, &plane).0.take(1).is_empty());
    assert_eq!(refused(&plane), 1);
    assert!(works(&mut from(2, &plane)));
    held.clear();
    eventually("a place", || {
        let mut client = from(1, &plane);
        let sent = std::io::Write::write_all(&mut client.0.stream, b"x").is_ok();
        (sent && client.0.take(1) == b"x").then_some(())
    });
}

#[test]
fn the_box_itself_and_proxies_in_front_are_not_counted() {
    for per_source in ["connections = 1", "connections = 1, exempt = [\"127.0.0.0/30\"]"] {
        let plane = Plane::start(&limited("http", &[named("a")], per_source, ""), 1);
        let mut held: Vec<_> = (0..4).map(|_| from(2, &plane)).collect();
        assert!(held.iter_mut().all(|client| client.get("/").status == 200));
    }
    let text = limited("http", &[named("a")], "connections = 1, exempt = []", "").replacen(
        "per_source",
        "forward = { trusted = [\"127.0.0.2\"] }\nper_source",
        1,
    );
    let plane = Plane::start(&text, 1);
    let mut held: Vec<_> = (0..4).map(|_| from(2, &plane)).collect();
    assert!(held.iter_mut().all(|client| client.get("/").status == 200));
    let mut one = from(1, &plane);
    assert_eq!(one.get("/").status, 200);
    assert_eq!(from(1, &plane).get("/").status, 429, "others have their limit");
}

#[test]
fn behind_a_proxy_the_client_that_it_names_is_counted() {
    let text = limited("http", &[named("a")], "connections = 2, ipv6_prefix = 56", "").replacen(
        "per_source",
        "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.0/8\"]\nper_source",
        1,
    );
    let plane = Plane::start(&text, 2);
    let as_client = |source: &str| {
        let mut client = from(1, &plane);
        client.send(format!("PROXY TCP6 {source} 2001:db8::1 40000 443\r\n").as_bytes());
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let status = client.answer(false).map(|answer| answer.status);
        (client, status)
    };
    let held: Vec<_> = ["2001:db8:0:100::1", "2001:db8:0:1ff::2"].map(as_client).into();
    assert!(held.iter().all(|(_, status)| *status == Some(200)));
    assert_eq!(as_client("2001:db8:0:1aa::3").1, Some(429), "the same household");
    assert_eq!(as_client("2001:db8:0:200::1").1, Some(200));
}

#[test]
fn a_reload_counts_on_from_what_is_there() {
    let bind = nobody();
    let text = |connections: u32| {
        limited("http", &[named("a")], &format!("connections = {connections}, exempt = []"), "")
            .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""))
    };
    let plane = Plane::start(&text(3), 2);
    let mut held: Vec<_> = (0..3).map(|_| from(1, &plane)).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    plane.apply(&text(2)).unwrap();
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200, "who is there stays"));
    held.pop();
    eventually("it has gone", || {
        (sample(&plane.admin("/metrics").1, "evenkeel_client_connections{listener=\"web\"}") == 2)
            .then_some(())
    });
    assert_eq!(from(1, &plane).get("/").status, 429, "two are still there");
    plane.apply(&text(4)).unwrap();
    assert_eq!(from(1, &plane).get("/").status, 200);
}

/// Connections come and go on all workers at once; none is forgotten and none counted twice.
#[test]
fn after_any_number_of_connections_the_count_is_right() {
    let plane =
        Arc::new(Plane::start(&limited("http", &[named("a")], "connections = 8, exempt = []", ""), 2));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let plane = Arc::clone(&plane);
            thread::spawn(move || {
                for _ in 0..200 {
                    assert!([200, 429].contains(&from(1, &plane).get("/").status));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    eventually("all have gone", || {
        (sample(&plane.admin("/metrics").1, "evenkeel_client_connections{listener=\"web\"}") == 0)
            .then_some(())
    });
    let mut held: Vec<_> = (0..8).map(|_| from(1, &plane)).collect();
    held.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    assert_eq!(from(1, &plane).get("/").status, 429);
}
