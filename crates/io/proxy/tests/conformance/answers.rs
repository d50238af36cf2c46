//! Answers: refused, or brought to the client as the rules say.

use crate::raw::{OK, Wire, stays};

/// Answers that must not reach a client: the section that asks for it, and their bytes.
const REFUSED: &[(&str, &str)] = &[
    ("9112 2.2 bare CR", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2 bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2 bare LF behind a field", "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n"),
    ("9112 2.2 an empty line in front", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.2 white space before the first field", "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n"),
    ("9112 2.3 another version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4 no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 4 two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9110 15 a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9110 15 a status above 599", "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5.1 white space before the colon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n"),
    ("9112 5.2 a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("9110 5.5 NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 0\r\n\r\n"),
    (
        "9112 6.1 a coding and a length",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("9112 6.1 a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "9112 6.1 a coding that nobody asked for",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("9112 6.3 chunked is not last", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("9112 6.3 two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    ("9112 6.3 a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ("9110 8.6 no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    ("9110 8.6 beyond any number", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("9112 7.1 a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"),
    (
        "9110 7.8 an upgrade that nobody asked for",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "9110 7.6.1 Connection names Content-Length",
        "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
    ),
    ("9112 9.2 no HTTP at all", "SSH-2.0-x\r\n\r\n"),
];

#[test]
fn answers_that_break_a_rule_become_502() {
    let wire = Wire::plain();
    for (section, answer) in REFUSED {
        wire.answers(answer);
        let got = wire.client().get("/");
        assert_eq!(got.status, 502, "{section}: {}", got.head);
    }
}

/// An answer that passes: the section, its bytes, and those that the client gets.
type Passed = (&'static str, &'static str, &'static str);

const PASSED: &[Passed] = &[
    (
        "9112 2.3 our own version",
        "HTTP/1.0 200 OK\r\nDate: d\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "9112 4 the space behind the status",
        "HTTP/1.1 200\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 \r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9112 4 any reason",
        "HTTP/1.1 299 \u{e9} \t!\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 299 \u{e9} \t!\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 7.6.1 Connection, what it names, and fields of one hop",
        "HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nDate: d\r\nUpgrade: h2c\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDate: d\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 8.6 no length in 204",
        "HTTP/1.1 204 No\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No\r\nDate: d\r\n\r\n",
    ),
    (
        "9112 6.1 no coding in 204",
        "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\nDate: d\r\n\r\n",
        "HTTP/1.1 204 No\r\nDate: d\r\n\r\n",
    ),
    (
        "9110 15.4.5 a length in 304 says nothing of content",
        "HTTP/1.1 304 x\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 x\r\nDate: d\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "9112 6.3 a coding in 304 says nothing of content",
        "HTTP/1.1 304 x\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 x\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    (
        "9110 15.3.6 205 without content",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 15.3.6 205 with content that it must not have, which some clients would take for the next answer",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 15.3.6 205 with content in chunks",
        "HTTP/1.1 205 x\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 15.3.6 205 that ends with its connection",
        "HTTP/1.1 205 x\r\nDate: d\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 205 x\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 7.8 426 says what it wants",
        "HTTP/1.1 426 x\r\nDate: d\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 426 x\r\nDate: d\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: upgrade\r\n\r\n",
    ),
    (
        "9110 15.2 interim answers pass",
        "HTTP/1.1 103 x\r\nDate: d\r\nLink: y\r\n\r\nHTTP/1.1 102 x\r\nDate: d\r\n\r\nHTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 x\r\nDate: d\r\nLink: y\r\n\r\nHTTP/1.1 102 x\r\nDate: d\r\n\r\nHTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 8.6 no length in an interim answer",
        "HTTP/1.1 103 x\r\nContent-Length: 0\r\nDate: d\r\n\r\nHTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 x\r\nDate: d\r\n\r\nHTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 11.6.1, 10.2.1 WWW-Authenticate and Allow are left alone",
        "HTTP/1.1 405 x\r\nDate: d\r\nAllow: GET,  X-own\r\nWWW-Authenticate: A  b=\"c\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 405 x\r\nDate: d\r\nAllow: GET,  X-own\r\nWWW-Authenticate: A  b=\"c\"\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 5.3 the order of lines stays",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nDate: d\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nDate: d\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    ),
];

#[test]
fn answers_reach_the_client_as_the_rules_say() {
    let wire = Wire::plain();
    for (section, answer, expected) in PASSED {
        wire.answers(answer);
        let (mut client, got) = wire.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n", expected.len());
        assert_eq!(got, *expected, "{section}");
        wire.answers(OK);
        assert!(stays(&mut client), "{section}: the connection ends");
    }
}

#[test]
fn an_answer_to_head_has_no_content_whatever_it_says() {
    let wire = Wire::plain();
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let answer = format!("HTTP/1.1 200 OK\r\nDate: d\r\n{framing}\r\n");
        wire.answers(&answer);
        let (mut client, got) = wire.exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", answer.len());
        assert_eq!(got, answer);
        wire.answers(OK);
        assert!(stays(&mut client));
    }
}

#[test]
fn an_answer_of_our_own_has_a_date_and_none_to_head_has_content() {
    let wire = Wire::plain();
    let refused = wire.client().ask("GET / HTTP/1.1\r\n\r\n");
    let date = crate::support::field(&refused.head, "date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    for request in [
        "HEAD / HTTP/1.1\r\n\r\n",
        "\r\nHEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let mut client = wire.client();
        client.send(request.as_bytes());
        let head = client.0.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 4"), "{head}");
        assert!(client.is_closed(), "{request}: an answer to HEAD with content");
    }
}

#[test]
fn an_answer_without_a_date_gets_one() {
    let wire = Wire::plain();
    wire.answers("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut client = wire.client();
    let interim = client.get("/");
    let last = client.answer(false).unwrap();
    for head in [interim.head, last.head] {
        let date = crate::support::field(&head, "date").unwrap_or_else(|| panic!("{head}")).to_owned();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_answer_and_no_coding() {
    let wire = Wire::plain();
    let chunks = "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n";
    for (request, answer, expected) in [
        (
            "GET / HTTP/1.0\r\n\r\n",
            format!("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n{chunks}"),
            format!("{plain}abc"),
        ),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", chunks.to_owned(), format!("{plain}abc")),
        (
            "HEAD / HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            plain.to_owned(),
        ),
    ] {
        wire.answers(&answer);
        let (mut client, got) = wire.exchange(request, expected.len());
        assert_eq!(got, expected);
        assert!(client.is_closed(), "{request}");
    }
}
