//! `evenkeel release publish`: what goes to the server, and in which order.

mod operator;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use evenkeel_protocol::ContentDigest;
use evenkeel_units::Digest;
use operator::Operator;

/// A request as it arrived.
struct Seen {
    line: String,
    fields: Vec<String>,
    body: Vec<u8>,
}

/// Serves connections, one request each, until one PUT of targets metadata or a refusal is answered.
fn server(roots: &'static [&'static str], refuse: &'static str) -> (String, thread::JoinHandle<Vec<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = move || {
        let mut all = Vec::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let seen = read_request(&mut stream);
            let path = seen.line.split(' ').nth(1).expect("a path").to_string();
            let refused = !refuse.is_empty() && path.starts_with(refuse);
            let status = match () {
                () if refused => "409 Conflict",
                () if seen.line.starts_with("PUT") || roots.contains(&path.as_str()) => "200 OK",
                () => "404 Not Found",
            };
            let body = r#"{"error": "the disk is full; make room"}"#;
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.get_mut().write_all(answer.as_bytes()).expect("answered");
            all.push(seen);
            if refused || path == "/api/repository/targets" {
                break;
            }
        }
        all
    };
    (url, thread::spawn(serve))
}

fn read_request(stream: &mut impl std::io::BufRead) -> Seen {
    let mut lines = Vec::new();
    for line in stream.by_ref().lines() {
        let line = line.expect("a line");
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length =
        lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).expect("a body");
    Seen { line: lines.remove(0), fields: lines, body }
}

fn publish(url: &str) -> String {
    format!("release publish r.bundle --metadata meta --server {url} --token-file token")
}

fn operator() -> Operator {
    let operator = Operator::with_release();
    operator.write("token", b"secret-token\n");
    operator
}

#[test]
fn root_bundle_and_targets_go_to_the_server_in_this_order() {
    let operator = operator();
    let (url, serving) = server(&[], "");
    operator.does(&publish(&url));
    let seen = serving.join().expect("served");
    let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/metadata/1.root.json HTTP/1.1",
            "PUT /api/repository/root HTTP/1.1",
            "PUT /api/targets/evenkeel-1.1.0.bundle HTTP/1.1",
            "PUT /api/repository/targets HTTP/1.1",
        ]
    );
    assert!(seen[1].body == operator.read("meta/root.json"));
    assert!(seen[2].body == operator.read("r.bundle"));
    assert!(seen[3].body == operator.read("meta/targets.json"));
    let digest = format!("content-digest: {}", ContentDigest(Digest::of(&operator.read("r.bundle"))));
    assert!(seen[2].fields.contains(&digest), "{:?}", seen[2].fields);
    assert!(seen.iter().all(|seen| seen.fields.contains(&"authorization: Bearer secret-token".to_string())));
}

#[test]
fn a_server_is_brought_from_its_root_to_the_newest_one_by_one() {
    let operator = operator();
    for _ in 0..2 {
        operator.does("key root --root-key root.key --targets-key targets.key --previous meta/root.json --out meta/root.json");
    }
    let (url, serving) = server(&["/v1/metadata/1.root.json"], "");
    operator.does(&publish(&url));
    let seen = serving.join().expect("served");
    let roots: Vec<_> =
        seen.iter().filter(|seen| seen.line.starts_with("PUT /api/repository/root")).collect();
    assert_eq!(roots.len(), 2);
    assert!(
        roots[0].body == operator.read("meta/2.root.json")
            && roots[1].body == operator.read("meta/3.root.json")
    );
}

#[test]
fn the_server_s_refusal_is_passed_on_and_ends_it() {
    let operator = operator();
    let (url, serving) = server(&["/v1/metadata/1.root.json"], "/api/targets/");
    let error = operator.fails(&publish(&url));
    assert!(error.contains("the disk is full; make room"), "{error}");
    let seen = serving.join().expect("served");
    assert!(!seen.iter().any(|seen| seen.line.starts_with("PUT /api/repository/targets")));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = operator().fails(&publish("http://127.0.0.1:1"));
    assert!(error.contains("http://127.0.0.1:1 cannot be reached; is it running?"), "{error}");
}
