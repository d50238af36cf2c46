//! HTTP/2 with clients, HTTP/1.1 with servers: every sort of message, over real sockets, as both sides see it.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    sync::mpsc::channel,
};

use bytes::Bytes;
use http::Request;
use support::{Plane, answering, eventually, field, http2::*, nobody, noise, ok, server};

#[test]
fn requests_of_a_connection_reach_servers_as_http1_and_their_answers_come_back() {
    let echo = answering(|head, _| ok(head.as_bytes()));
    let plane = Plane::http(&[echo], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for path in ["/a", "/b?c=d", "/"] {
            let mut asked = request("GET", path);
            asked.headers_mut().insert("te", "trailers".parse().unwrap());
            asked.headers_mut().append("cookie", "a=1".parse().unwrap());
            asked.headers_mut().append("cookie", "b=2".parse().unwrap());
            asked.headers_mut().append("x-end", "2".parse().unwrap());
            let answer = client.ask(asked).await.unwrap();
            let seen = answer.text();
            assert_eq!(answer.status, 200);
            assert!(seen.starts_with(&format!("GET {path} HTTP/1.1\r\nhost: site\r\n")), "{seen}");
            assert_eq!(field(&seen, "cookie"), Some("a=1; b=2"));
            assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!((field(&seen, "x-end"), field(&seen, "te")), (Some("2"), Some("trailers")));
            assert_eq!(answer.field("content-length"), Some(seen.len().to_string().as_str()));
        }
    });
}

#[test]
fn requests_of_one_connection_are_answered_at_once_and_in_any_order() {
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let plane = Plane::http(
        &[answering(move |head, _| {
            if head.starts_with("GET /slow") {
                let _ = released.lock().unwrap().recv();
            }
            ok(head.lines().next().unwrap().as_bytes())
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (slow, _) = client.begin(Request::get("http://site/slow").body(()).unwrap(), true).await;
        for _ in 0..50 {
            assert_eq!(client.get("/fast").await.text(), "GET /fast HTTP/1.1");
        }
        release.send(()).unwrap();
        assert_eq!(read(slow.await.unwrap()).await.unwrap().text(), "GET /slow HTTP/1.1");
    });
}

/// Sizes around frames, windows and buffers.
const SIZES: [usize; 7] = [0, 1, 16 * 1024, 16 * 1024 + 1, 70_000, 300_000, 5 << 20];

#[test]
fn content_arrives_bit_for_bit_both_ways_with_and_without_a_length() {
    let plane = Plane::http(
        &[answering(|head, body| {
            if field(head, "content-length").is_some() {
                return ok(body);
            }
            assert_eq!(field(head, "transfer-encoding"), Some("chunked"));
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in body.chunks(10_007) {
                write!(out, "{:x}\r\n", chunk.len()).unwrap();
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            out
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for size in SIZES {
            for told in [true, false] {
                let body = noise(size);
                let mut asked = request("PUT", "/");
                if told {
                    asked.headers_mut().insert("content-length", size.into());
                }
                *asked.body_mut() = body.clone();
                let answer = client.ask(asked).await.unwrap();
                assert!(answer.body == body, "{size} bytes, told: {told}: {} came back", answer.body.len());
            }
        }
    });
}

#[test]
fn answers_without_content_end_with_their_head() {
    let plane = Plane::http(
        &[answering(|head, _| match head.split(' ').nth(1).unwrap() {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec(),
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for _ in 0..3 {
            assert_eq!(client.get("/204").await.status, 204);
            assert_eq!(client.get("/304").await.field("etag"), Some("\"x\""));
            let head = client.ask(request("HEAD", "/")).await.unwrap();
            assert_eq!((head.field("content-length"), head.body.len()), (Some("5000"), 0));
        }
    });
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole_and_one_cut_short_is_not() {
    let plane = Plane::http(
        &[server(|mut peer| {
            let head = peer.head().unwrap_or_default();
            let length = if head.starts_with("GET /cut") { "Content-Length: 300000\r\n" } else { "" };
            let text = [format!("HTTP/1.1 200 OK\r\n{length}\r\n").into_bytes(), noise(200_000)].concat();
            let _ = peer.stream.write_all(&text);
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        assert!(client.get("/whole").await.body == noise(200_000));
        let error = client.ask(request("GET", "/cut")).await.err().unwrap();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert!(client.get("/whole").await.body == noise(200_000), "the connection goes on");
    });
}

#[test]
fn interim_answers_reach_the_client_before_the_last_one() {
    let plane = Plane::http(
        &[answering(|_, body| {
            [b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_vec(), ok(body)].concat()
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (mut answer, _) = client.begin(Request::get("http://site/").body(()).unwrap(), true).await;
        let interim = std::future::poll_fn(|context| answer.poll_informational(context)).await;
        let interim = interim.unwrap().unwrap();
        assert_eq!(
            (interim.status().as_u16(), interim.headers()["link"].to_str().unwrap()),
            (103, "</a.css>")
        );
        assert_eq!(answer.await.unwrap().status(), 200);
    });
}

#[test]
fn a_client_that_waits_to_be_told_to_continue_is_told() {
    let plane = Plane::http(
        &[server(|mut peer| {
            while let Some(head) = peer.head() {
                assert_eq!(field(&head, "expect"), Some("100-continue"));
                peer.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
                let body = peer.body(&head, false);
                peer.stream.write_all(&ok(&body)).unwrap();
            }
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let asked = Request::post("http://site/").header("expect", "100-continue").body(()).unwrap();
        let (mut answer, stream) = client.begin(asked, false).await;
        let interim = std::future::poll_fn(|context| answer.poll_informational(context)).await;
        assert_eq!(interim.unwrap().unwrap().status(), 100);
        send(stream, Bytes::from_static(b"content")).await.unwrap();
        assert_eq!(read(answer.await.unwrap()).await.unwrap().body, b"content");
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let plane = Plane::http(
        &[server(|mut peer| {
            if peer.head().is_some() {
                peer.stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!").unwrap();
                // Nothing of the content is read; the connection stays open until the other side closes it.
                let _ = peer.stream.read(&mut [0; 1]);
            }
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let mut asked = request("PUT", "/");
        *asked.body_mut() = noise(20 << 20);
        let answer = client.ask(asked).await.unwrap();
        assert_eq!((answer.status, answer.body), (413, b"no!".to_vec()));
    });
}

#[test]
fn a_client_that_sends_too_much_content_is_told_so() {
    let plane = Plane::http(&[answering(|_, body| ok(body))], "", "[limits]\nrequest_body_bytes = 1000\n");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for told in [true, false] {
            let mut asked = request("PUT", "/");
            if told {
                asked.headers_mut().insert("content-length", 1001.into());
            }
            *asked.body_mut() = noise(1001);
            assert_eq!(client.ask(asked).await.unwrap().status, 413, "told: {told}");
        }
    });
}

#[test]
fn a_head_that_is_too_long_is_answered_with_431() {
    let plane = Plane::http(&[answering(|_, _| ok(b""))], "", "[limits]\nrequest_head_bytes = 2048\n");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for length in [1500, 3000, 6000] {
            let mut asked = request("GET", "/");
            asked.headers_mut().insert("x-long", "a".repeat(length).parse().unwrap());
            let status = client.ask(asked).await.unwrap().status;
            assert_eq!(status, if length < 2048 { 200 } else { 431 }, "{length} bytes");
        }
    });
}

#[test]
fn a_request_that_no_server_can_be_asked_for_is_answered_by_us() {
    let plane = Plane::http(&[nobody()], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.field("content-type")), (502, Some("text/plain; charset=utf-8")));
        let id = answer.field("x-request-id").unwrap().to_owned();
        assert!(answer.text().ends_with(&format!("request id: {id}\n")));
        assert_eq!(client.ask(request("HEAD", "/")).await.unwrap().body.len(), 0);
        assert_eq!(client.ask(request("CONNECT_", "/")).await.unwrap().status, 502);
    });
}

#[test]
fn a_server_that_closes_a_kept_connection_costs_no_request() {
    let plane = Plane::http(
        &[server(|mut peer| {
            if peer.head().is_some() {
                peer.stream.write_all(&ok(b"once")).unwrap();
            }
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.body, b"once");
        }
    });
}

#[test]
fn a_failing_server_is_left_for_another_when_the_request_may_be_repeated() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let broken = server(|mut peer| {
        if peer.head().is_some() {
            ASKED.fetch_add(1, Relaxed);
        }
    });
    let plane = Plane::http(&[broken, answering(|_, body| ok(body))], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for _ in 0..4 {
            assert_eq!(client.get("/").await.status, 200);
        }
        assert!(ASKED.load(Relaxed) > 0);
        let mut failed = 0;
        for _ in 0..4 {
            let mut asked = request("POST", "/");
            *asked.body_mut() = b"x".to_vec();
            failed += usize::from(client.ask(asked).await.unwrap().status == 502);
        }
        assert!(failed > 0, "a POST is not repeated");
    });
}

#[test]
fn a_request_that_the_client_gives_up_is_given_up_at_the_server() {
    let (gone, when_gone) = channel();
    let (came, asked) = channel();
    let plane = Plane::http(
        &[server(move |mut peer| {
            peer.head();
            came.send(()).unwrap();
            gone.send(peer.stream.read(&mut [0; 1]).is_ok_and(|count| count == 0)).unwrap();
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (answer, mut stream) = client.begin(Request::get("http://site/").body(()).unwrap(), true).await;
        tokio::task::spawn_blocking(move || asked.recv_timeout(support::PATIENCE).unwrap()).await.unwrap();
        drop(answer);
        stream.send_reset(h2::Reason::CANCEL);
        tokio::task::spawn_blocking(move || assert!(when_gone.recv_timeout(support::PATIENCE).unwrap()))
            .await
            .unwrap();
    });
}

#[test]
fn a_websocket_is_carried_over_extended_connect() {
    let plane = Plane::http(
        &[server(|mut peer| {
            let Some(head) = peer.head() else { return };
            assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
            assert_eq!(field(&head, "upgrade"), Some("websocket"));
            assert_eq!(field(&head, "connection"), Some("upgrade"));
            assert_eq!(field(&head, "sec-websocket-key").map(str::len), Some(24));
            peer.stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello",
                )
                .unwrap();
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = peer.stream.read(&mut piece) {
                peer.stream.write_all(&piece[..count]).unwrap();
            }
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        eventually_async(&mut client).await;
        let mut asked = Request::builder().method("CONNECT").uri("http://site/chat").body(()).unwrap();
        asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        asked.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
        let (answer, mut stream) = client.begin(asked, false).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        assert!(answer.headers().get("sec-websocket-accept").is_none());
        assert!(answer.headers().get("upgrade").is_none());
        let mut content = answer.into_body();
        assert_eq!(content.data().await.unwrap().unwrap(), "hello");
        for message in ["one", "two"] {
            stream.send_data(Bytes::from_static(message.as_bytes()), false).unwrap();
            assert_eq!(content.data().await.unwrap().unwrap(), message);
        }
        stream.send_data(Bytes::new(), true).unwrap();
        // An end in one direction reaches the other side, which ends too.
        while let Some(piece) = content.data().await {
            assert_eq!(piece.unwrap(), "");
        }
    });
}

/// Waits until the server's SETTINGS have come.
async fn eventually_async(client: &mut Client) {
    while !client.requests.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[test]
fn a_drain_lets_what_is_under_way_finish_and_says_goodbye() {
    let (release, released) = channel::<()>();
    let (begun, has_begun) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let plane = Plane::http(
        &[answering(move |head, _| {
            if head.starts_with("GET /slow") {
                begun.send(()).unwrap();
                let _ = released.lock().unwrap().recv();
            }
            ok(b"done")
        })],
        "",
        "",
    );
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (slow, _) = client.begin(Request::get("http://site/slow").body(()).unwrap(), true).await;
        let has_begun = tokio::task::spawn_blocking(move || has_begun.recv().unwrap());
        has_begun.await.unwrap();
        plane.begin_drain();
        // Requests are refused from when the client has heard of the drain.
        while std::future::poll_fn(|context| client.requests.poll_ready(context)).await.is_ok() {
            let asked = Request::get("http://site/").body(()).unwrap();
            let Ok((answer, _)) = client.requests.send_request(asked, true) else { break };
            drop(answer.await);
        }
        release.send(()).unwrap();
        assert_eq!(read(slow.await.unwrap()).await.unwrap().body, b"done");
        client.ended.await.unwrap().unwrap();
    });
    plane.wait();
}

#[test]
fn a_listener_without_http2_takes_the_preface_for_a_bad_request() {
    let config = support::config("http", &[answering(|_, _| ok(b""))], "", "")
        .replace("mode = \"http\"", "mode = \"http\"\nhttp2 = false");
    let plane = Plane::start(&config, 1);
    let mut client = plane.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.answer(false).unwrap().status, 505);
}

#[test]
fn http1_and_http2_share_a_listener_and_the_preface_may_come_byte_by_byte() {
    let plane = Plane::http(&[answering(|_, _| ok(b"x"))], "", "");
    assert_eq!(plane.client().get("/").status, 200);
    let mut raw = Raw::slowly(plane.address());
    raw.send(&frame(HEADERS, 5, 1, &get("/", &[])));
    assert_eq!(raw.wait_for(DATA, 1).unwrap().payload, b"x");
    let mut second = plane.client();
    assert_eq!(second.get("/").status, 200);
    second.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(second.answer(false).unwrap().status, 505, "not in the middle of a connection");
}

#[test]
fn a_first_line_that_is_no_request_line_is_answered_however_slowly_it_comes() {
    let plane = Plane::http(&[answering(|_, _| ok(b"x"))], "", "");
    for (line, status) in [
        // As in HTTP/0.9, which is no more.
        ("GET /\r\n", 400),
        ("GET / \r\n", 400),
        ("GET /\n", 400),
        ("GET\r\n", 400),
        ("GET / HTTP\r\n\r\n", 400),
        ("GET / FTP\r\n\r\n", 400),
        ("GET / HTTP/1\r\n\r\n", 400),
        ("GET / http/1.1\r\n\r\n", 400),
        ("GET / HTTP/0.9\r\n\r\n", 505),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        // Nearly the preface of HTTP/2.
        ("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 505),
        ("PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", 505),
        ("PRI * HTTP/2\r\n\r\nSM\r\n\r\n", 400),
        ("PRI *\r\n", 400),
        ("PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        for step in [line.len(), 1] {
            for before in [0, 1] {
                let mut client = plane.client();
                (0..before).for_each(|_| assert_eq!(client.get("/").status, 200));
                for piece in line.as_bytes().chunks(step) {
                    // The answer may come before the end of the line.
                    let _ = client.0.stream.write_all(piece);
                }
                let told = client.answer(false).map(|answer| answer.status);
                assert_eq!(told, Some(status), "{line:?} in steps of {step}, after {before} requests");
            }
        }
    }
    let mut other = plane.client();
    other.send(b"INVALID CONNECTION PREFACE\r\n\r\n");
    assert!(other.is_closed(), "who speaks neither would not read an answer");
}

#[test]
fn what_happened_is_counted_and_logged_like_in_http1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = format!("[access_log]\npath = \"{}\"\n", path.display());
    let plane = Plane::http(&[answering(|_, _| ok(b"12345"))], "", &log);
    run(async {
        let mut client = Client::connect(plane.address()).await;
        client.get("/logged?x").await;
    });
    let line = eventually("a line of the log", || {
        std::fs::read_to_string(&path).ok().filter(|text| text.contains("/logged"))
    });
    for part in ["\"GET\"", "/logged?x", "\"site\"", "200", "\"s0\"", "done"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let (_, metrics) = plane.admin("/metrics");
    assert!(metrics.contains("evenkeel_"), "{metrics}");
}
