//! Heads of requests: refused, or passed on as the rules say.

use crate::raw::Wire;

/// A request that must be refused: the section that asks for it, the status, and its bytes.
type Refused = (&'static str, u16, &'static str);

const REFUSED: &[Refused] = &[
    // Lines.
    ("9112 2.2 bare CR", 400, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    ("9112 2.2 bare CR in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"),
    ("9112 2.2 bare LF behind the request line", 400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("9112 2.2 bare LF behind a field", 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    ("9112 2.2 bare LF as the empty line", 400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ("9112 2.2 white space before the first field", 400, "GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n"),
    ("9112 2.2 a line of white space", 400, "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
    ("9112 2.2 two empty lines in front", 400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 2.2 white space in front", 400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 2.2 bytes of something else", 400, "\u{16}\u{3}\u{1}\0\u{1}\r\n\r\n"),
    // Versions.
    ("9112 2.3 no version", 400, "GET /\r\n\r\n"),
    ("9112 2.3 small letters", 400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("9112 2.3 no minor version", 400, "GET / HTTP/1\r\nHost: a\r\n\r\n"),
    ("9112 2.3 leading zeros", 400, "GET / HTTP/01.01\r\nHost: a\r\n\r\n"),
    ("9112 2.3 white space", 400, "GET / HTTP/ 1.1\r\nHost: a\r\n\r\n"),
    ("9110 2.5 a version of the future", 505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("9110 2.5 another major version", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    // Request lines.
    ("9112 3 two spaces", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3 a space at the end", 400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("9112 3 a tab", 400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3 no target", 400, "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3 a space in the target", 400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.1 no token", 400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "9112 3 a method that is too long",
        501,
        "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("9110 9.1 methods have capital letters", 501, "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110 9.3.6 CONNECT", 501, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("9110 9.3.8 TRACE", 501, "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n"),
    // Targets.
    ("9112 3.2 a fragment", 400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 no form", 400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 NUL", 400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 an encoded NUL", 400, "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 encoded line ends", 400, "GET /a%0d%0aX:b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 a backslash", 400, "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2 beyond ASCII", 400, "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112 3.2.3 authority-form is for CONNECT", 400, "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    ("9112 3.2.4 asterisk-form is for OPTIONS", 400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110 4.2.1 an empty host", 400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110 4.2.4 userinfo in the target", 400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110 7.4 another scheme", 400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110 7.4 https over a plain connection", 421, "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Host.
    ("9112 3.2 no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ("9112 3.2 no Host beside absolute-form", 400, "GET http://a/ HTTP/1.1\r\n\r\n"),
    ("9112 3.2 two Hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("9112 3.2 the same Host twice", 400, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    ("9112 3.2 two Hosts in HTTP/1.0", 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("9112 3.2 an empty Host", 400, "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    ("9112 3.2 a list", 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("9112 3.2 userinfo", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("9112 3.2 a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("9112 3.2 a space", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("9112 3.2 a port that is none", 400, "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"),
    ("9112 3.2 a port that is too large", 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    ("9112 3.2 an address that is none", 400, "GET / HTTP/1.1\r\nHost: [::1::2]\r\n\r\n"),
    ("9112 3.2 half an escape", 400, "GET / HTTP/1.1\r\nHost: a%4\r\n\r\n"),
    // Fields.
    ("9112 5.1 white space before the colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
    ("9112 5.1 a tab before the colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n"),
    ("9112 5 no colon", 400, "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    ("9112 5 no name", 400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ("9112 5 a name that is no token", 400, "GET / HTTP/1.1\r\nHost: a\r\nX[: b\r\n\r\n"),
    ("9112 5 a name beyond ASCII", 400, "GET / HTTP/1.1\r\nHost: a\r\n\u{e9}: b\r\n\r\n"),
    ("9112 5.2 a folded line", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
    (
        "9112 5.2 a folded Transfer-Encoding",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    ),
    ("9110 5.5 NUL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
    ("9110 5.5 a control character in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{7}c\r\n\r\n"),
    ("9110 5.5 DEL in a value", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{7f}c\r\n\r\n"),
    (
        "9110 8.3 two Content-Types",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n",
    ),
    ("9110 10.1.1 another expectation", 417, "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
    ("9110 7.6.1 Connection names Host", 400, "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
    (
        "9110 7.6.1 Connection names Content-Length",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "9110 7.6.2 a Max-Forwards that is no number",
        400,
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
    ),
    // Framing.
    (
        "9112 6.1 a coding and a length",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 a length and a coding",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 a coding in HTTP/1.0",
        400,
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 chunks within chunks",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 the field twice",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 chunked and identity",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.1 a coding that nobody knows",
        501,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.3 chunked is not last",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    ("9112 6.3 no chunked", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("9112 6.3 identity", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    ("9112 6.3 xchunked", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("9112 6.3 nothing", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n\r\n"),
    (
        "9112 6.3 a vertical tab before it",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.3 in quotes",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 7 a parameter",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.3 an underscore",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "9112 6.3 two lengths",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ),
    (
        "9112 6.3 the same length twice",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("9112 6.3 a list of lengths", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello"),
    ("9112 6.3 a list of one length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("9110 8.6 no number", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n"),
    ("9110 8.6 nothing", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
    ("9110 8.6 a sign", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    ("9110 8.6 below nothing", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n"),
    ("9110 8.6 hexadecimal", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("9110 8.6 an underscore", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nhello12345"),
    ("9110 8.6 a space within", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\nhello12345"),
    ("9110 8.6 leading zeros", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello"),
    (
        "9110 8.6 beyond any number",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ),
    (
        "9110 8.6 an underscore in the name",
        400,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent_Length: 9\r\n\r\nhello",
    ),
];

#[test]
fn requests_that_break_a_rule_are_refused_and_reach_no_server() {
    let wire = Wire::plain();
    for (section, status, request) in REFUSED {
        let mut client = wire.client();
        client.send(request.as_bytes());
        let answer = client.answer(false).unwrap_or_else(|| panic!("{section}: no answer"));
        assert_eq!(answer.status, *status, "{section}: {}", answer.head);
        assert!(answer.head.contains("\r\nConnection: close\r\n"), "{section}: {}", answer.head);
        assert!(client.is_closed(), "{section}: the connection goes on");
    }
    assert_eq!(wire.requests(), [""; 0]);
}

#[test]
fn heads_that_are_too_long_are_refused_by_what_is_too_long() {
    let wire = Wire::with("fields = []", "[limits]\nrequest_head_bytes = 8192\n");
    let (long, fields) = ("a".repeat(9000), "X: y\r\n".repeat(101));
    for (section, status, request) in [
        ("9112 3 target", 414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("9112 3 method", 501, format!("{}{long}", "M".repeat(33))),
        ("9110 5.4 value", 431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        ("9110 5.4 name", 431, format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: x\r\n\r\n")),
        ("9110 5.4 fields", 431, format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
    ] {
        let answer = wire.client().ask(&request);
        assert_eq!(answer.status, status, "{section}");
    }
    // RFC 9112 §3: 8,000 bytes of a request line are the least that everybody should take.
    assert_eq!(wire.client().get(&format!("/{}", &long[..7900])).status, 200);
}

/// A request that passes: the section, its bytes, and those that the server gets.
type Passed = (&'static str, &'static str, &'static str);

const PASSED: &[Passed] = &[
    (
        "9112 2.2 one empty line in front",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("9112 2.3 our own version", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "9112 3.2.2 absolute-form overrides Host",
        "GET http://b:8/x?y HTTP/1.1\r\nHost: a\r\nX: z\r\n\r\n",
        "GET /x?y HTTP/1.1\r\nHost: b:8\r\nX: z\r\n\r\n",
    ),
    (
        "9112 3.2.2 absolute-form in HTTP/1.0",
        "GET http://b/ HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    (
        "9112 3.2.1 an empty path",
        "GET http://b HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    (
        "9112 3.2.1 an empty path and a query",
        "GET http://b?c HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /?c HTTP/1.1\r\nHost: b\r\n\r\n",
    ),
    (
        "9112 3.2.4 OPTIONS for the server",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "9112 3.2.4 the same in absolute-form",
        "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "9110 7.7 path and query are left alone",
        "GET /%7Ea/../b//c?d=%zz&e HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%7Ea/../b//c?d=%zz&e HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "9110 5.1 unknown fields pass",
        "GET / HTTP/1.1\r\nHost: a\r\nX_Own: \u{e9}\r\n~: \t1\t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX_Own: \u{e9}\r\n~: \t1\t\r\n\r\n",
    ),
    (
        "9110 5.3 the order of lines stays",
        "GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\nY: 2\r\nX: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\nY: 2\r\nX: 3\r\n\r\n",
    ),
    (
        "9110 7.6.1 Connection and what it names",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-one, , X-Two\r\nX-One: 1\r\nx-two: 2\r\nX-Three: 3\r\nConnection: keep-alive\r\nX-One: 4\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Three: 3\r\n\r\n",
    ),
    (
        "9110 7.6.1 fields of one hop",
        "GET / HTTP/1.1\r\nKeep-Alive: 5\r\nHost: a\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "9112 7.4 TE passes what we can keep",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: deflate, trailers\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    ),
    (
        "9110 7.6.2 a hop is counted",
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n",
        "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 6\r\n\r\n",
    ),
    (
        "9110 7.8 Upgrade in HTTP/1.0 is ignored",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "9110 7.8 Upgrade without its option",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "6455 4.1 a WebSocket is asked for by GET",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "9110 10.1.1 the expectation of HTTP/1.0 is ignored",
        "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ),
    (
        "9110 11.6.2 Authorization is left alone",
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization:  Basic  YTpi \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization:  Basic  YTpi \r\n\r\n",
    ),
    (
        "9110 14.2 Range with another method",
        "POST / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "9110 9.1 methods of others",
        "PROPFIND /dav HTTP/1.1\r\nHost: a\r\nDepth: 1\r\nContent-Length: 1\r\n\r\nx",
        "PROPFIND /dav HTTP/1.1\r\nHost: a\r\nDepth: 1\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        "9112 6.2 GET with content",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\t3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\t3\r\n\r\nabc",
    ),
    (
        "9112 6.3 POST without content",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
];

#[test]
fn requests_reach_the_server_as_the_rules_say() {
    let wire = Wire::plain();
    for (section, request, expected) in PASSED {
        let answer = wire.client().ask(request);
        assert_eq!(answer.status, 200, "{section}: {}", answer.head);
        assert_eq!(wire.requests(), [*expected], "{section}");
    }
}

#[test]
fn a_request_of_http_1_0_without_host_gets_that_of_the_server() {
    let wire = Wire::plain();
    assert_eq!(wire.client().ask("GET / HTTP/1.0\r\nX: y\r\n\r\n").status, 200);
    let request = wire.requests().pop().unwrap();
    let host =
        request.strip_prefix("GET / HTTP/1.1\r\nHost: 127.0.0.1:").unwrap_or_else(|| panic!("{request}"));
    assert!(host.ends_with("\r\nX: y\r\n\r\n"), "{request}");
}

#[test]
fn options_that_may_go_no_further_is_answered_here() {
    let wire = Wire::plain();
    for target in ["/", "*"] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
        assert_eq!(wire.client().ask(&request).status, 200);
    }
    assert_eq!(wire.requests(), [""; 0]);
}
