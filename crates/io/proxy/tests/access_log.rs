//! The access log: complete, not to be forged, sampled, and moved away under a running data plane.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{io::Write as _, path::Path};

use serde_json::Value;
use support::{Client, Plane, answering, config, eventually, ok, server};

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
}
