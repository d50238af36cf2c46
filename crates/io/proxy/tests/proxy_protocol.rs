//! The PROXY protocol, in and out, over real sockets.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::mpsc,
    thread,
};

use evenkeel_proxy_protocol::{Endpoints, Facts, Header, Parsed, Transport, parse, write_v2};
use support::{Client, Peer, Plane, answering, config, eventually, field, ok, sample, server};

/// A plane whose clients come through a proxy at 127.0.0.1.
fn behind(mode: &str, servers: &[SocketAddr], pool: &str, rest: &str, trusted: &str) -> Plane {
    let told = format!("proxy_protocol = \"required\"\nproxy_trusted = [\"{trusted}\"]\n");
    let config =
        config(mode, servers, pool, rest).replace("pool = \"app\"\n", &format!("pool = \"app\"\n{told}"));
    Plane::start(&config, 1)
}

/// A header of version 2 for a client.
fn binary(source: &str) -> Vec<u8> {
    let (source, destination) = (source.parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    let endpoints = Endpoints::Internet { source, destination, transport: Transport::Stream };
    let mut bytes = Vec::new();
    write_v2(
        &Header { endpoints, facts: Facts { authority: Some("exam.example"), ..Facts::NONE } },
        &mut bytes,
    );
    bytes
}

/// A server that answers with the client's address as it was told.
fn telling() -> SocketAddr {
    answering(|head, _| ok(field(head, "x-forwarded-for").unwrap_or("nobody").as_bytes()))
}

fn refused(plane: &Plane, reason: &str) -> u64 {
    let name = format!("evenkeel_proxy_protocol_refused_total{{listener=\"web\",reason=\"{reason}\"}}");
    sample(&plane.admin("/metrics").1, &name)
}

#[test]
fn the_client_of_the_header_is_the_one_that_servers_are_told_of() {
    let plane = behind("http", &[telling()], "", "", "127.0.0.0/8");
    let ask = "GET / HTTP/1.1\r\nHost: site\r\n\r\n";
    for (header, told) in [
        (&b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n"[..], "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&binary("192.0.2.9:1"), "192.0.2.9"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "127.0.0.1"),
    ] {
        // Header and request in one piece, and byte by byte.
        let mut client = plane.client();
        client.send(&[header, ask.as_bytes()].concat());
        assert_eq!(client.answer(false).unwrap().body, told.as_bytes());
        assert_eq!(client.get("/").body, told.as_bytes(), "the connection stands for its client to its end");
        let mut client = plane.client();
        header.iter().for_each(|&byte| client.send(&[byte]));
        assert_eq!(client.get("/").body, told.as_bytes());
    }
}

#[test]
fn the_word_on_others_is_taken_from_who_connects_and_not_from_whom_it_names() {
    for (trusted, told) in [
        ("127.0.0.0/8", "10.1.1.1 and then 192.0.2.7"),
        // Whoever a header may name is nobody to be trusted.
        ("192.0.2.0/24", "192.0.2.7"),
    ] {
        let server = answering(|head, _| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let chain = lines.filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"));
            ok(chain.map(|(_, value)| value).collect::<Vec<_>>().join(" and then ").as_bytes())
        });
        let told_of = "proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.0/8\"]\n";
        let forward = format!("[listener.forward]\ntrusted = [\"{trusted}\"]\n");
        let text = config("http", &[server], "", "");
        let text = text.replace("pool = \"app\"\n", &format!("pool = \"app\"\n{told_of}{forward}"));
        let plane = Plane::start(&text, 1);
        let mut client = plane.client();
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n");
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n");
        let answer = client.answer(false).unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), told, "trusting {trusted}");
    }
}

#[test]
fn connections_without_a_good_header_are_refused_and_counted() {
    let rest = "[deadlines]\nproxy_header = \"200ms\"\n";
    let plane = behind("http", &[telling()], "", rest, "127.0.0.0/8");
    let mut bad = binary("192.0.2.9:1");
    let last = bad.len() - 1;
    bad[last] ^= 1;
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "not_proxy"),
        (b"PROXY TCP4 192.0.2.7\r\n", "malformed"),
        (&bad, "checksum"),
        (b"PROXY TCP4 19", "timeout"),
    ] {
        let mut client = plane.client();
        client.send(bytes);
        // It is cut off, with a reset or an end, and gets no byte of an answer.
        assert!(!matches!(client.0.stream.read(&mut [0; 1]), Ok(1..)), "{reason}");
        eventually(reason, || (refused(&plane, reason) == 1).then_some(()));
    }
    let mut client = plane.client();
    client.send(b"PROXY TCP4 19");
    drop(client);
    // Where the system does not report the end once more, the deadline finds it.
    eventually("the early end", || (refused(&plane, "gone") + refused(&plane, "timeout") == 2).then_some(()));
}

#[test]
fn a_header_from_outside_of_the_trusted_networks_is_not_even_read() {
    let plane = behind("http", &[telling()], "", "", "10.0.0.0/8");
    let mut client = plane.client();
    // The connection may be cut before or after this is written.
    let _ = client
        .0
        .stream
        .write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!matches!(client.0.stream.read(&mut [0; 1]), Ok(1..)));
    eventually("the refusal", || (refused(&plane, "untrusted") == 1).then_some(()));
}

/// A server that takes a header off each connection, reports whom it names, and hands the rest on.
fn unwrapping(handle: fn(Peer)) -> (SocketAddr, mpsc::Receiver<Endpoints>) {
    let (report, told) = mpsc::channel();
    let address = server(move |mut peer| {
        loop {
            match parse(&peer.held) {
                Ok(Parsed::Header(header, length)) => {
                    report.send(header.endpoints).unwrap();
                    peer.held.drain(..length);
                    return handle(peer);
                }
                Ok(Parsed::Partial) => {
                    let mut piece = [0; 512];
                    let Ok(length @ 1..) = peer.stream.read(&mut piece) else { return };
                    peer.held.extend_from_slice(&piece[..length]);
                }
                Err(error) => panic!("{error}: {:?}", peer.held),
            }
        }
    });
    (address, told)
}

fn echo(mut peer: Peer) {
    let held = std::mem::take(&mut peer.held);
    peer.stream.write_all(&held).unwrap();
    let mut back = peer.stream.try_clone().unwrap();
    let _ = std::io::copy(&mut peer.stream, &mut back);
}

#[test]
fn servers_of_tcp_mode_are_told_of_the_client_that_the_proxy_in_front_named() {
    for version in ["v1", "v2"] {
        let (address, told) = unwrapping(echo);
        let pool = format!("proxy_protocol = \"{version}\"\n");
        let plane = behind("tcp", &[address], "", "", "127.0.0.0/8");
        let text = std::fs::read_to_string(plane.folder.path().join("balancer.toml")).unwrap();
        let text = text.replace("policy = \"round-robin\"\n", &format!("policy = \"round-robin\"\n{pool}"));
        plane.apply(&text).unwrap();
        let mut client = plane.client();
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\nhello");
        assert_eq!(client.0.take(5), b"hello", "{version}");
        let named = told.iter().find_map(|endpoints| match endpoints {
            Endpoints::Internet { source, .. } => Some(source),
            // The health check, which is for nobody.
            Endpoints::Local | Endpoints::Unknown | Endpoints::Unix { .. } => None,
        });
        assert_eq!(named, Some("192.0.2.7:40000".parse().unwrap()), "{version}");
    }
}

fn answer_all(mut peer: Peer) {
    while peer.head().is_some() {
        peer.stream.write_all(&ok(b"x")).unwrap();
    }
}

#[test]
fn a_server_of_http_mode_never_gets_two_clients_on_one_announced_connection() {
    let (address, told) = unwrapping(answer_all);
    let text = config("http", &[address], "", "")
        .replace("policy = \"round-robin\"\n", "policy = \"round-robin\"\nproxy_protocol = \"v2\"\n");
    let plane = Plane::start(&text, 1);
    let clients: Vec<_> = (0..3).map(|_| plane.client()).collect();
    let addresses: Vec<_> = clients.iter().map(|client| client.0.stream.local_addr().unwrap()).collect();
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || (0..3).for_each(|_| assert_eq!(client.get("/").body, b"x")));
        }
    });
    let mut named: Vec<_> = told
        .try_iter()
        .filter_map(|endpoints| match endpoints {
            Endpoints::Internet { source, destination, .. } => Some((source, destination)),
            Endpoints::Local | Endpoints::Unknown | Endpoints::Unix { .. } => None,
        })
        .collect();
    named.sort();
    let mut expected: Vec<_> = addresses.iter().flat_map(|&source| [(source, plane.address()); 3]).collect();
    expected.sort();
    assert_eq!(named, expected);
}

#[test]
fn what_follows_the_header_is_left_whole_for_a_handshake() {
    // What follows the header is left whole: a TLS listener behind it would see its first record at byte 0.
    let (address, _told) = unwrapping(echo);
    let plane = behind("tcp", &[address], "", "", "127.0.0.0/8");
    let text = std::fs::read_to_string(plane.folder.path().join("balancer.toml")).unwrap();
    plane
        .apply(
            &text
                .replace("policy = \"round-robin\"\n", "policy = \"round-robin\"\nproxy_protocol = \"v1\"\n"),
        )
        .unwrap();
    let mut client = Client::connect(plane.address());
    client.send(&[&binary("192.0.2.9:1")[..], b"\x16\x03\x01"].concat());
    assert_eq!(client.0.take(3), b"\x16\x03\x01");
}
