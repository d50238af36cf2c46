//! What of a head passes, what is refused and with which status, and what the other side gets to see.

use evenkeel_http1::{
    Edits, Framing, Hop, Method, Onward, Parsed, RequestError, RequestHead, ResponseHead, parse_request,
    parse_response, write_edited_request, write_edited_response, write_request, write_response,
};

const LIMIT: usize = 256;

fn request(text: &str) -> RequestHead {
    match parse_request(text.as_bytes(), LIMIT) {
        Ok(Parsed::Head(head)) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn response(text: &str, method: Method) -> ResponseHead {
    match parse_response(text.as_bytes(), LIMIT, method) {
        Ok(Parsed::Head(head)) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
/// I9: what is ambiguous is refused, whole or in any two pieces, with the status that RFC 9110 gives it.
#[test]
fn i9_requests_that_could_be_framed_differently_are_refused() {
    let host = "Host: a\r\n";
    let long = "x".repeat(LIMIT);
    let many: String = (0..120).map(|_| "a:\r\n").collect();
    let cases: &[(u16, String)] = &[
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 3\r\nContent-Length: 3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 3, 3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: +3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: -3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 0x3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 1000000000000000000\r\n\r\n")),
        (
            400,
            format!(
                "GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
        ),
        (501, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n")),
        (501, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n")),
        (501, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n")),
        (400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        (400, format!("GET / HTTP/1.1\r\n{host}a: b\r\n c\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a : b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host} a: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}: b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a: b\nc: d\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a: b\rc\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a: b\0\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}\n")),
        (400, format!("GET / HTTP/1.1\n{host}\r\n")),
        (400, format!("\nGET / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("\r\n\r\nGET / HTTP/1.1\r\n{host}\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".into()),
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost:\r\n\r\n".into()),
        (400, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "GET http://a/ HTTP/1.0\r\n\r\n".into()),
        (400, format!("GET ftp://a/ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET a HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a#b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a\\b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /\u{e9} HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET  / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /  HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1 \r\n{host}\r\n")),
        (400, format!("G(T / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Connection: content-length\r\nContent-Length: 3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Connection: host\r\n\r\n")),
        (400, "\u{16}\u{3}\u{1}\u{2}\0\u{1}".into()),
        (501, format!("CONNECT a:80 HTTP/1.1\r\n{host}\r\n")),
        (505, format!("GET / HTTP/2.0\r\n{host}\r\n")),
        (505, format!("GET / HTTP/1.2\r\n{host}\r\n")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (400, format!("GET / HTTX/1.1\r\n{host}\r\n")),
        (400, format!("GET / http/1.1\r\n{host}\r\n")),
        (414, format!("GET /{long} HTTP/1.1\r\n{host}\r\n")),
        (431, format!("GET / HTTP/1.1\r\n{host}a: {long}\r\n\r\n")),
    ];
    for (status, text) in cases {
        let whole = parse_request(text.as_bytes(), LIMIT);
        assert_eq!(whole.as_ref().map_err(|e| e.status()).err(), Some(*status), "{text:?}: {whole:?}");
        for cut in 0..text.len() {
            let part = parse_request(&text.as_bytes()[..cut], LIMIT);
            assert!(part == Ok(Parsed::Partial) || part == whole, "{text:?} up to {cut}: {part:?}");
        }
    }
    let too_many = format!("GET / HTTP/1.1\r\n{host}{many}\r\n");
    assert_eq!(parse_request(too_many.as_bytes(), 8192).map_err(RequestError::status), Err(431));
}

/// I9: the same strictness for answers.
#[test]
fn i9_answers_that_could_be_framed_differently_are_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 200 OK\na: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "220 mail.example ESMTP\r\n",
    ] {
        let got = parse_response(text.as_bytes(), LIMIT, Method::Get);
        assert!(got.is_err(), "{text:?}: {got:?}");
    }
}

#[test]
fn the_content_of_an_answer_is_framed_by_status_method_and_fields() {
    use Framing::{Chunked, Length, None, UntilClose};
    for (method, status, fields, framing, keep_alive) in [
        (Method::Get, 200, "Content-Length: 3\r\n", Length(3), true),
        (Method::Get, 200, "Transfer-Encoding: Chunked\r\n", Chunked, true),
        (Method::Get, 200, "", UntilClose, false),
        (Method::Get, 200, "Content-Length: 3\r\nConnection: x, Close\r\n", Length(3), false),
        (Method::Head, 200, "Content-Length: 3\r\n", None, true),
        (Method::Head, 200, "Transfer-Encoding: chunked\r\n", None, true),
        (Method::Get, 204, "", None, true),
        (Method::Get, 304, "Content-Length: 3\r\n", None, true),
        (Method::Get, 100, "", None, true),
    ] {
        let head = response(&format!("HTTP/1.1 {status} x\r\n{fields}\r\n"), method);
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{status} {fields}");
    }
    let old = |fields: &str| {
        response(&format!("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n{fields}\r\n"), Method::Get)
    };
    assert!(!old("").keep_alive);
    assert!(old("Connection: keep-alive\r\n").keep_alive);
}

#[test]
fn a_request_reaches_the_server_without_what_is_for_one_hop() {
    for (from, to) in [
        (
            "GET /a?b=\\{} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
            "GET /a?b=\\{} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n",
        ),
        (
            "\r\nGET / HTTP/1.1\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nHost: a\r\nKeep-Alive: 3\r\nTE: gzip\r\n\
             X-Forwarded-Proto: https\r\nb: c\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nb: c\r\n",
        ),
        ("GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a:80\r\n"),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n"),
        ("GET / HTTP/1.0\r\nb: c\r\n\r\n", "GET / HTTP/1.1\r\nb: c\r\nHost: 10.0.0.7:80\r\n"),
    ] {
        let mut out = Vec::new();
        let hop = Hop { client: b"192.0.2.1", host: b"10.0.0.7:80" };
        write_request(&request(from), from.as_bytes(), &hop, &mut out);
        let added = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{to}{added}"));
    }
}

#[test]
fn only_a_websocket_is_upgraded() {
    let ask = |fields: &str| request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!(ask(websocket).upgrade);
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        assert!(!ask(fields).upgrade, "{fields}");
    }
    let mut out = Vec::new();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{websocket}\r\n");
    write_request(&request(&text), text.as_bytes(), &Hop { client: b"::1", host: b"" }, &mut out);
    let sent = String::from_utf8(out).unwrap();
    assert!(sent.contains("\r\nUpgrade: websocket\r\n") && sent.ends_with("\r\nConnection: upgrade\r\n\r\n"));
}

#[test]
fn an_answer_reaches_the_client_in_our_version_and_with_our_connection() {
    let from =
        "HTTP/1.0 200 Fine\r\nConnection: x\r\nTransfer-encoding: chunked\r\nX: 1\r\nEtag: \"e\"\r\n\r\n"
            .replace("1.0", "1.1");
    for (onward, to) in [
        (Onward::Stay, "HTTP/1.1 200 Fine\r\nTransfer-encoding: chunked\r\nEtag: \"e\"\r\n\r\n"),
        (Onward::Http10, "HTTP/1.1 200 Fine\r\nEtag: \"e\"\r\nConnection: close\r\n\r\n"),
    ] {
        let mut out = Vec::new();
        write_response(&response(&from, Method::Get), from.as_bytes(), onward, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), to);
    }
}

#[test]
fn edits_replace_the_target_and_take_lines_out_and_put_them_in() {
    let hop = Hop { client: b"192.0.2.1", host: b"10.0.0.1:80" };
    let added = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\r\n";
    for (from, edits, to) in [
        (
            "GET /a?q HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-two\r\nX-Two: 2\r\nx-one: 3\r\nB: c\r\n\r\n",
            Edits { target: Some(b"/b"), remove: &[b"x-one"], add: b"X-New: n\r\n" },
            "GET /b HTTP/1.1\r\nHost: a\r\nB: c\r\nX-New: n\r\n",
        ),
        (
            "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            Edits { target: None, remove: &[b"Host"], add: b"Host: b\r\n" },
            "GET /x HTTP/1.1\r\nHost: b\r\n",
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            Edits { target: None, remove: &[b"host"], add: b"Host: b\r\n" },
            "GET / HTTP/1.1\r\nHost: b\r\n",
        ),
        ("GET / HTTP/1.0\r\n\r\n", Edits::default(), "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n"),
    ] {
        let mut out = Vec::new();
        write_edited_request(&request(from), from.as_bytes(), &hop, &edits, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{to}{added}"), "{from:?}");
    }
    let from = "HTTP/1.1 200 OK\r\nServer: s\r\nKeep-Alive: x\r\nA: b\r\n\r\n";
    let edits = Edits { target: None, remove: &[b"server"], add: b"C: d\r\n" };
    let mut out = Vec::new();
    write_edited_response(&response(from, Method::Get), from.as_bytes(), Onward::Close, &edits, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\nConnection: close\r\n\r\n");
}

#[test]
fn the_fields_of_a_head_are_those_that_go_on() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-two\r\nX-Two: 2\r\nX-One:  1 \r\nTE: x\r\n\r\n";
    let head = request(text);
    let fields: Vec<_> = head.fields(text.as_bytes()).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"a"[..]), (b"X-One", b"1")]);
}
