//! What is told of a request that no server answered: the same whatever is spoken with clients and servers.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::net::SocketAddr;

use serde_json::Value;
use support::{Plane, config, eventually, http2, nobody, sample, server};

/// What servers and clients speak.
const PAIRS: [(&str, &str); 4] =
    [("http1", "http1"), ("http1", "http2"), ("http2", "http1"), ("http2", "http2")];

/// A data plane that writes `access.log` into its folder, once it is applied.
fn plane(servers: &[SocketAddr], protocol: &str, pool: &str) -> Plane {
    let text = config("http", servers, pool, "").replacen(
        "policy =",
        &format!("protocol = \"{protocol}\"\npolicy ="),
        1,
    );
    let plane = Plane::start(&text, 1);
    let log = format!("[access_log]\npath = \"{}\"\n", plane.folder.path().join("access.log").display());
    plane.apply(&format!("{log}{text}")).unwrap();
    plane
}

/// The status of an answer to `method`, and what the access log says of it.
fn ask(plane: &Plane, client: &str, method: &str) -> (u16, Value) {
    let path = plane.folder.path().join("access.log");
    let before = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
    let status = if client == "http1" {
        plane.client().ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).status
    } else {
        http2::run(async {
            let mut client = http2::Client::connect(plane.address()).await;
            client.ask(http2::request(method, "/")).await.unwrap().status
        })
    };
    let line = eventually("the line of the request", || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.ends_with('\n').then(|| text.lines().nth(before).map(str::to_owned))?
    });
    (status, serde_json::from_str(&line).unwrap())
}

fn assert_told(line: &Value, what: &str, cause: &str, ended: &str, tries: u64) {
    assert_eq!((&line["cause"], &line["retries_ended"]), (&cause.into(), &ended.into()), "{what}: {line}");
    assert_eq!(line["tries"], tries, "{what}: {line}");
    assert!(line["server"].as_str().unwrap().starts_with('s'), "{what}: {line}");
}

/// A server that reads a request and closes without an answer; one of HTTP/2 resets the stream.
fn closing(protocol: &str) -> SocketAddr {
    if protocol == "http2" {
        return http2::server(|_, mut respond| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) });
    }
    server(|mut peer| {
        peer.head();
    })
}

#[test]
fn the_last_failure_and_what_ended_the_retries_are_told_alike_on_both_versions() {
    for (protocol, client) in PAIRS {
        let what = format!("servers of {protocol}, clients of {client}");
        for (pool, servers, ended, tries) in [
            ("[pool.retry]\nattempts = 1\n", 3, "attempts", 2),
            ("[pool.retry]\nbudget_per_mille = 0\n", 3, "budget", 1),
            ("", 2, "servers", 2),
        ] {
            let servers: Vec<_> = (0..servers).map(|_| nobody()).collect();
            let plane = plane(&servers, protocol, pool);
            let (status, line) = ask(&plane, client, "GET");
            assert_eq!(status, 502, "{what}");
            assert_told(&line, &what, "refused", ended, tries);
            assert!(
                line["end"].as_str().unwrap().starts_with("the server refused the connection; "),
                "{line}"
            );
            let metrics = plane.admin("/metrics").1;
            let by_cause = "evenkeel_unserved_requests_total{pool=\"app\",cause=\"refused\"}";
            assert!(metrics.contains(&format!("{by_cause} 1\n")), "{what}: {metrics}");
            let by_end = format!("evenkeel_unserved_retries_ended_total{{pool=\"app\",ended=\"{ended}\"}}");
            assert!(metrics.contains(&format!("{by_end} 1\n")), "{what}: {metrics}");
            let status = plane.admin("/status").1;
            assert!(status.contains("\"unserved\":{\"refused\":1}"), "{what}: {status}");
            assert!(status.contains(&format!("\"retries_ended\":{{\"{ended}\":1}}")), "{what}: {status}");
        }
    }
}

/// One server fails the request after it was sent, and no other is left: not "no server is left", but how the last failed.
#[test]
fn a_server_that_closed_is_told_of_when_nobody_is_left_and_when_the_request_may_not_be_repeated() {
    for (protocol, client) in PAIRS {
        let what = format!("servers of {protocol}, clients of {client}");
        for (method, ended) in [("GET", "servers"), ("POST", "unrepeatable")] {
            let plane = plane(&[closing(protocol)], protocol, "");
            let (status, line) = ask(&plane, client, method);
            assert_eq!(status, 502, "{what}");
            assert_told(&line, &what, "closed", ended, 1);
            assert!(
                line["end"].as_str().unwrap().contains("closed the connection without an answer"),
                "{line}"
            );
        }
    }
}

#[test]
fn a_connection_of_tcp_that_no_server_took_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let log = format!("[access_log]\npath = \"{}\"\n", folder.path().join("access.log").display());
    let plane = Plane::start(&config("tcp", &[nobody(), nobody()], "", &log), 1);
    let _client = plane.client();
    let line = eventually("the line", || {
        let text = std::fs::read_to_string(folder.path().join("access.log")).ok()?;
        text.ends_with('\n').then(|| serde_json::from_str::<Value>(text.lines().next()?).ok())?
    });
    assert_eq!((&line["cause"], &line["retries_ended"]), (&"refused".into(), &"servers".into()), "{line}");
    let metrics = plane.admin("/metrics").1;
    assert!(
        sample(&metrics, "evenkeel_unserved_requests_total{pool=\"app\",cause=\"refused\"}") == 1,
        "{metrics}"
    );
}
