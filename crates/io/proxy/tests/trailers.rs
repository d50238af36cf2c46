//! Trailer fields between every pair of versions: they reach the other side, but for those that may not stand there.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use support::{Plane, config, field, http2::*, server as http1_server};

/// What stands behind the content, and which of it may reach the other side.
const SENT: [(&str, &str); 6] = [
    ("grpc-status", "0"),
    ("content-length", "3"),
    ("x-sum", "abc def"),
    ("set-cookie", "a=b"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-sum", "more"),
];
const PASSED: [(&str, &str); 3] = [("grpc-status", "0"), ("x-sum", "abc def"), ("x-sum", "more")];

fn lines(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn told(trailers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let pairs = trailers.into_iter().flatten();
    pairs.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

fn passed() -> Vec<(String, String)> {
    PASSED.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Trailer lines as fields, in the order in which a map of them gives them.
fn parsed(lines: &[String]) -> Vec<(String, String)> {
    let pairs = lines.iter().map(|line| line.split_once(": ").unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How an answer of HTTP/1.1 arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// At once.
    Whole,
    /// Its head first, then the rest when the client has the head, cut in the middle of a trailer field.
    InPieces,
}

const CONTENT: &[u8] = b"content";

fn chunked(trailers: &str) -> String {
    format!("7\r\ncontent\r\n0\r\n{trailers}\r\n")
}

/// The lines behind the last chunk.
fn trailer_lines(peer: &mut support::Peer) -> Vec<String> {
    let mut seen = String::new();
    while !seen.ends_with("\r\n\r\n") {
        seen.push(char::from(peer.take(1)[0]));
    }
    let (_, section) = seen.split_once("\r\n0\r\n").expect("a last chunk");
    section.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn trailers_of_a_chunked_server_reach_clients_of_http2_however_they_arrive() {
    for arrival in [Arrival::Whole, Arrival::InPieces] {
        for compressed in [false, true] {
            let (has_head, wait) = std::sync::mpsc::channel::<()>();
            let wait = Mutex::new(wait);
            let server = http1_server(move |mut peer| {
                let Some(head) = peer.head() else { return };
                assert_eq!((field(&head, "te"), field(&head, "connection")), (Some("trailers"), Some("TE")));
                let kind = "Content-Type: text/plain\r\n";
                let head = format!("HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n");
                let rest = chunked(&lines(&SENT));
                match arrival {
                    Arrival::Whole => peer.stream.write_all(format!("{head}{rest}").as_bytes()).unwrap(),
                    Arrival::InPieces => {
                        peer.stream.write_all(head.as_bytes()).unwrap();
                        wait.lock().unwrap().recv().unwrap();
                        let (first, second) = rest.split_at(rest.len() - 12);
                        peer.stream.write_all(first.as_bytes()).unwrap();
                        peer.stream.flush().unwrap();
                        peer.stream.write_all(second.as_bytes()).unwrap();
                    }
                }
            });
            let route = "[[route]]\npath_prefix = \"/\"\npool = \"app\"\n\
                         compress = { codings = [\"gzip\"], types = [\"text/\"], min_bytes = 1 }\n";
            let plane = Plane::http(&[server], if compressed { route } else { "" }, "");
            run(async {
                let mut client = Client::connect(plane.address()).await;
                let asked = Request::get("http://site/").header("te", "trailers");
                let asked = asked.header("accept-encoding", "gzip").body(()).unwrap();
                let (answer, _) = client.begin(asked, true).await;
                let answer = answer.await.unwrap();
                let _ = has_head.send(());
                let answer = read(answer).await.unwrap();
                assert_eq!(told(answer.trailers.as_ref()), passed(), "{arrival:?}, compressed: {compressed}");
                assert_eq!(answer.field("content-encoding").is_some(), compressed);
                assert_eq!(answer.body == CONTENT, !compressed);
            });
        }
    }
}

#[test]
fn trailers_of_a_client_of_http2_reach_a_server_of_http1_in_chunks() {
    let plane = Plane::http(
        &[http1_server(|mut peer| {
            let Some(head) = peer.head() else { return };
            assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
            let seen = trailer_lines(&mut peer).join("|");
            peer.stream.write_all(&support::ok(seen.as_bytes())).unwrap();
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (answer, mut stream) = client.begin(Request::post("http://site/").body(()).unwrap(), false).await;
        stream.send_data(Bytes::from_static(CONTENT), false).unwrap();
        stream.send_trailers(map(&SENT)).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        let seen: Vec<_> = answer.text().split('|').map(str::to_owned).collect();
        assert_eq!(parsed(&seen), passed());
    });
}

/// A server of HTTP/2 that answers with trailers, and notes those that came.
fn notes(seen: &Arc<Mutex<Vec<(String, String)>>>) -> SocketAddr {
    let seen = Arc::clone(seen);
    server(move |request, mut respond| {
        let seen = Arc::clone(&seen);
        async move {
            let te = request.headers().get("te").cloned();
            let (body, trailers) = content(request.into_body()).await;
            assert_eq!(body, CONTENT);
            *seen.lock().unwrap() = told(trailers.as_ref());
            let mut head = Response::new(());
            head.headers_mut().extend(te.map(|te| (http::HeaderName::from_static("x-te"), te)));
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(CONTENT), false).unwrap();
            stream.send_trailers(map(&SENT)).unwrap();
        }
    })
}

fn over_http2(server: SocketAddr) -> Plane {
    let text = config("http", &[server], "", "");
    Plane::start(&text.replacen("policy =", "protocol = \"http2\"\npolicy =", 1), 1)
}

#[test]
fn trailers_of_both_sides_pass_between_http2_and_http2() {
    let seen = Arc::default();
    let plane = over_http2(notes(&seen));
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let asked = Request::post("http://site/").header("te", "trailers").body(()).unwrap();
        let (answer, mut stream) = client.begin(asked, false).await;
        stream.send_data(Bytes::from_static(CONTENT), false).unwrap();
        stream.send_trailers(map(&SENT)).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        assert_eq!((told(answer.trailers.as_ref()), answer.field("x-te")), (passed(), Some("trailers")));
    });
    assert_eq!(*seen.lock().unwrap(), passed());
}

#[test]
fn trailers_of_both_sides_pass_between_clients_of_http1_and_servers_of_http2() {
    let seen = Arc::default();
    let plane = over_http2(notes(&seen));
    let mut client = plane.client();
    // In a request a trailer field that may not stand there makes it refused, so only the others are sent.
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send(chunked(&lines(&PASSED)).as_bytes());
    let head = client.0.head().unwrap();
    assert_eq!(
        (field(&head, "x-te"), field(&head, "transfer-encoding")),
        (Some("trailers"), Some("chunked"))
    );
    assert_eq!(parsed(&trailer_lines(&mut client.0)), passed());
    assert_eq!(*seen.lock().unwrap(), passed());
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(chunked("host: b\r\n").as_bytes());
    assert_eq!(client.answer(false).unwrap().status, 400, "a request that would be routed anew");
}

#[test]
fn trailers_of_http2_that_are_malformed_are_an_error_of_their_stream() {
    let plane = Plane::http(&[support::answering(|_, body| support::ok(body))], "", "");
    let head = block(&[(":method", b"POST"), (":scheme", b"http"), (":authority", b"site"), (":path", b"/")]);
    for bad in [("x", &b" y"[..]), ("transfer-encoding", b"chunked"), ("x", b"y\r\nhost: b")] {
        let mut raw = Raw::connect(plane.address(), &[]);
        raw.send(&frame(HEADERS, 4, 1, &head));
        raw.send(&frame(DATA, 0, 1, CONTENT));
        raw.send(&frame(HEADERS, 5, 1, &block(&[bad])));
        let told = std::iter::from_fn(|| raw.next())
            .find(|frame| frame.stream == 1 || frame.kind == GOAWAY)
            .unwrap_or_else(|| panic!("no word about {bad:?}"));
        match told.kind {
            // 400 is entry 12 of the static table.
            HEADERS => assert_eq!(told.payload[0], 0x8c, "{bad:?}"),
            RST_STREAM | GOAWAY => assert_eq!(told.error(), PROTOCOL_ERROR, "{bad:?}"),
            kind => panic!("frame {kind} about {bad:?}"),
        }
    }
}
