//! Connections passed on by name, without decrypting anything.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    certificates::Authority,
    clients::metric,
    peers::{byte_by_byte, config, connect, server_config, tls_server, try_connect},
    support::{Client, PATIENCE, Plane, eventually, noise, server},
};

/// A configuration that passes names on to pools of one server each.
fn passing(rules: &[(&str, SocketAddr)], default: SocketAddr, more: &str, rest: &str) -> String {
    let mut text = crate::support::config("tcp", &[default], "", rest);
    let mut sni = more.to_owned();
    for (at, (names, address)) in rules.iter().enumerate() {
        sni += &format!("[[listener.sni]]\nnames = [{names}]\npool = \"p{at}\"\n");
        text +=
            &format!("[[pool]]\nname = \"p{at}\"\n[[pool.server]]\nname = \"s\"\naddress = \"{address}\"\n");
    }
    text.replacen("[[pool]]", &format!("{sni}[[pool]]"), 1)
}

/// A TLS server that says its name to each who comes.
fn saying(authority: &Authority, names: &[&str], word: &'static str) -> SocketAddr {
    tls_server(server_config(&authority.issue(names), None), move |mut peer| {
        let mut asked = [0; 1];
        if peer.stream.read_exact(&mut asked).is_ok() {
            let _ = peer.stream.write_all(word.as_bytes());
            peer.stream.conn.send_close_notify();
            let _ = peer.stream.flush();
        }
    })
}

fn said(plane: &Plane, authority: &Authority, name: &str) -> Option<String> {
    let mut client = try_connect(plane.address(), &config(authority), name).ok()?;
    client.0.stream.write_all(b"?").ok()?;
    let mut word = String::new();
    client.0.stream.read_to_string(&mut word).ok()?;
    Some(word)
}

#[test]
fn each_name_reaches_its_pool_and_is_decrypted_there_alone() {
    let authority = Authority::new();
    let one = saying(&authority, &["a.example"], "one");
    let two = saying(&authority, &["*.b.example", "x.y.b.example", "own.b.example"], "two");
    let own = saying(&authority, &["own.b.example"], "own");
    let other = saying(&authority, &["c.example", "127.0.0.1"], "other");
    let rules = [("\"a.example\"", one), ("\"*.b.example\"", two), ("\"own.b.example\"", own)];
    let plane = Plane::start(&passing(&rules, other, "", ""), 1);
    for (name, word) in [
        ("a.example", "one"),
        ("A.Example", "one"),
        ("z.b.example", "two"),
        ("x.y.b.example", "two"),
        ("own.b.example", "own"),
        ("c.example", "other"),
        ("127.0.0.1", "other"),
    ] {
        assert_eq!(said(&plane, &authority, name).as_deref(), Some(word), "{name}");
    }
    let plane = Plane::start(&passing(&rules, other, "sni_otherwise = \"refuse\"\n", ""), 1);
    assert_eq!(said(&plane, &authority, "a.example").as_deref(), Some("one"));
    for name in ["c.example", "127.0.0.1", "b.example"] {
        assert_eq!(said(&plane, &authority, name), None, "{name}");
    }
    assert_eq!(metric(&plane, "evenkeel_tls_handshake_failures_total", &["unknown_name"]), 3.0);
}

#[test]
fn a_hello_in_pieces_arrives_whole_and_what_follows_it_too() {
    let authority = Authority::new();
    let echo = tls_server(server_config(&authority.issue(&["a.example"]), None), |mut peer| {
        let mut all = Vec::new();
        let _ = peer.stream.read_to_end(&mut all);
        let _ = peer.stream.write_all(&all);
        peer.stream.conn.send_close_notify();
        let _ = peer.stream.flush();
    });
    let plane = Plane::start(&passing(&[("\"a.example\"", echo)], crate::support::nobody(), "", ""), 1);
    let mut client = connect(byte_by_byte(plane.address()), &config(&authority), "a.example");
    let body = noise(1 << 20);
    client.send(&body);
    client.0.stream.conn.send_close_notify();
    client.0.stream.flush().unwrap();
    let mut all = Vec::new();
    client.0.stream.read_to_end(&mut all).unwrap();
    assert!(all == body, "{} of {} bytes", all.len(), body.len());
}

#[test]
fn what_is_not_tls_goes_to_the_default_pool_or_nowhere() {
    let authority = Authority::new();
    let tls = saying(&authority, &["a.example"], "one");
    let ssh = server(|mut peer| {
        let mut word = [0; 8];
        peer.stream.read_exact(&mut word).unwrap();
        peer.stream.write_all(&word).unwrap();
    });
    let rules = [("\"a.example\"", tls)];
    let plane = Plane::start(&passing(&rules, ssh, "", ""), 1);
    let mut client = Client::connect(plane.address());
    client.send(b"SSH-2.0-");
    assert_eq!(client.0.take(8), b"SSH-2.0-");
    let plane = Plane::start(&passing(&rules, ssh, "sni_otherwise = \"refuse\"\n", ""), 1);
    let mut client = Client::connect(plane.address());
    client.send(b"SSH-2.0-");
    assert!(client.0.take(1).is_empty());
    eventually("it is counted", || {
        (metric(&plane, "evenkeel_tls_handshake_failures_total", &["malformed"]) == 1.0).then_some(())
    });
}

#[test]
fn a_client_that_does_not_say_whom_it_wants_is_cut() {
    let plane = Plane::start(
        &passing(
            &[("\"a.example\"", crate::support::nobody())],
            crate::support::nobody(),
            "",
            "[deadlines]\ntls_handshake = \"200ms\"\n",
        ),
        1,
    );
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = Client::connect(plane.address());
        client.send(bytes);
        let began = std::time::Instant::now();
        assert!(client.0.take(1).is_empty() && began.elapsed() < PATIENCE - Duration::from_secs(5));
    }
    eventually("both are counted", || {
        (metric(&plane, "evenkeel_tls_handshake_failures_total", &["timeout"]) == 2.0).then_some(())
    });
}
