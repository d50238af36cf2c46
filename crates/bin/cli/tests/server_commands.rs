//! `evenkeel device` and `evenkeel rollout` against a server that gives one prepared answer.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output},
    thread::JoinHandle,
};

/// A server for one request: gives `answer` with `status`, and what it was asked.
fn server(status: &'static str, answer: &'static str) -> (String, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let length = answer.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
            .unwrap();
        (head, String::from_utf8(body).unwrap())
    });
    (url, served)
}

fn evenkeel(url: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret-token\n").unwrap();
    Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .env("EVENKEEL_SERVER", url)
        .env("EVENKEEL_TOKEN_FILE", &token)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_token_is_asked_for_with_the_operators_token_and_printed_alone() {
    let (url, served) = server("201 Created", r#"{"token":"one-time","expires":"2026-12-18T23:59:00Z"}"#);
    let output = evenkeel(&url, &["device", "token", "--valid", "2h"]);
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with("POST /api/enrolment-tokens HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer secret-token\r\n"), "{head}");
    assert_eq!(body, r#"{"valid_seconds":7200}"#);
    let (out, err) = printed(&output);
    assert_eq!(out, "one-time\n");
    assert!(err.contains("until 2026-12-18T23:59:00Z"), "{err}");
}

#[test]
fn devices_are_listed_as_a_table() {
    let device = r#"{"devices":[{"id":"0123456789abcdef0123456789abcdef","name":"exam-hall","hardware":"x86_64",
        "channel":"stable","enrolled":"2026-11-22T16:00:00Z","last_seen":null,
        "running":{"version":"1.1.0","slot":"b"},"state":{"is":"trial"},"last_report":null}]}"#;
    let (url, served) = server("200 OK", device);
    let (out, err) = printed(&evenkeel(&url, &["device", "list"]));
    served.join().unwrap();
    assert_eq!(
        out,
        "DEVICE                            NAME       RUNS       STATE     SEEN   LAST REPORT\n\
         0123456789abcdef0123456789abcdef  exam-hall  1.1.0 (b)  on trial  never  -\n",
        "{err}"
    );
}

#[test]
fn a_rollout_is_started_with_its_waves_in_their_order() {
    let refusal =
        r#"{"error":"release 1.1.0 is not published here; publish it with `evenkeel release publish`"}"#;
    let (url, served) = server("404 Not Found", refusal);
    let arguments = [
        "rollout",
        "start",
        "1.1.0",
        "--wave",
        "1",
        "--wave",
        "50%",
        "--wave",
        "all",
        "--failure-budget",
        "2",
    ];
    let output = evenkeel(&url, &arguments);
    let (_, body) = served.join().unwrap();
    assert_eq!(body, r#"{"release":"1.1.0","waves":["1","500‰","all"],"failure_budget":2}"#);
    let (out, err) = printed(&output);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""));
    assert!(err.contains("release 1.1.0 is not published here; publish it with"), "{err}");
}

#[test]
fn json_is_given_through() {
    let (url, served) = server("200 OK", r#"{"rollouts":[]}"#);
    let (out, _) = printed(&evenkeel(&url, &["rollout", "list", "--json"]));
    served.join().unwrap();
    assert_eq!(out, "{\"rollouts\":[]}\n");
}

#[test]
fn a_server_that_is_not_there_and_arguments_that_cannot_be_are_named_with_the_remedy() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (url, arguments, words) in [
        (closed.as_str(), &["device", "list"][..], "cannot be reached; is it running? (--server URL)"),
        ("https://x", &["device", "list"], "expected http://HOST:PORT"),
        (
            &closed,
            &["rollout", "start", "1.1", "--wave", "all", "--failure-budget", "1"],
            "expected three numbers",
        ),
        (
            &closed,
            &["rollout", "start", "1.1.0", "--wave", "half", "--failure-budget", "1"],
            "expected `all`, a number",
        ),
        (&closed, &["rollout", "start", "1.1.0", "--failure-budget", "1"], "--wave <WAVE>"),
        (&closed, &["rollout", "show", "x"], "expected a whole number such as `3`"),
        (&closed, &["device", "token", "--valid", "1w"], "expected a number with s, m, h or d"),
    ] {
        let output = evenkeel(url, arguments);
        let (_, err) = printed(&output);
        assert!(!output.status.success() && err.contains(words), "{arguments:?}: {err}");
    }
}
