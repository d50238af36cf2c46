//! HTTP/2 with servers: clients of either version, trailers, conversations, and servers that come and go.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use support::{Plane, config, eventually, field, http2::*, noise};

/// A data plane whose servers speak HTTP/2.
fn plane(servers: &[SocketAddr], pool: &str, rest: &str) -> Plane {
    let text = config("http", servers, pool, rest);
    Plane::start(&text.replacen("policy =", "protocol = \"http2\"\npolicy =", 1), 1)
}

/// A server that answers with what it was sent.
fn echo() -> SocketAddr {
    server(|request, respond| async move {
        let (body, _) = content(request.into_body()).await;
        answer(respond, body).await;
    })
}

/// A server that answers with what it was asked.
fn mirror() -> SocketAddr {
    server(|request, respond| async move {
        let (head, _) = request.into_parts();
        let text = format!("{} {} {:?}", head.method, head.uri, head.headers);
        answer(respond, text).await;
    })
}

const SIZES: [usize; 7] = [0, 1, 16 * 1024, 16 * 1024 + 1, 70_000, 300_000, 5 << 20];

#[test]
fn clients_of_http1_reach_servers_of_http2() {
    let plane = plane(&[mirror()], "", "");
    let mut client = plane.client();
    for path in ["/a", "/b?c=d"] {
        let answer = client.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: site:80\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\nTE: trailers\r\n\r\n"
        ));
        let seen = String::from_utf8(answer.body).unwrap();
        assert!(seen.starts_with(&format!("GET http://site:80{path} ")), "{seen}");
        assert!(
            seen.contains("\"x-end\": \"2\"") && !seen.contains("x-hop") && !seen.contains("\"te\""),
            "{seen}"
        );
        assert!(seen.contains("\"x-forwarded-for\": \"127.0.0.1\"") && !seen.contains("\"host\""), "{seen}");
    }
    let old = plane.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.status, field(&old.head, "transfer-encoding")), (200, None));
    assert!(!old.body.is_empty());
}

#[test]
fn content_of_http1_arrives_bit_for_bit_both_ways_and_the_connection_stays() {
    let plane = plane(&[echo()], "", "");
    let mut client = plane.client();
    for size in SIZES {
        let body = noise(size);
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").as_bytes());
        client.send(&body);
        assert!(client.answer(false).unwrap().body == body, "{size} bytes of a known length");
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(10_007) {
            client.send(format!("{:x}\r\n", chunk.len()).as_bytes());
            client.send(chunk);
            client.send(b"\r\n");
        }
        client.send(b"0\r\n\r\n");
        assert!(client.answer(false).unwrap().body == body, "{size} bytes in chunks");
    }
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for expected in [&b""[..], b"x", b""] {
        assert_eq!(client.answer(false).unwrap().body, expected, "pipelined");
    }
}

#[test]
fn content_of_http2_arrives_bit_for_bit_both_ways() {
    let plane = plane(&[echo()], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for size in SIZES {
            for told in [true, false] {
                let mut asked = request("PUT", "/");
                if told {
                    asked.headers_mut().insert("content-length", size.into());
                }
                *asked.body_mut() = noise(size);
                assert!(client.ask(asked).await.unwrap().body == noise(size), "{size} bytes, told: {told}");
            }
        }
    });
}

fn fields(name: &'static str, value: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(name, value.parse().unwrap());
    fields
}

#[test]
fn trailer_fields_pass_both_ways_and_te_reaches_the_server() {
    let server = server(|request, mut respond| async move {
        let te = request.headers().get("te").cloned();
        let (body, trailers) = content(request.into_body()).await;
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from(body), false).unwrap();
        let mut back = trailers.unwrap_or_default();
        back.insert("grpc-status", "0".parse().unwrap());
        if let Some(te) = te {
            back.insert("x-te", te);
        }
        stream.send_trailers(back).unwrap();
    });
    let plane = plane(&[server], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let asked = Request::post("http://site/").header("te", "trailers").body(()).unwrap();
        let (answer, mut stream) = client.begin(asked, false).await;
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        stream.send_trailers(fields("x-checksum", "7")).unwrap();
        let answer = read(answer.await.unwrap()).await.unwrap();
        let trailers = answer.trailers.unwrap();
        assert_eq!(answer.body, b"x");
        for (name, value) in [("grpc-status", "0"), ("x-checksum", "7"), ("x-te", "trailers")] {
            assert_eq!(trailers[name], value);
        }
    });
    let mut old = plane.client();
    old.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = old.0.head().unwrap();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(
        old.0.take(26),
        b"0\r\ngrpc-status: 0\r\n\r\n"[..].to_vec(),
        "trailers of an answer in chunks"
    );
}

#[test]
fn a_conversation_goes_on_in_both_directions_at_once() {
    let server = server(|request, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(piece)) = body.data().await {
            let _ = body.flow_control().release_capacity(piece.len());
            stream.send_data(piece, false).unwrap();
        }
        stream.send_trailers(fields("grpc-status", "0")).unwrap();
    });
    let plane = plane(&[server], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let (answer, mut stream) = client.begin(Request::post("http://site/").body(()).unwrap(), false).await;
        let mut body = answer.await.unwrap().into_body();
        for round in 0..100 {
            let message = Bytes::from(format!("message {round}"));
            stream.send_data(message.clone(), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), message);
            let _ = body.flow_control().release_capacity(message.len());
        }
        stream.send_data(Bytes::new(), true).unwrap();
        while let Some(rest) = body.data().await {
            assert_eq!(rest.unwrap(), "");
        }
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn answers_without_content_and_interim_ones_pass_to_both_versions() {
    let server = server(|request, mut respond| async move {
        let (status, hints) = match request.uri().path() {
            "/204" => (204, false),
            "/304" => (304, false),
            _ => (200, true),
        };
        if hints {
            let hint = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
            respond.send_informational(hint).unwrap();
        }
        let response = Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
    });
    let plane = plane(&[server], "", "");
    let mut old = plane.client();
    for _ in 0..2 {
        assert_eq!(old.get("/204").status, 204);
        assert_eq!(old.get("/304").status, 304);
        let hint = old.get("/");
        assert_eq!((hint.status, field(&hint.head, "link")), (103, Some("</a.css>")));
        let last = old.answer(false).unwrap();
        assert_eq!((last.status, field(&last.head, "content-length")), (200, Some("0")));
        old.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(old.answer(true).unwrap().status, 103);
        let head = old.answer(true).unwrap();
        assert_eq!((head.status, field(&head.head, "content-length")), (200, None));
    }
    run(async {
        let mut client = Client::connect(plane.address()).await;
        assert_eq!(client.get("/204").await.status, 204);
        assert_eq!(client.ask(request("HEAD", "/")).await.unwrap().status, 200);
    });
}

#[test]
fn many_requests_share_few_connections_within_what_the_server_allows() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(50);
    let (inside, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = server_with(builder, Arc::clone(&connections), move |_, respond| {
        let (inside, highest) = (Arc::clone(&inside), Arc::clone(&highest));
        async move {
            highest.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            inside.fetch_sub(1, Relaxed);
            answer(respond, "x").await;
        }
    });
    let plane = plane(&[server], "", "");
    run(async {
        // Several connections of clients, for each may have 100 requests at once.
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(plane.address()).await;
            tasks.push(tokio::spawn(async move {
                for _ in 0..5 {
                    let mut answers = Vec::new();
                    for _ in 0..60 {
                        answers
                            .push(client.begin(Request::get("http://site/").body(()).unwrap(), true).await.0);
                    }
                    for answer in answers {
                        assert_eq!(read(answer.await.unwrap()).await.unwrap().body, b"x");
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!((1..=8).contains(&connections.load(Relaxed)), "{connections:?} connections");
}

#[test]
fn a_request_that_a_closing_server_did_not_look_at_is_sent_again_whatever_it_asks_for() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let goes = raw_server(move |mut raw| {
        if raw.wait_for(HEADERS, 1).is_some() {
            counter.fetch_add(1, Relaxed);
            // No stream was looked at: the last one is 0.
            raw.send(&frame(GOAWAY, 0, 0, &[0; 8]));
            while raw.next().is_some() {}
        }
    });
    let plane = plane(&[goes, echo()], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for _ in 0..4 {
            let mut asked = request("POST", "/");
            asked.headers_mut().insert("content-length", 3.into());
            *asked.body_mut() = b"abc".to_vec();
            let answer = client.ask(asked).await.unwrap();
            // Content that was sent to one server cannot be sent to another; before that it can.
            assert!(matches!(answer.status, 200 | 502), "{}", answer.status);
            assert_eq!(client.get("/").await.status, 200);
        }
    });
    assert!(closed.load(Relaxed) > 0);
    let mut old = plane.client();
    for _ in 0..4 {
        assert_eq!(old.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 200);
    }
}

#[test]
fn a_refused_stream_goes_to_another_server_and_an_error_is_told() {
    let refuses = server(|_, mut respond| async move { respond.send_reset(h2::Reason::REFUSED_STREAM) });
    let plane = plane(&[refuses, echo()], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for method in ["GET", "POST", "GET", "POST"] {
            assert_eq!(client.ask(request(method, "/")).await.unwrap().status, 200, "{method}");
        }
    });
    let fails = server(|_, mut respond| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) });
    let plane = self::plane(&[fails], "", "");
    assert_eq!(plane.client().get("/").status, 502);
}

#[test]
fn an_answer_that_is_cut_short_is_seen_to_be_cut() {
    let cuts = server(|_, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::task::yield_now().await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    let plane = plane(&[cuts], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        // Where the reset overtakes the head the client is told 502 instead.
        match client.ask(request("GET", "/")).await {
            Ok(answer) => assert_eq!(answer.status, 502),
            Err(error) => assert!(error.is_reset()),
        }
    });
}

#[test]
fn answers_that_http1_could_not_frame_are_refused() {
    let bad = server(|_, mut respond| async move {
        let response = Response::builder().header("content-length", "5").header("content-length", "6");
        let _ = respond.send_response(response.body(()).unwrap(), false).map(|mut stream| {
            let _ = stream.send_data(Bytes::from_static(b"12345"), true);
        });
    });
    let plane = plane(&[bad], "", "");
    assert_eq!(plane.client().get("/").status, 502);
    run(async {
        assert_eq!(Client::connect(plane.address()).await.get("/").await.status, 502);
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_clients_of_both_versions() {
    let server = server(|_request, mut respond| async move {
        let response = Response::builder().status(413).body(()).unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data(Bytes::from_static(b"no!"), true).unwrap();
    });
    let plane = plane(&[server], "", "");
    run(async {
        let mut client = Client::connect(plane.address()).await;
        let mut asked = request("PUT", "/");
        *asked.body_mut() = noise(20 << 20);
        let answer = client.ask(asked).await.unwrap();
        assert_eq!((answer.status, answer.body), (413, b"no!".to_vec()));
    });
    let mut old = plane.client();
    old.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun");
    assert_eq!(old.answer(false).unwrap().status, 413);
}

#[test]
fn servers_of_http2_are_asked_for_their_health_in_http2() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = server(move |request, respond| {
        if request.uri().path() == "/health" {
            counter.fetch_add(1, Relaxed);
        }
        answer(respond, "well")
    });
    let text =
        config("http", &[server], "", "").replacen("policy =", "protocol = \"http2\"\npolicy =", 1).replace(
            "kind = \"tcp\"\ninterval = \"10s\"",
            "kind = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\nfall = 1",
        );
    let plane = Plane::start(&text, 1);
    eventually("checks in HTTP/2", || (asked.load(Relaxed) > 3).then_some(()));
    let (_, status) = plane.admin("/status");
    assert!(status.contains("status 200"), "{status}");
}

#[test]
fn a_client_that_reads_nothing_holds_up_little_and_no_other() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = server(move |request, mut respond| {
        let counter = Arc::clone(&counter);
        async move {
            if request.uri().path() == "/small" {
                return answer(respond, "x").await;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            loop {
                stream.reserve_capacity(16 * 1024);
                let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await
                else {
                    return;
                };
                counter.fetch_add(room, Relaxed);
                if stream.send_data(Bytes::from(vec![7; room]), false).is_err() {
                    return;
                }
            }
        }
    });
    let plane = plane(&[server], "", "");
    let mut raw = Raw::connect(plane.address(), &[0, 4, 0, 0, 0, 0]);
    for stream in 0..20 {
        raw.send(&frame(HEADERS, 5, 2 * stream + 1, &get("/", &[])));
    }
    for _ in 0..20 {
        let head = std::iter::from_fn(|| raw.next()).find(|frame| frame.kind == HEADERS);
        assert!(head.is_some());
    }
    for _ in 0..10 {
        assert_eq!(
            plane.client().get("/small").body,
            b"x",
            "others on the same connection to the server go on"
        );
    }
    // Each stream may be 64 KiB ahead, and nothing of it is taken from the server beyond that.
    assert!(sent.load(Relaxed) <= 20 * (64 << 10), "{} bytes", sent.load(Relaxed));
}
