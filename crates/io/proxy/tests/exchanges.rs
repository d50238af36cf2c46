//! Requests and answers of every framing, over real sockets, as both sides see them.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use support::{Client, Plane, answering, config, field, named, noise, ok, server};

#[test]
fn one_connection_carries_many_requests_and_hop_by_hop_fields_stay_behind() {
    let echo = answering(|head, _| ok(head.as_bytes()));
    let plane = Plane::http(&[echo], "", "");
    let mut client = plane.client();
    for path in ["/a", "/b?c", "/d"] {
        let answer = client.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: site\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"
        ));
        let seen = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200);
        assert!(seen.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: site\r\n")), "{seen}");
        assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!((field(&seen, "x-end"), field(&seen, "x-hop")), (Some("2"), None));
        assert_eq!(field(&seen, "connection"), None);
    }
    let closing = client.ask("GET / HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    assert_eq!(field(&closing.head, "connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn requests_are_spread_over_the_servers_by_turns() {
    let plane = Plane::start(&config("http", &[named("a"), named("b"), named("c")], "", ""), 1);
    let mut client = plane.client();
    let mut names: Vec<_> = (0..6).map(|_| client.get("/").body).collect();
    names.sort();
    assert_eq!(names.concat(), b"aabbcc");
}

#[test]
fn servers_that_close_after_each_answer_take_turns_too() {
    let once = |name: &'static [u8]| {
        server(move |mut peer| {
            if peer.head().is_some() {
                let answer =
                    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", name].concat();
                peer.stream.write_all(&answer).unwrap();
            }
        })
    };
    let plane = Plane::start(&config("http", &[once(b"a"), once(b"b")], "", ""), 1);
    let mut client = plane.client();
    let mut names: Vec<_> = (0..6).map(|_| client.get("/").body).collect();
    names.sort();
    assert_eq!(names.concat(), b"aaabbb");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let plane = Plane::http(
        &[answering(|head, body| ok(&[head.lines().next().unwrap().as_bytes(), body].concat()))],
        "",
        "",
    );
    let mut client = plane.client();
    client.send(
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz\
          POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for expected in ["GET /1 HTTP/1.1", "POST /2 HTTP/1.1xyz", "POST /3 HTTP/1.1ab", "GET /4 HTTP/1.1"] {
        assert_eq!(String::from_utf8(client.answer(false).unwrap().body).unwrap(), expected);
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let plane = Plane::http(&[answering(|_, body| ok(body))], "", "");
    let mut client = plane.client();
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nt: v\r\n\r\n" {
        client.send(&[*byte]);
    }
    assert_eq!(client.answer(false).unwrap().body, b"abc");
    assert_eq!(client.get("/").status, 200);
}

/// Sizes around the buffers and around where splicing begins.
const SIZES: [usize; 6] = [0, 1, 32 * 1024, 64 * 1024 + 1, 300_000, 9 << 20];

#[test]
fn content_of_a_known_length_arrives_bit_for_bit_both_ways() {
    let plane = Plane::http(&[answering(|_, body| ok(body))], "", "");
    let mut client = plane.client();
    for size in SIZES {
        let body = noise(size);
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").as_bytes());
        client.send(&body);
        let answer = client.answer(false).unwrap();
        assert!(answer.body == body, "{size} bytes: {} came back", answer.body.len());
    }
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(10_007) {
        write!(out, "{:x}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nDigest: x\r\n\r\n");
    out
}

#[test]
fn chunked_content_arrives_bit_for_bit_both_ways() {
    let plane = Plane::http(
        &[answering(|_, body| {
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), in_chunks(body)].concat()
        })],
        "",
        "",
    );
    let mut client = plane.client();
    for size in SIZES {
        let body = noise(size);
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(&in_chunks(&body));
        assert!(client.answer(false).unwrap().body == body, "{size} bytes");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_ends_the_clients_too() {
    let plane = Plane::http(
        &[server(|mut peer| {
            if peer.head().is_some() {
                peer.stream
                    .write_all(&[b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), noise(200_000)].concat())
                    .unwrap();
            }
        })],
        "",
        "",
    );
    let answer = plane.client().get("/");
    assert_eq!(field(&answer.head, "connection"), Some("close"));
    assert!(answer.body == noise(200_000));
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_keeps_its_connection_only_on_request() {
    let plane = Plane::http(
        &[answering(|head, _| {
            assert!(head.contains("HTTP/1.1\r\n") && field(head, "host").is_some(), "{head}");
            if head.contains("/chunks") {
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\n\r\n"
                    .to_vec()
            } else {
                ok(b"plain")
            }
        })],
        "",
        "",
    );
    let answer = plane.client().ask("GET /chunks HTTP/1.0\r\n\r\n");
    assert_eq!((answer.body.as_slice(), field(&answer.head, "transfer-encoding")), (&b"abcde"[..], None));
    let mut client = plane.client();
    let answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(field(&answer.head, "connection"), Some("keep-alive"));
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").body, b"plain");
    assert!(client.is_closed());
}

#[test]
fn answers_without_content_leave_the_connection_in_step() {
    let plane = Plane::http(
        &[answering(|head, _| {
            let length = if head.starts_with("HEAD") { "Content-Length: 5\r\n" } else { "" };
            let status = if head.contains("/204") {
                204
            } else if head.contains("/304") {
                304
            } else {
                200
            };
            match (head.starts_with("HEAD"), status) {
                (false, 200) => ok(b"hello"),
                _ => format!("HTTP/1.1 {status} x\r\n{length}\r\n").into_bytes(),
            }
        })],
        "",
        "",
    );
    let mut client = plane.client();
    for (method, path, status) in
        [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/", 200)]
    {
        assert_eq!(client.ask(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status, status);
        assert_eq!(client.get("/").body, b"hello");
    }
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_server() {
    let plane = Plane::http(
        &[server(|mut peer| {
            while let Some(head) = peer.head() {
                assert_eq!(field(&head, "expect"), Some("100-continue"));
                if head.contains("/no") {
                    peer.stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").unwrap();
                    return;
                }
                peer.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
                let body = peer.body(&head, false);
                peer.stream.write_all(&ok(&body)).unwrap();
            }
        })],
        "",
        "",
    );
    let ask = |path| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    let mut client = plane.client();
    assert_eq!(client.ask(&ask("/")).status, 100);
    client.send(b"hello");
    assert_eq!(client.answer(false).unwrap().body, b"hello");
    // Refused before the content was sent: the connection cannot be used again.
    let refused = client.ask(&ask("/no"));
    assert_eq!((refused.status, field(&refused.head, "connection")), (403, Some("close")));
}

#[test]
fn interim_answers_pass_and_the_last_one_follows() {
    let plane = Plane::http(
        &[answering(|_, _| {
            [
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n".to_vec(),
                ok(b"end"),
            ]
            .concat()
        })],
        "",
        "",
    );
    let mut client = plane.client();
    let first = client.get("/");
    assert_eq!((first.status, field(&first.head, "link")), (103, Some("</a>")));
    assert_eq!(client.answer(false).unwrap().status, 102);
    assert_eq!(client.answer(false).unwrap().body, b"end");
    let old = plane.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.status, 200, "HTTP/1.0 knows no interim answers");
}

#[test]
fn a_websocket_becomes_a_tunnel() {
    let plane = Plane::http(
        &[server(|mut peer| {
            let head = peer.head().unwrap();
            assert_eq!(
                (field(&head, "connection"), field(&head, "upgrade")),
                (Some("upgrade"), Some("websocket"))
            );
            peer.stream
                .write_all(
                    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst",
                )
                .unwrap();
            let said = peer.take(4);
            peer.stream.write_all(&said).unwrap();
        })],
        "",
        "",
    );
    let mut client = plane.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!((answer.status, field(&answer.head, "upgrade")), (101, Some("websocket")));
    assert_eq!(client.0.take(5), b"first");
    client.send(b"ping");
    assert_eq!(client.0.take(4), b"ping");
    assert!(client.is_closed());
}

#[test]
fn tcp_mode_carries_bytes_both_ways_and_lets_one_side_end_first() {
    let echo = server(|mut peer| {
        let body = peer.body("", true);
        peer.stream.write_all(&body).unwrap();
    });
    let plane = Plane::start(&config("tcp", &[support::nobody(), echo], "", ""), 1);
    for size in [1, 3 << 20] {
        let mut client = plane.client();
        let sent = noise(size);
        let (mut writer, bytes) = (client.0.stream.try_clone().unwrap(), sent.clone());
        let sending = thread::spawn(move || {
            writer.write_all(&bytes).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert!(client.0.body("", true) == sent, "{size} bytes");
        sending.join().unwrap();
    }
}

#[test]
fn tcp_mode_carries_short_pieces_and_long_runs_in_turn() {
    let echo = server(|mut peer| {
        let mut reader = peer.stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut peer.stream).unwrap();
    });
    let plane = Plane::start(&config("tcp", &[echo], "", ""), 1);
    let mut client = plane.client();
    for size in [1, 2 << 20, 5, 32 * 1024, 64 * 1024, 7, 300_000, 1] {
        let sent = noise(size);
        let (mut writer, bytes) = (client.0.stream.try_clone().unwrap(), sent.clone());
        let sending = thread::spawn(move || writer.write_all(&bytes).unwrap());
        assert!(client.0.take(size) == sent, "{size} bytes");
        sending.join().unwrap();
    }
}

#[test]
fn a_long_answer_leaves_its_servers_connection_fit_for_the_next_request() {
    let connections = AtomicUsize::new(0);
    let numbered = server(move |mut peer| {
        let mut body = noise(1 << 20);
        let number = connections.fetch_add(1, Relaxed);
        body.extend_from_slice(&number.to_be_bytes());
        while peer.head().is_some() {
            peer.stream.write_all(&ok(&body)).unwrap();
        }
    });
    let plane = Plane::http(&[numbered], "", "");
    let mut client = plane.client();
    let first = client.get("/").body;
    for _ in 0..5 {
        assert!(client.get("/").body == first, "the answer came over another connection");
    }
}

#[test]
fn i9_what_follows_a_long_answer_unasked_is_never_taken_for_the_next_one() {
    let answer = noise(1 << 20);
    let sent = answer.clone();
    let talkative = server(move |mut peer| {
        while peer.head().is_some() {
            // The proxy closes the connection, maybe before all of this was written.
            let _ = peer.stream.write_all(&[ok(&sent), ok(b"unasked")].concat());
        }
    });
    let plane = Plane::http(&[talkative], "", "");
    let mut client = plane.client();
    for _ in 0..5 {
        assert!(client.get("/").body == answer);
    }
}

#[test]
fn a_slow_reader_slows_the_server_down_and_loses_nothing() {
    let body = noise(12 << 20);
    let sent = body.clone();
    let chunked = server(move |mut peer| {
        while peer.head().is_some() {
            peer.stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            peer.stream.write_all(&in_chunks(&sent)).unwrap();
        }
    });
    let plane = Plane::http(&[chunked], "", "");
    let mut clients: Vec<Client> = (0..3).map(|_| plane.client()).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // Each is read only when the ones before are done: until then its answer stands in full buffers.
    for mut client in clients {
        assert!(client.answer(false).unwrap().body == body);
    }
}
