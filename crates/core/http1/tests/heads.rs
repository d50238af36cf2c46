//! What of a head passes, what is refused and with which status, and what the other side gets to see.

use evenkeel_config::balancer::{ForwardField, ForwardFields};
use evenkeel_http1::{
    Edits, Framing, Hop, Method, Onward, Parsed, Peer, Received, RequestError, RequestHead, RequestIds,
    ResponseHead, Scheme, Trust, parse_response, write_edited_request, write_edited_response, write_request,
    write_response,
};

const LIMIT: usize = 256;

const DATE: &[u8] = b"Tue, 24 Nov 2026 20:00:00 GMT";

const HOP: Hop<'_> = Hop {
    client: b"192.0.2.1",
    scheme: Scheme::Http,
    received: Received::Http1,
    host: b"10.0.0.7:80",
    fields: ForwardFields::NONE,
    via: b"ek",
    request_id: b"new-2",
};

fn parse_request(bytes: &[u8], limit: usize) -> Result<Parsed<RequestHead>, RequestError> {
    evenkeel_http1::parse_request(bytes, limit, Peer::STRANGER)
}

fn request(text: &str) -> RequestHead {
    request_from(text, Peer::STRANGER)
}

fn request_from(text: &str, peer: Peer) -> RequestHead {
    match evenkeel_http1::parse_request(text.as_bytes(), LIMIT, peer) {
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
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, gzip\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked,\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: , chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked;a=b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: \"chunked\"\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding:\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: \u{b}chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Transfer_Encoding: chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}content_length: 3\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 03\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}Content-Length: 00\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}Content-Type: a/b\r\nContent-Type: a/c\r\n\r\n")),
        (417, format!("GET / HTTP/1.1\r\n{host}Expect: 200-ok\r\n\r\n")),
        (417, format!("GET / HTTP/1.1\r\n{host}Expect: 100-continue, x\r\n\r\n")),
        (400, format!("OPTIONS / HTTP/1.1\r\n{host}Max-Forwards: -1\r\n\r\n")),
        (400, format!("OPTIONS / HTTP/1.1\r\n{host}Max-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n")),
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
        (400, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "GET http://a HTTP/1.1\r\n\r\n".into()),
        (400, format!("GET /%00 HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a%0d%0Ab HTTP/1.1\r\n{host}\r\n")),
        (400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".into()),
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
        (501, format!("TRACE / HTTP/1.1\r\n{host}\r\n")),
        (501, format!("get / HTTP/1.1\r\n{host}\r\n")),
        (501, format!("{} / HTTP/1.1\r\n{host}\r\n", "M".repeat(33))),
        (501, "M".repeat(LIMIT)),
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
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent_Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 03\r\n\r\n",
        "HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
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

#[track_caller]
fn assert_sent(peer: Peer, hop: &Hop<'_>, from: &str, to: &str) {
    let mut out = Vec::new();
    write_request(&request_from(from, peer), from.as_bytes(), hop, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), to, "{from}");
}

#[test]
fn a_request_reaches_the_server_without_what_is_for_one_hop() {
    for (from, to) in [
        (
            "GET /a?b=\\{} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
            "GET /a?b=\\{} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
        ),
        (
            "\r\nGET / HTTP/1.1\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nHost: a\r\nKeep-Alive: 3\r\nTE: gzip\r\n\
             X-Forwarded-Proto: https\r\nb: c\r\nUpgrade: h2c\r\nProxy-Connection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nb: c\r\n\r\n",
        ),
        ("GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /x HTTP/1.1\r\nHost: A:80\r\n\r\n"),
        ("GET http://a HTTP/1.1\r\nc: d\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nc: d\r\n\r\n"),
        ("GET HTTP://a?b HTTP/1.0\r\n\r\n", "GET /?b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET / HTTP/1.0\r\nb: c\r\n\r\n", "GET / HTTP/1.1\r\nHost: 10.0.0.7:80\r\nb: c\r\n\r\n"),
        (
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: 10.0.0.7:80\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: te\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        ),
        (
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 9\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
        ),
    ] {
        assert_sent(Peer::STRANGER, &HOP, from, to);
    }
}

const ALL: ForwardFields = ForwardFields::NONE
    .with(ForwardField::XForwardedFor)
    .with(ForwardField::XForwardedProto)
    .with(ForwardField::XForwardedHost)
    .with(ForwardField::Forwarded)
    .with(ForwardField::Via)
    .with(ForwardField::XRequestId);

/// What a client says of itself, in the names that servers believe and in their disguises.
const CLAIMS: &str = "X-Forwarded-For: 10.1.1.1\r\nX_Forwarded_For: 10.1.1.1\r\nX-Forwarded-Host: evil\r\n\
    x-forwarded-proto: https\r\nX-Forwarded_Port: 1\r\nX-Real-IP: 10.1.1.1\r\nForwarded: for=10.1.1.1\r\n\
    X-Request-Id: own-1\r\n";

#[test]
fn what_a_stranger_says_of_others_is_replaced_and_what_a_trusted_peer_says_is_kept() {
    let hop = Hop { fields: ALL, ..HOP };
    let peer = |trust| Peer { trust, request_ids: RequestIds::Made };
    let from = format!("GET / HTTP/1.1\r\nHost: a:8\r\n{CLAIMS}Via: 1.0 x\r\n\r\n");
    let start = "GET / HTTP/1.1\r\nHost: a:8\r\n";
    let ours = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:8\r\n\
        Forwarded: for=192.0.2.1;host=\"a:8\";proto=http\r\nVia: 1.1 ek\r\nX-Request-Id: new-2\r\n\r\n";
    assert_sent(peer(Trust::Stranger), &hop, &from, &format!("{start}Via: 1.0 x\r\n{ours}"));
    let added = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1;host=\"a:8\";proto=http\r\nVia: 1.1 ek\r\n\r\n";
    assert_sent(peer(Trust::Trusted), &hop, &from, &format!("{start}{CLAIMS}Via: 1.0 x\r\n{added}"));
}

#[test]
fn a_request_id_passes_where_none_is_made_and_is_kept_only_when_it_is_plain() {
    let from = |id: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n");
    assert_sent(Peer::STRANGER, &HOP, &from("(any)"), &from("(any)"));
    let trusted = Peer { trust: Trust::Trusted, request_ids: RequestIds::Made };
    let hop = Hop { fields: ForwardFields::NONE.with(ForwardField::XRequestId), request_id: b"new", ..HOP };
    assert_sent(trusted, &hop, &from("8e7f-1"), &from("8e7f-1"));
    for bad in ["", "a b", "a\"b", "\u{e9}", &"x".repeat(145)] {
        assert_sent(trusted, &hop, &from(bad), &from("new"));
    }
    let twice = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n";
    assert_sent(trusted, &hop, twice, &from("a"));
}

#[test]
fn forwarded_quotes_what_is_no_token() {
    let hop = Hop {
        client: b"2001:db8::1",
        scheme: Scheme::Https,
        fields: ForwardFields::NONE.with(ForwardField::Forwarded),
        ..HOP
    };
    let from = "GET / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n";
    let added = "Forwarded: for=\"[2001:db8::1]\";host=\"[::1]:8\";proto=https\r\n\r\n";
    assert_sent(Peer::STRANGER, &hop, from, &from.replace("\r\n\r\n", &format!("\r\n{added}")));
}

#[test]
fn via_says_in_which_version_a_request_came() {
    for (received, version, expected) in
        [(Received::Http1, "1.1", "1.1"), (Received::Http1, "1.0", "1.0"), (Received::Http2, "1.1", "2.0")]
    {
        let hop = Hop { received, fields: ForwardFields::NONE.with(ForwardField::Via), ..HOP };
        let from = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let to = format!("GET / HTTP/1.1\r\nHost: a\r\nVia: {expected} ek\r\n\r\n");
        assert_sent(Peer::STRANGER, &hop, &from, &to);
    }
}

#[test]
fn a_request_in_a_circle_is_known_by_its_via() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 front\r\nvia: 1.0 b, 1.1 ek-7 (x)\r\n\r\n";
    let head = request(text);
    assert!(head.went_through(text.as_bytes(), b"ek-7"));
    assert!(!head.went_through(text.as_bytes(), b"ek-8"));
    let other = "GET / HTTP/1.1\r\nHost: ek-7\r\n\r\n";
    assert!(!request(other).went_through(other.as_bytes(), b"ek-7"));
}

#[test]
fn the_path_and_the_query_are_told_apart_in_every_form() {
    for (target, path, query) in [
        ("/a/b?c=d?e", "/a/b", Some("c=d?e")),
        ("/", "/", None),
        ("/?", "/", Some("")),
        ("http://a/x?y", "/x", Some("y")),
        ("http://a?y", "/", Some("y")),
        ("http://a", "/", None),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(&text);
        assert_eq!(head.path(text.as_bytes()), path.as_bytes(), "{target}");
        assert_eq!(head.query(text.as_bytes()), query.map(str::as_bytes), "{target}");
    }
    let text = "OPTIONS https://a HTTP/1.1\r\nHost: b\r\n\r\n";
    let head = request(text);
    assert_eq!((head.path(text.as_bytes()), head.scheme), (&b"*"[..], Some(Scheme::Https)));
    assert_eq!(head.host.map(|host| host.of(text.as_bytes())), Some(&b"a"[..]));
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
    for line in ["POST / HTTP/1.1", "GET / HTTP/1.0"] {
        let text = format!("{line}\r\nHost: a\r\n{websocket}\r\n");
        assert!(!request(&text).upgrade, "{line}");
        assert_sent(
            Peer::STRANGER,
            &HOP,
            &text,
            &format!("{}1.1\r\nHost: a\r\n\r\n", &line[..line.len() - 3]),
        );
    }
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{websocket}\r\n");
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    assert_sent(Peer::STRANGER, &HOP, &text, sent);
}

#[track_caller]
fn assert_answered(onward: Onward, from: &str, to: &str) {
    let mut out = Vec::new();
    write_response(&response(from, Method::Get), from.as_bytes(), onward, DATE, &mut out);
    let date = String::from_utf8_lossy(DATE);
    assert_eq!(String::from_utf8_lossy(&out), to.replace("DATE", &date), "{from}");
}

#[test]
fn an_answer_reaches_the_client_in_our_version_and_with_our_connection() {
    let from = "HTTP/1.1 200 Fine\r\nConnection: x\r\nTransfer-encoding: chunked\r\nX: 1\r\nDate: d\r\n\r\n";
    assert_answered(Onward::Stay, from, "HTTP/1.1 200 Fine\r\nTransfer-encoding: chunked\r\nDate: d\r\n\r\n");
    assert_answered(Onward::Http10, from, "HTTP/1.1 200 Fine\r\nDate: d\r\nConnection: close\r\n\r\n");
    assert_answered(
        Onward::StayHttp10,
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: DATE\r\nConnection: keep-alive\r\n\r\n",
    );
    assert_answered(Onward::Stay, "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\nDate: DATE\r\n\r\n");
}

#[test]
fn an_answer_without_content_says_nothing_of_length_or_coding() {
    for framing in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
        for status in [100, 103, 204] {
            let from = format!("HTTP/1.1 {status} x\r\n{framing}Date: d\r\n\r\n");
            assert_answered(Onward::Stay, &from, &from.replace(framing, ""));
        }
        for status in [200, 304] {
            let from = format!("HTTP/1.1 {status} x\r\n{framing}Date: d\r\n\r\n");
            assert_answered(Onward::Stay, &from, &from);
        }
        let from = format!("HTTP/1.1 205 x\r\n{framing}Date: d\r\n\r\n");
        assert_answered(Onward::Stay, &from, "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n");
    }
}

#[test]
fn an_answer_that_wants_an_upgrade_says_which() {
    let from = "HTTP/1.1 426 x\r\nUpgrade: websocket\r\nDate: d\r\n\r\n";
    let kept = "HTTP/1.1 426 x\r\nUpgrade: websocket\r\nDate: d\r\n";
    assert_answered(Onward::Stay, from, &format!("{kept}Connection: upgrade\r\n\r\n"));
    assert_answered(Onward::Close, from, &format!("{kept}Connection: upgrade, close\r\n\r\n"));
    assert_answered(
        Onward::Stay,
        "HTTP/1.1 200 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nDate: d\r\n\r\n",
        "HTTP/1.1 200 x\r\nDate: d\r\n\r\n",
    );
}

#[test]
fn edits_replace_the_target_and_take_lines_out_and_put_them_in() {
    let fields = ForwardFields::NONE.with(ForwardField::XForwardedFor).with(ForwardField::XForwardedProto);
    let hop = Hop { fields, ..HOP };
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
            "GET http://a?x HTTP/1.1\r\nHost: b\r\n\r\n",
            Edits { target: Some(b"/c"), remove: &[], add: b"" },
            "GET /c HTTP/1.1\r\nHost: a\r\n",
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            Edits { target: None, remove: &[b"host"], add: b"Host: b\r\n" },
            "GET / HTTP/1.1\r\nHost: b\r\n",
        ),
        ("GET / HTTP/1.0\r\n\r\n", Edits::default(), "GET / HTTP/1.1\r\nHost: 10.0.0.7:80\r\n"),
    ] {
        let mut out = Vec::new();
        write_edited_request(&request(from), from.as_bytes(), &hop, &edits, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{to}{added}"), "{from:?}");
    }
    let from = "HTTP/1.1 200 OK\r\nServer: s\r\nKeep-Alive: x\r\nDate: d\r\nA: b\r\n\r\n";
    let edits = Edits { target: None, remove: &[b"server"], add: b"C: d\r\n" };
    let mut out = Vec::new();
    let head = response(from, Method::Get);
    write_edited_response(&head, from.as_bytes(), Onward::Close, DATE, &edits, &mut out);
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nDate: d\r\nA: b\r\nC: d\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_field_that_edits_take_out_is_not_told_behind_them() {
    let fields = ForwardFields::NONE
        .with(ForwardField::XForwardedFor)
        .with(ForwardField::XForwardedProto)
        .with(ForwardField::XForwardedHost)
        .with(ForwardField::XRequestId);
    let hop = Hop { fields, ..HOP };
    let from = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let edits = Edits {
        target: None,
        remove: &[b"X-Forwarded-Host", b"x-request-id", b"x-forwarded-for"],
        add: b"X-Forwarded-Host: b\r\nX-Request-Id: 2\r\n",
    };
    let mut out = Vec::new();
    write_edited_request(&request(from), from.as_bytes(), &hop, &edits, &mut out);
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b\r\nX-Request-Id: 2\r\n\
                    X-Forwarded-Proto: http\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_is_asked_for_is_what_the_server_gets() {
    for (line, asked) in [
        ("GET /a?b", "/a?b"),
        ("GET http://a/b", "/b"),
        ("GET http://a?b", "?b"),
        ("OPTIONS *", "*"),
        ("OPTIONS http://a", "*"),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request(&text).asked_target(text.as_bytes()), asked.as_bytes(), "{line}");
    }
}

#[test]
fn the_fields_of_a_head_are_those_that_go_on() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-two\r\nX-Two: 2\r\nX-One:  1 \r\nTE: x\r\n\r\n";
    let head = request(text);
    let fields: Vec<_> = head.fields(text.as_bytes()).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"a"[..]), (b"X-One", b"1")]);
}
