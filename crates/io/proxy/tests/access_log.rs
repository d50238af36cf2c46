//! The access log: complete, not to be forged, sampled, and moved away under a running data plane.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{io::Write as _, path::Path};

use serde_json::Value;
use support::{Client, Plane, answering, config, eventually, nobody, ok, server};

/// A plane that writes its access log to `access.log` in `folder`.
fn plane(mode: &str, server: std::net::SocketAddr, folder: &Path, log: &str) -> Plane {
    let log = format!("[access_log]\npath = \"{}\"\n{log}\n", folder.join("access.log").display());
    Plane::start(&config(mode, &[server], "", &log), 1)
}

/// The first `count` lines, as soon as there are that many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    eventually("lines of the log", || {
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

#[test]
fn a_line_tells_what_operators_ask_for_and_nothing_that_a_client_sends_breaks_it() {
    for (format, count) in [("json", 4), ("combined", 4), ("text", 4)] {
        let folder = tempfile::tempdir().unwrap();
        let plane =
            plane("http", answering(|_, body| ok(body)), folder.path(), &format!("format = \"{format}\""));
        let mut client = plane.client();
        let nasty = "GET /a\"b\\c%0a{\"x\":1} HTTP/1.1\r\nHost: a\r\nUser-Agent: evil\" 200 \"\\\x1b[2J\u{e9}\t\r\n\
                     Referer: http://x/\"}\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";
        client.send(nasty.as_bytes());
        let first = client.answer(false).unwrap().status;
        client = plane.client();
        client.ask("POST /hand-in HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        client.ask("BAD\r\n\r\n");
        plane.client().ask("GET / HTTP/1.0\r\n\r\n");
        let lines = lines(&folder.path().join("access.log"), count);
        assert_eq!(lines.len(), count, "{lines:#?}");
        for line in &lines {
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        }
        match format {
            "json" => {
                // A refused request is logged when its client has read why, so the order is not theirs.
                let lines: Vec<Value> =
                    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
                let line = lines.iter().find(|line| line["method"] == "POST").unwrap();
                assert_eq!((&line["target"], &line["protocol"]), (&"/hand-in".into(), &"HTTP/1.1".into()));
                assert_eq!((&line["end"], &line["server"]), (&"done".into(), &"s0".into()));
                assert!(line["total_us"].as_u64() >= line["answered_us"].as_u64(), "{line}");
                if first == 200 {
                    assert_eq!(lines[0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
                }
                assert!(lines.iter().any(|line| line["protocol"] == "HTTP/1.0"), "{lines:#?}");
            }
            "combined" => {
                // Seven parts in quotes or brackets, as readers of this format take it apart: quotes inside are escaped.
                for line in &lines {
                    assert_eq!(line.matches('"').count(), 6, "{line}");
                }
                assert!(
                    lines.iter().any(|line| line.contains("\"POST /hand-in HTTP/1.1\" 200 ")),
                    "{lines:#?}"
                );
            }
            _ => assert!(lines.iter().any(|line| line.contains(" POST /hand-in 200 ")), "{lines:#?}"),
        }
    }
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let plane = plane("http", answering(|_, _| ok(b"x")), folder.path(), "");
    plane.client().get("/one");
    assert_eq!(lines(&path, 1).len(), 1);
    std::fs::rename(&path, &old).unwrap();
    plane.reopen_logs();
    eventually("the new file", || path.exists().then_some(()));
    plane.client().get("/two");
    assert!(lines(&path, 1)[0].contains("/two"));
    assert!(lines(&old, 1).iter().all(|line| line.contains("/one")));
}

#[test]
fn of_what_went_well_a_sample_is_written_and_of_what_did_not_everything() {
    let folder = tempfile::tempdir().unwrap();
    let server = answering(|head, _| {
        if head.starts_with("GET /bad") {
            b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            ok(b"x")
        }
    });
    let plane = plane("http", server, folder.path(), "sample_per_mille = 100");
    let mut client = plane.client();
    for _ in 0..100 {
        client.get("/good");
    }
    // Few enough in a row that the server is not left out.
    for _ in 0..3 {
        client.get("/bad");
    }
    let lines = lines(&folder.path().join("access.log"), 13);
    assert_eq!(lines.iter().filter(|line| line.contains("/good")).count(), 10);
    assert_eq!(lines.iter().filter(|line| line.contains("/bad")).count(), 3);
}

#[test]
fn requests_without_a_whole_answer_and_connections_of_tcp_have_their_lines_too() {
    let folder = tempfile::tempdir().unwrap();
    let broken = server(|mut peer| {
        peer.head();
        let _ = peer.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let http = plane("http", broken, folder.path(), "");
    let mut client = http.client();
    client.send(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    let line: Value = serde_json::from_str(&lines(&folder.path().join("access.log"), 1)[0]).unwrap();
    assert_eq!(line["end"], "the server broke off in the middle of its answer");
    assert!(line.get("status").is_none(), "{line}");

    let folder = tempfile::tempdir().unwrap();
    let echo = server(|mut peer| {
        let mut back = peer.stream.try_clone().unwrap();
        let _ = std::io::copy(&mut peer.stream, &mut back);
    });
    let tcp = plane("tcp", echo, folder.path(), "");
    let mut client = Client::connect(tcp.address());
    client.send(b"hi");
    assert_eq!(client.0.take(2), b"hi");
    drop(client);
    let line: Value = serde_json::from_str(&lines(&folder.path().join("access.log"), 1)[0]).unwrap();
    assert_eq!((&line["protocol"], &line["server"]), (&"tcp".into(), &"s0".into()));
    assert_eq!((&line["received_bytes"], &line["sent_bytes"]), (&2.into(), &2.into()));
    assert_eq!((&line["tries"], &line["end"]), (&1.into(), &"done".into()));
}

#[test]
fn a_route_and_its_pool_are_named_and_every_server_that_was_tried_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let route = "[[route]]\nname = \"exams\"\npath_prefix = \"/exam\"\npool = \"other\"\n\
                 [[pool]]\nname = \"other\"\npolicy = \"round-robin\"\n[[pool.server]]\nname = \"gone\"\n";
    let pool = format!(
        "{route}address = \"{}\"\n[[pool.server]]\nname = \"good\"\naddress = \"{}\"\n{}",
        nobody(),
        answering(|_, _| ok(b"x")),
        support::QUICK
    );
    let log = format!("[access_log]\npath = \"{}\"\n", folder.path().join("access.log").display());
    let plane = Plane::start(&config("http", &[answering(|_, _| ok(b"x"))], &pool, &log), 1);
    let mut client = plane.client();
    client.get("/");
    for _ in 0..2 {
        assert_eq!(client.get("/exam").status, 200);
    }
    let lines: Vec<Value> = lines(&folder.path().join("access.log"), 3)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines[0].get("route").is_none(), "{lines:#?}");
    assert_eq!((&lines[0]["pool"], &lines[0]["tries"]), (&"app".into(), &1.into()));
    for line in &lines[1..] {
        assert_eq!((&line["route"], &line["pool"]), (&"exams".into(), &"other".into()));
        assert_eq!(line["server"], "good");
    }
    assert!(lines[1..].iter().any(|line| line["tries"] == 2), "{lines:#?}");
}

#[test]
fn bytes_of_long_tunnels_are_counted_to_the_last_one() {
    const LONG: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let echo = server(|mut peer| {
        let mut back = peer.stream.try_clone().unwrap();
        let _ = std::io::copy(&mut peer.stream, &mut back);
    });
    let plane = plane("tcp", echo, folder.path(), "");
    let mut client = Client::connect(plane.address());
    let mut writer = client.0.stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || {
        writer.write_all(&support::noise(LONG)).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(client.0.take(LONG) == support::noise(LONG), "what came back is what was sent");
    assert!(client.is_closed());
    sent.join().unwrap();
    let line: Value = serde_json::from_str(&lines(&folder.path().join("access.log"), 1)[0]).unwrap();
    assert_eq!((&line["received_bytes"], &line["sent_bytes"]), (&LONG.into(), &LONG.into()));
}

#[test]
fn a_session_of_udp_has_a_line_with_its_bytes_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut piece = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut piece) {
            let _ = socket.send_to(&[&piece[..length], b"!"].concat(), from);
        }
    });
    let log = format!("[access_log]\npath = \"{}\"\n", folder.path().join("access.log").display());
    let text = config("udp", &[address], "", &log)
        .replace("pool = \"app\"\n", "pool = \"app\"\n[listener.udp]\nidle = \"1s\"\n")
        .replace("kind = \"tcp\"", "kind = \"udp\"");
    let plane = Plane::start(&text, 1);
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(plane.address()).unwrap();
    client.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut piece = [0; 64];
    for _ in 0..2 {
        client.send(b"ask").unwrap();
        assert_eq!(client.recv(&mut piece).unwrap(), 4);
    }
    let line: Value = serde_json::from_str(&lines(&folder.path().join("access.log"), 1)[0]).unwrap();
    assert_eq!(
        (&line["protocol"], &line["server"], &line["end"]),
        (&"udp".into(), &"s0".into(), &"done".into())
    );
    assert_eq!((&line["received_bytes"], &line["sent_bytes"]), (&6.into(), &8.into()));
    assert_eq!(line["client"], client.local_addr().unwrap().to_string());
}
