//! TLS with the servers of a pool.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rustls::HandshakeKind;

use crate::{
    certificates::Authority,
    peers::{TlsPeer, server_config, tls_server},
    support::{Plane, eventually, noise, ok},
};

/// A data plane over one server with these lines in `[pool.tls]`.
fn plane(server: SocketAddr, tls: &str) -> Plane {
    Plane::http(&[server], &format!("[pool.tls]\n{tls}"), "")
}

/// Answers each request with `answer`.
fn answers(answer: impl Fn(&str, &[u8]) -> Vec<u8>) -> impl Fn(TlsPeer) {
    move |mut peer| {
        while let Some(head) = peer.head() {
            let body = peer.body(&head, false);
            if peer.stream.write_all(&answer(&head, &body)).is_err() {
                return;
            }
        }
    }
}

#[test]
fn requests_reach_servers_over_kept_sessions_whatever_their_length() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let sessions = Arc::new(AtomicUsize::new(0));
    let server = tls_server(server_config(&authority.issue(&["app.internal"]), None), {
        let sessions = Arc::clone(&sessions);
        move |peer| {
            sessions.fetch_add(1, Relaxed);
            answers(|_, body| ok(body))(peer);
        }
    });
    let ca = authority.write(folder.path(), "ca.pem");
    let plane = plane(server, &format!("ca = \"{}\"\nserver_name = \"app.internal\"\n", ca.display()));
    let mut client = plane.client();
    for length in [0, 1, 1000, 16_384, 16_385, 65_536, 3 << 20, 10] {
        let body = noise(length);
        let head = format!("POST / HTTP/1.1\r\nHost: site\r\nContent-Length: {length}\r\n\r\n");
        client.send(&[head.as_bytes(), &body].concat());
        let answer = client.answer(false).unwrap();
        assert!(answer.status == 200 && answer.body == body, "{length} bytes");
    }
    // One carried all the requests; the others are health checks, which may have been one or two.
    assert!(sessions.load(Relaxed) <= 3, "{} sessions", sessions.load(Relaxed));
    let (_, status) = plane.admin("/status");
    assert!(!status.contains("last_tls_fault"), "{status}");
}

#[test]
fn a_server_whose_certificate_does_not_verify_gets_no_request_and_the_reason_is_told() {
    let (authority, others, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let ca = authority.write(folder.path(), "ca.pem");
    let asked = Arc::new(AtomicUsize::new(0));
    for (issued, why) in [
        (authority.issue(&["app.internal"]), ""),
        (authority.issue(&["127.0.0.1", "other.internal"]), "not valid for name"),
        (authority.issue_expired(&["app.internal"]), "expired"),
        (others.issue(&["app.internal"]), "UnknownIssuer"),
    ] {
        let server = tls_server(server_config(&issued, None), {
            let asked = Arc::clone(&asked);
            move |peer| {
                answers(|_, _| {
                    asked.fetch_add(1, Relaxed);
                    ok(b"secret")
                })(peer);
            }
        });
        let plane = plane(server, &format!("ca = \"{}\"\nserver_name = \"app.internal\"\n", ca.display()));
        let status = plane.client().get("/").status;
        assert_eq!(status, if why.is_empty() { 200 } else { 502 }, "{why}");
        if !why.is_empty() {
            let (_, page) = plane.admin("/status");
            let fault = page.split("\"last_tls_fault\":").nth(1).expect("a reason");
            assert!(fault.split('}').next().unwrap().contains(why), "{why}: {fault}");
            let (_, metrics) = plane.admin("/metrics");
            let failed = metrics.lines().find(|line| line.contains("reason=\"tls_handshake\"")).unwrap();
            assert!(!failed.ends_with(" 0"), "{failed}");
        }
    }
    assert_eq!(asked.load(Relaxed), 1, "only the first was asked");
}

#[test]
fn without_a_name_the_address_is_verified_and_without_verification_nothing() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = format!("ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    for (names, tls, status) in [
        (&["127.0.0.1"][..], ca.as_str(), 200),
        (&["127.0.0.2"], &ca, 502),
        (&["127.0.0.1"], "", 502),
        (&["anyone.example"], "verify = \"none\"\n", 200),
    ] {
        let server = tls_server(server_config(&authority.issue(names), None), answers(|_, _| ok(b"a")));
        assert_eq!(plane(server, tls).client().get("/").status, status, "{names:?} {tls}");
    }
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = format!("ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    let config = server_config(&authority.issue(&["127.0.0.1"]), Some(&authority));
    let server = tls_server(config, answers(|_, _| ok(b"a")));
    let ours = authority.issue(&["box"]).write(folder.path(), "box");
    assert_eq!(plane(server, &format!("{ca}{ours}")).client().get("/").status, 200);
    // In TLS 1.3 the refusal comes after the handshake, in the place of an answer.
    assert!(plane(server, &ca).client().get("/").status >= 502);
}

#[test]
fn an_answer_until_the_end_is_whole_only_when_the_server_says_so() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = format!("ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    for whole in [true, false] {
        let config = server_config(&authority.issue(&["127.0.0.1"]), None);
        let server = tls_server(config, move |mut peer| {
            if peer.head().is_none() {
                return;
            }
            peer.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall that there is").unwrap();
            if whole {
                peer.stream.conn.send_close_notify();
            }
            peer.stream.flush().unwrap();
            peer.stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = peer.stream.sock.read(&mut [0; 1]);
        });
        let plane = plane(server, &ca);
        let mut client = plane.client();
        client.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n");
        client.0.head().unwrap();
        let mut body = Vec::new();
        let ended = client.0.stream.read_to_end(&mut body);
        assert_eq!(ended.is_ok(), whole, "{ended:?}");
    }
}

#[test]
fn sessions_with_servers_are_taken_up_again() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = format!("ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    let resumed = Arc::new(AtomicUsize::new(0));
    let server = tls_server(server_config(&authority.issue(&["127.0.0.1"]), None), {
        let resumed = Arc::clone(&resumed);
        move |mut peer| {
            // One request on each connection.
            let Some(head) = peer.head() else { return };
            if peer.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
                && head.starts_with("GET /asked")
            {
                resumed.fetch_add(1, Relaxed);
            }
            let _ =
                peer.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na");
            peer.stream.conn.send_close_notify();
            let _ = peer.stream.flush();
        }
    });
    let plane = plane(server, &ca);
    let mut client = plane.client();
    for _ in 0..4 {
        assert_eq!(client.get("/asked").status, 200);
    }
    assert!(resumed.load(Relaxed) >= 2, "{} of 4 were", resumed.load(Relaxed));
}

#[test]
fn health_checks_speak_tls_as_well() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = format!("ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    let expired = authority.issue_expired(&["127.0.0.1"]);
    let good = tls_server(server_config(&authority.issue(&["127.0.0.1"]), None), answers(|_, _| ok(b"a")));
    let bad = tls_server(server_config(&expired, None), answers(|_, _| ok(b"a")));
    let pool = format!("[pool.tls]\n{ca}");
    let config = crate::support::config("http", &[good, bad], &pool, "").replace(
        crate::support::QUICK,
        "[pool.health_check]\nkind = \"http\"\ninterval = \"50ms\"\nrise = 1\nfall = 1\n",
    );
    let plane = Plane::start(&config, 1);
    let page = eventually("one is up and one is down", || {
        let (_, page) = plane.admin("/status");
        (page.contains("status 200") && page.contains("\"down\"")).then_some(page)
    });
    assert!(page.contains("health check: no TLS session: ") && page.contains("expired"), "{page}");
    for _ in 0..4 {
        assert_eq!(plane.client().get("/").status, 200);
    }
}

#[test]
fn files_for_servers_that_are_wrong_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::support::named("a");
    let plane = Plane::http(&[server], "", "");
    let missing = folder.path().join("ca.pem").display().to_string();
    let text = crate::support::config("http", &[server], &format!("[pool.tls]\nca = \"{missing}\"\n"), "");
    let refused = plane.apply(&text).unwrap_err().sentences();
    assert!(refused[0].starts_with("pool `app`, TLS: `") && refused[0].contains(&missing), "{refused:?}");
    assert_eq!(plane.client().get("/").status, 200);
}
