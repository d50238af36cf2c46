//! Connections: which go on, which end, and that no message is taken for another's.

use std::io::Write as _;

use crate::{
    raw::{OK, Wire, stays},
    support::{Client, eventually},
};

#[test]
fn a_clients_connection_stays_or_ends_as_the_rules_say() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let wire = Wire::plain();
    let length = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n";
    for (section, request, answer, going_on) in [
        ("9112 9.3 HTTP/1.1 stays", GET.to_owned(), OK.to_owned(), true),
        (
            "9112 9.6 the client says close",
            GET.replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n"),
            OK.into(),
            false,
        ),
        ("9112 9.3 HTTP/1.0 ends", "GET / HTTP/1.0\r\n\r\n".into(), OK.into(), false),
        (
            "9112 9.3 HTTP/1.0 asks to stay",
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".into(),
            OK.into(),
            true,
        ),
        (
            "9112 9.3 the server's close is its own",
            GET.into(),
            format!("{length}Connection: close\r\n\r\nok"),
            true,
        ),
        ("9112 6.3 content until the end", GET.into(), "HTTP/1.1 200 OK\r\nDate: d\r\n\r\nok".into(), false),
    ] {
        match answer.contains("Content-Length") {
            true => wire.answers(&answer),
            false => wire.answers_and_closes(&answer),
        }
        let mut client = wire.client();
        client.send(request.as_bytes());
        let got = client.answer(false).unwrap();
        assert_eq!(got.body, b"ok", "{section}");
        assert_eq!(got.head.contains("\r\nConnection: close\r\n"), !going_on, "{section}: {}", got.head);
        wire.answers(OK);
        assert_eq!(stays(&mut client), going_on, "{section}");
    }
}

#[test]
fn requests_behind_a_close_are_not_served() {
    let wire = Wire::plain();
    let mut client = wire.client();
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer(false).unwrap().status, 200);
    assert!(client.is_closed());
    assert_eq!(wire.requests(), ["GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"]);
}

#[test]
fn requests_behind_a_refused_one_are_not_served() {
    let wire = Wire::plain();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for first in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2e\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut client = wire.client();
        client.send(format!("{first}{smuggled}").as_bytes());
        assert_eq!(client.answer(false).unwrap().status, 400, "{first}");
        assert!(client.is_closed(), "{first}");
    }
    assert!(wire.requests().iter().all(|request| !request.contains("smuggled")), "a request was smuggled");
}

#[test]
fn what_stands_behind_content_is_the_next_request_and_nothing_else() {
    let wire = Wire::plain();
    let prefix = "GET /inside HTTP/1.1\r\nHost: a\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for first in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{prefix}", prefix.len()),
        format!("OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{prefix}", prefix.len()),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{prefix}\r\n0\r\n\r\n",
            prefix.len()
        ),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let mut client = wire.client();
        client.send(format!("{first}{next}").as_bytes());
        for _ in 0..2 {
            assert_eq!(client.answer(false).unwrap().status, 200, "{first}");
        }
        assert_eq!(wire.requests(), [first.as_str(), next]);
    }
}

#[test]
fn a_server_connection_is_used_again_only_when_its_answer_ended_for_certain() {
    let wire = Wire::plain();
    for (section, request, answer, again) in [
        ("9112 9.3 a length", "GET", OK, true),
        (
            "9112 9.3 chunks",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            true,
        ),
        ("9112 9.3 no content", "GET", "HTTP/1.1 204 x\r\n\r\n", true),
        (
            "9112 9.6 the server says close",
            "GET",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        ("9112 9.3 HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        (
            "9112 6.3 more than its answer",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            false,
        ),
        ("9112 6.3 content in 204", "GET", "HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\nevil", false),
        ("9112 6.3 content in 304", "GET", "HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\nevil", false),
        ("9110 9.3.2 content for HEAD", "HEAD", "HTTP/1.1 200 x\r\nContent-Length: 4\r\n\r\nevil", false),
        (
            "9112 9.2 a second answer",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            false,
        ),
    ] {
        wire.answers(OK);
        let mut client = wire.client();
        assert_eq!(client.get("/").body, b"ok", "{section}");
        let before = wire.connections();
        wire.answers(answer);
        let got = client.ask(&format!("{request} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(got.status < 400 && got.body != b"evil", "{section}: {got:?}");
        wire.answers(OK);
        assert_eq!(client.get("/").body, b"ok", "{section}");
        assert_eq!(wire.connections() == before, again, "{section}");
    }
}

#[test]
fn a_request_that_is_cut_off_never_looks_whole_to_the_server() {
    let wire = Wire::plain();
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    ] {
        let mut client = wire.client();
        client.send(request.as_bytes());
        client.0.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let cut = String::from_utf8(wire.cut()).unwrap();
        assert!(request.starts_with(&cut) && cut.contains("hello"), "{cut}");
        assert!(client.answer(false).is_none(), "{request}");
    }
    assert_eq!(wire.requests(), [""; 0]);
}

#[test]
fn an_answer_that_is_cut_off_ends_the_clients_connection_by_a_reset() {
    let wire = Wire::plain();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        wire.answers_and_closes(answer);
        let mut client = wire.client();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.0.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let end = std::io::copy(&mut client.0.stream, &mut Vec::new());
        assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset), "{answer}");
    }
}

#[test]
fn an_answer_before_the_content_has_come_ends_the_connection() {
    let wire = Wire::plain();
    let early = crate::support::server(|mut peer| {
        while peer.head().is_some() {
            peer.stream.write_all(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    drop(wire);
    let plane = crate::support::Plane::http(&[early], "", "");
    let mut client: Client = plane.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.head.contains("\r\nConnection: close\r\n")), (413, true));
    client.send(b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.is_closed());
}

#[test]
fn answers_keep_the_order_of_pipelined_requests() {
    let wire = Wire::plain();
    let mut client = wire.client();
    let all: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all.as_bytes());
    for _ in 0..20 {
        assert_eq!(client.answer(false).unwrap().status, 200);
    }
    let seen = eventually("all requests", || {
        let seen = wire.requests();
        (!seen.is_empty()).then_some(seen)
    });
    assert_eq!(seen.concat(), all);
}
