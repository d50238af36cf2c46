//! TLS with clients of a listener.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustls::{HandshakeKind, ProtocolVersion};

use crate::{
    certificates::{Authority, Issued},
    peers::{byte_by_byte, client_config, config, connect, shown, try_connect},
    support::{Client, Plane, answering, eventually, field, named, noise, ok},
};

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];

/// A configuration of one listener `web` that speaks TLS; `tls` are lines of its table.
pub(crate) fn configuration(mode: &str, tls: &str, servers: &[SocketAddr], rest: &str) -> String {
    let plain = crate::support::config(mode, servers, "", rest);
    plain.replacen("[[pool]]", &format!("[listener.tls]\n{tls}[[pool]]"), 1)
}

/// An authority, a folder for files, and a data plane that shows a certificate for `site`.
struct Site {
    authority: Authority,
    folder: tempfile::TempDir,
    plane: Plane,
}

fn site(extra: &str, servers: &[SocketAddr], rest: &str) -> Site {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site") + extra;
    let plane = Plane::start(&configuration("http", &tls, servers, rest), 2);
    Site { authority, folder, plane }
}

/// The sum of the samples of a family whose labels have all of `parts`.
pub(crate) fn metric(plane: &Plane, family: &str, parts: &[&str]) -> f64 {
    let (_, page) = plane.admin("/metrics");
    let samples =
        page.lines().filter(|line| line.starts_with(family) && parts.iter().all(|part| line.contains(part)));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn requests_and_answers_of_any_length_pass_in_both_versions() {
    let server = answering(|_, body| ok(body));
    let site = site("", &[server], "");
    for version in BOTH {
        let config = client_config(&site.authority, None, version);
        let mut client = connect(site.plane.address(), &config, "site");
        assert_eq!(client.0.stream.conn.protocol_version(), Some(version));
        for length in [0, 1, 1000, 16_384, 16_385, 65_536, 3 << 20] {
            let body = noise(length);
            let head = format!("POST / HTTP/1.1\r\nHost: site\r\nContent-Length: {length}\r\n\r\n");
            client.send(&[head.as_bytes(), &body].concat());
            let answer = client.answer(false).unwrap();
            assert!(answer.status == 200 && answer.body == body, "{version:?}, {length} bytes");
        }
    }
}

#[test]
fn a_client_that_reads_slowly_gets_every_byte() {
    let body = Arc::new(noise(8 << 20));
    let server = answering({
        let body = Arc::clone(&body);
        move |_, _| ok(&body)
    });
    let site = site("", &[server], "");
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    client.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n");
    // The answer is larger than all buffers on its way, so the data plane has to wait in the middle of it.
    eventually("the server's answer begins", || {
        let (_, status) = site.plane.admin("/status");
        status.contains("\"active\":1").then_some(())
    });
    assert_eq!(client.answer(false).unwrap().body, *body);
    assert_eq!(client.get("/").body, *body);
}

#[test]
fn pipelined_requests_behind_the_handshake_are_answered_in_order() {
    let server = answering(|head, _| ok(head.split(' ').nth(1).unwrap().as_bytes()));
    let site = site("", &[server], "");
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    let requests: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: site\r\n\r\n")).collect();
    client.send(requests.as_bytes());
    for n in 0..50 {
        assert_eq!(client.answer(false).unwrap().body, format!("/{n}").as_bytes());
    }
}

#[test]
fn the_last_answer_is_followed_by_a_word_that_it_was_the_last() {
    let site = site("", &[named("a")], "");
    for version in BOTH {
        let mut client =
            connect(site.plane.address(), &client_config(&site.authority, None, version), "site");
        let answer = client.ask("GET / HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.body, b"a");
        // rustls gives an error at an end without close_notify.
        assert_eq!(client.0.stream.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn an_answer_that_was_cut_does_not_look_whole_to_a_client() {
    let server = crate::support::server(|mut peer| {
        peer.head();
        peer.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    });
    let site = site("", &[server], "");
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    client.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n");
    client.0.head().unwrap();
    let mut rest = Vec::new();
    assert!(client.0.stream.read_to_end(&mut rest).is_err(), "an orderly end after {rest:?}");
}

#[test]
fn each_name_is_shown_its_certificate_and_others_the_first_or_none() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (first, second) =
        (authority.issue(&["one.example"]), authority.issue(&["two.example", "*.two.example"]));
    let more = format!("[[listener.tls.more]]\n{}", second.write(folder.path(), "two"));
    let first_lines = first.write(folder.path(), "one");
    for (unknown, other) in [("default", Some(&first)), ("refuse", None)] {
        let tls = format!("{first_lines}unknown_name = \"{unknown}\"\n{more}");
        let plane = Plane::start(&configuration("http", &tls, &[named("a")], ""), 1);
        let config = Arc::new({
            let mut config = (*config(&authority)).clone();
            // What is shown is looked at here, whatever name it has.
            config.dangerous().set_certificate_verifier(Arc::new(crate::peers::Anyone));
            config
        });
        for (name, expected) in [
            ("one.example", Some(&first)),
            ("two.example", Some(&second)),
            ("a.two.example", Some(&second)),
            ("a.b.two.example", other),
            ("three.example", other),
            ("127.0.0.1", Some(&first)),
        ] {
            let shown = shown(plane.address(), &config, name);
            assert_eq!(
                shown.as_ref(),
                expected.map(|issued: &Issued| &issued.certificate),
                "{name}, {unknown}"
            );
        }
        let refused = metric(&plane, "evenkeel_tls_handshake_failures_total", &["unknown_name"]);
        assert_eq!(refused > 0.0, unknown == "refuse");
        for version in BOTH {
            let config = client_config(&authority, None, version);
            let error = try_connect(plane.address(), &config, "three.example").err().unwrap().to_string();
            assert_eq!(error.contains("UnrecognisedName"), unknown == "refuse", "{version:?}: {error}");
        }
    }
}

#[test]
fn who_speaks_http_without_tls_is_told_so_and_nothing_of_it_reaches_a_server() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = answering({
        let asked = Arc::clone(&asked);
        move |_, _| {
            asked.fetch_add(1, Relaxed);
            ok(b"a")
        }
    });
    let site = site("", &[server], "");
    let mut client = Client::connect(site.plane.address());
    let answer = client.get("/");
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8(answer.body).unwrap().contains("speaks HTTPS"));
    assert!(client.is_closed());
    assert_eq!(asked.load(Relaxed), 0);
    eventually("it is counted", || {
        (metric(&site.plane, "evenkeel_tls_handshake_failures_total", &["plain_http"]) == 1.0).then_some(())
    });
}

#[test]
fn what_is_not_tls_at_all_is_closed_and_counted() {
    let site = site("", &[named("a")], "");
    for bytes in
        [&b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05hello"]
    {
        let mut client = Client::connect(site.plane.address());
        client.send(bytes);
        client.0.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = client.0.stream.read_to_end(&mut rest);
        // At most an alert: 7 bytes.
        assert!(rest.len() <= 7, "{rest:?}");
    }
    eventually("they are counted", || {
        (metric(&site.plane, "evenkeel_tls_handshake_failures_total", &[]) == 3.0).then_some(())
    });
    assert_eq!(connect(site.plane.address(), &config(&site.authority), "site").get("/").status, 200);
}

#[test]
fn a_handshake_that_takes_too_long_is_cut() {
    let site = site("", &[named("a")], "[deadlines]\ntls_handshake = \"200ms\"\n");
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = Client::connect(site.plane.address());
        client.send(bytes);
        let began = Instant::now();
        let mut rest = Vec::new();
        let _ = client.0.stream.read_to_end(&mut rest);
        assert!(rest.is_empty() && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    eventually("they are counted", || {
        (metric(&site.plane, "evenkeel_tls_handshake_failures_total", &["timeout"]) == 2.0).then_some(())
    });
}

#[test]
fn a_session_is_taken_up_again_by_its_ticket_also_after_a_reload() {
    let site = site("", &[named("a")], "");
    for version in BOTH {
        let config = client_config(&site.authority, None, version);
        let kind = || {
            let mut client = connect(site.plane.address(), &config, "site");
            // Tickets come with the first answer.
            assert_eq!(client.get("/").status, 200);
            client.0.stream.conn.handshake_kind().unwrap()
        };
        assert_ne!(kind(), HandshakeKind::Resumed);
        assert_eq!(kind(), HandshakeKind::Resumed, "{version:?}");
        site.plane.reload().unwrap();
        assert_eq!(kind(), HandshakeKind::Resumed, "{version:?}, after a reload");
    }
    assert!(metric(&site.plane, "evenkeel_tls_handshakes_total", &["resumed"]) == 4.0);
}

#[test]
fn without_tickets_every_session_is_new() {
    let site = site("ticket_rotation = \"0s\"\n", &[named("a")], "");
    for version in BOTH {
        let config = client_config(&site.authority, None, version);
        for _ in 0..2 {
            let mut client = connect(site.plane.address(), &config, "site");
            assert_eq!(client.get("/").status, 200);
            assert_eq!(client.0.stream.conn.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
        }
    }
}

#[test]
fn i8_certificates_change_on_reload_under_load_without_a_failed_request() {
    let site = site("", &[named("a")], "");
    let (address, trusted) = (site.plane.address(), config(&site.authority));
    let over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|at| {
            let (trusted, over) = (Arc::clone(&trusted), Arc::clone(&over));
            thread::spawn(move || {
                let mut kept = connect(address, &trusted, "site");
                let mut count = 0;
                while !over.load(Relaxed) {
                    assert_eq!(kept.get("/").status, 200, "client {at} on a connection of before");
                    assert_eq!(connect(address, &trusted, "site").get("/").status, 200, "client {at}, new");
                    count += 1;
                }
                count
            })
        })
        .collect();
    // A client that takes up no session is shown the certificate of now.
    let fresh = || shown(address, &config(&site.authority), "site").unwrap();
    for _ in 0..5 {
        let new = site.authority.issue(&["site"]);
        new.write(site.folder.path(), "site");
        site.plane.reload().unwrap();
        assert_eq!(fresh(), new.certificate);
    }
    let before = fresh();
    for wrong in ["not a certificate", ""] {
        std::fs::write(site.folder.path().join("site.pem"), wrong).unwrap();
        let refused = site.plane.reload().unwrap_err().sentences();
        assert!(refused[0].contains("has no certificate"), "{refused:?}");
        assert_eq!(fresh(), before);
    }
    over.store(true, Relaxed);
    for client in load {
        assert!(client.join().unwrap() > 0);
    }
}

#[test]
fn files_that_are_wrong_are_refused_with_their_name_and_a_remedy() {
    let site = site("", &[named("a")], "");
    let folder = site.folder.path();
    let good = site.authority.issue(&["site"]);
    let text = |tls: &str| configuration("http", tls, &[named("a")], "");
    let path = |name: &str| folder.join(name).display().to_string();
    good.write(folder, "good");
    site.authority.issue(&["site"]).write(folder, "other");
    site.authority.issue_expired(&["site"]).write(folder, "old");
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("half"), &good.pem[..good.pem.len() / 2]).unwrap();
    let lines = |certificate: &str, key: &str, rest: &str| {
        format!("certificate = \"{}\"\nkey = \"{}\"\n{rest}", path(certificate), path(key))
    };
    let ocsp = format!("ocsp = \"{}\"\n", path("good.pem"));
    let ca = format!("client_ca = \"{}\"\n", path("empty"));
    for (tls, file, words) in [
        (lines("none.pem", "good.key", ""), "none.pem", "does the file exist"),
        (lines("good.pem", "none.key", ""), "none.key", "does the file exist"),
        (lines("empty", "good.key", ""), "empty", "has no certificate"),
        (lines("good.key", "good.key", ""), "good.key", "has no certificate"),
        (lines("half", "good.key", ""), "half", "write the file again"),
        (lines("good.pem", "good.pem", ""), "good.pem", "has no private key"),
        (lines("good.pem", "other.key", ""), "other.key", "not the key of"),
        (lines("old.pem", "old.key", ""), "old.pem", "renew it"),
        (lines("good.pem", "good.key", &ocsp), "good.pem", "not a successful OCSP response"),
        (lines("good.pem", "good.key", &ca), "empty", "has no certificate"),
    ] {
        let refused = site.plane.apply(&text(&tls)).unwrap_err().sentences();
        assert!(refused.len() == 1, "{refused:?}");
        let sentence = &refused[0];
        assert!(
            sentence.starts_with("listener `web`, TLS: ")
                && sentence.contains(file)
                && sentence.contains(words),
            "{sentence}"
        );
    }
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    assert_eq!(client.get("/").status, 200, "the running configuration stays");
}

#[test]
fn a_box_that_starts_with_an_expired_certificate_serves_with_it() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let old = authority.issue_expired(&["site"]);
    let plane = Plane::start(&configuration("http", &old.write(folder.path(), "site"), &[named("a")], ""), 1);
    assert!(
        try_connect(plane.address(), &config(&authority), "site").is_err(),
        "clients see that it has expired"
    );
    let expiry = metric(&plane, "evenkeel_tls_certificate_expiry_timestamp_seconds", &["web", "site.pem"]);
    assert_eq!(expiry, 1_609_459_200.0, "1 January 2021");
    plane.reload().unwrap();
}

#[test]
fn the_status_page_tells_of_each_certificate_whose_it_is_and_how_long_it_lasts() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let many: Vec<_> = (0..25).map(|at| format!("name-{at}.example")).collect();
    let many = authority.issue(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let old = authority.issue_expired(&["old.example"]);
    let tls = format!(
        "{}[[listener.tls.more]]\n{}",
        many.write(folder.path(), "many"),
        old.write(folder.path(), "old")
    );
    let plane = Plane::start(&configuration("http", &tls, &[named("a")], ""), 1);
    let (_, page) = plane.admin("/status");
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let [many, old] = page["listeners"][0]["certificates"].as_array().unwrap().as_slice() else {
        panic!("{page}");
    };
    assert!(many["file"].as_str().unwrap().ends_with("many.pem"), "{many}");
    assert_eq!((many["names"].as_array().unwrap().len(), &many["more_names"]), (20, &5.into()), "{many}");
    assert!(many["seconds_left"].as_i64().unwrap() > 86_400 && many["ocsp"].is_null(), "{many}");
    assert_eq!(old["names"], serde_json::json!(["old.example"]));
    assert_eq!(old["not_after"], "2021-01-01T00:00:00Z");
    assert!(old["seconds_left"].as_i64().unwrap() < 0, "{old}");
    // A listener without TLS has none, and says nothing of them.
    assert!(!Plane::http(&[named("a")], "", "").admin("/status").1.contains("certificates"));
}

#[test]
fn clients_must_or_may_show_a_certificate_of_theirs() {
    let (authority, others, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let ca = authority.write(folder.path(), "ca.pem");
    let lines = authority.issue(&["site"]).write(folder.path(), "site");
    let (good, bad) = (authority.issue(&["ann"]), others.issue(&["eve"]));
    for (presence, without) in
        [("client = \"required\"\n", false), ("", false), ("client = \"optional\"\n", true)]
    {
        let tls = format!("{lines}client_ca = \"{}\"\n{presence}", ca.display());
        let plane = Plane::start(&configuration("http", &tls, &[named("a")], ""), 1);
        for version in BOTH {
            for (ours, served) in [(None, without), (Some(&good), true), (Some(&bad), false)] {
                let config = client_config(&authority, ours, version);
                let asked = try_connect(plane.address(), &config, "site").ok().and_then(|mut client| {
                    client.0.stream.write_all(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n").ok()?;
                    client.answer(false)
                });
                assert_eq!(asked.is_some_and(|answer| answer.status == 200), served, "{presence}{version:?}");
            }
        }
    }
}

#[test]
fn servers_are_told_of_a_clients_certificate_by_the_data_plane_alone() {
    let server = answering(|head, _| {
        let told = ["client-cert", "x-client-subject", "x-client-verify"];
        ok(told.map(|name| field(head, name).unwrap_or("-").to_owned()).join("|").as_bytes())
    });
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = authority.write(folder.path(), "ca.pem");
    let lines = authority.issue(&["site"]).write(folder.path(), "site");
    let tls = format!("{lines}client_ca = \"{}\"\nclient = \"optional\"\n", ca.display());
    let both = configuration("http", &tls, &[server], "").replacen(
        "[[pool]]",
        "[[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n[[pool]]",
        1,
    );
    let plane = Plane::start(&both, 1);
    let ann = authority.issue_with(&["ann"], |params| {
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "A, B");
    });
    let lie = "GET / HTTP/1.1\r\nHost: site\r\nX-Client-Verify: SUCCESS\r\nx-client-subject: CN=root\r\n\
               Client-Cert: :AAAA:\r\n\r\n";
    for version in BOTH {
        let config = client_config(&authority, Some(&ann), version);
        for kind in ["full", "resumed"] {
            let told = String::from_utf8(connect(plane.address(), &config, "site").ask(lie).body).unwrap();
            let parts: Vec<_> = told.split('|').collect();
            assert!(parts[0].len() > 300 && parts[0].starts_with(':') && parts[0].ends_with(':'), "{told}");
            assert_eq!(parts[1..], ["O=A\\2C B,CN=ann", "SUCCESS"], "{version:?}, {kind}");
        }
        let without = client_config(&authority, None, version);
        assert_eq!(connect(plane.address(), &without, "site").ask(lie).body, b"-|-|NONE");
    }
    assert_eq!(Client::connect(plane.listener("plain")).ask(lie).body, b"-|-|-");
}

#[test]
fn records_that_are_cut_anywhere_are_put_together() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let tls = format!("{tls}client_ca = \"{}\"\n", authority.write(folder.path(), "ca.pem").display());
    let plane = Plane::start(&configuration("http", &tls, &[answering(|_, body| ok(body))], ""), 1);
    let address = byte_by_byte(plane.address());
    let names: Vec<_> = (0..100).map(|at| format!("name-{at}.example")).collect();
    let ours = authority.issue(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for version in BOTH {
        // So the handshake messages are cut as well: the client's certificate into some 50 records.
        let mut config = (*client_config(&authority, Some(&ours), version)).clone();
        config.max_fragment_size = Some(69);
        let mut client = connect(address, &Arc::new(config), "site");
        for length in [10, 100_000] {
            let body = noise(length);
            let head = format!("POST / HTTP/1.1\r\nHost: site\r\nContent-Length: {length}\r\n\r\n");
            client.send(&[head.as_bytes(), &body].concat());
            assert!(client.answer(false).unwrap().body == body, "{version:?}, {length} bytes");
        }
    }
}

#[test]
fn tcp_mode_carries_bytes_in_both_directions_until_both_have_ended() {
    let server = crate::support::server(|mut peer| {
        let mut all = Vec::new();
        peer.stream.read_to_end(&mut all).unwrap();
        peer.stream.write_all(&all).unwrap();
    });
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let plane = Plane::start(&configuration("tcp", &tls, &[server], ""), 1);
    let mut client = connect(plane.address(), &config(&authority), "site");
    let body = noise(2 << 20);
    client.send(&body);
    client.0.stream.conn.send_close_notify();
    client.0.stream.flush().unwrap();
    let mut all = Vec::new();
    client.0.stream.read_to_end(&mut all).unwrap();
    assert!(all == body, "{} bytes of {}", all.len(), body.len());
}

#[test]
fn a_client_that_leaves_without_a_word_is_no_error_between_requests() {
    let site = site("", &[named("a")], "");
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    assert_eq!(client.get("/").status, 200);
    client.0.stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    eventually("the connection is closed", || {
        (metric(&site.plane, "evenkeel_client_connections{", &[]) == 0.0).then_some(())
    });
}

#[test]
fn a_drain_lets_the_request_under_way_finish() {
    let (begun, release) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let server = answering({
        let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
        move |_, _| {
            begun.store(true, Relaxed);
            eventually("it may answer", || release.load(Relaxed).then_some(()));
            ok(b"late")
        }
    });
    let site = site("", &[server], "");
    let mut client = connect(site.plane.address(), &config(&site.authority), "site");
    client.send(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n");
    eventually("the request is under way", || begun.load(Relaxed).then_some(()));
    site.plane.begin_drain();
    eventually("it drains", || (site.plane.admin("/ready").0 == 503).then_some(()));
    release.store(true, Relaxed);
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.body.as_slice(), field(&answer.head, "connection")), (&b"late"[..], Some("close")));
    assert_eq!(client.0.stream.read(&mut [0; 1]).unwrap(), 0);
    site.plane.wait();
}

#[test]
fn a_connection_without_tls_to_another_listener_is_not_touched() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let both = configuration("http", &tls, &[named("a")], "").replacen(
        "[[pool]]",
        "[[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n[[pool]]",
        1,
    );
    let plane = Plane::start(&both, 1);
    let mut client = Client::connect(plane.listener("plain"));
    assert_eq!(client.get("/").status, 200);
    let _: &TcpStream = &client.0.stream;
    assert_eq!(connect(plane.address(), &config(&authority), "site").get("/").status, 200);
}
