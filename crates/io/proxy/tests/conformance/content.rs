//! Chunked content, extensions and trailer sections.

use crate::raw::{OK, Wire, stays};

/// Chunks: the section, what comes, and what goes on; `Err` when they are refused.
type Chunks = (&'static str, &'static str, Result<&'static str, ()>);

const CHUNKS: &[Chunks] = &[
    ("9112 7.1 nothing", "0\r\n\r\n", Ok("0\r\n\r\n")),
    ("9112 7.1 several", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", Ok("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")),
    (
        "9112 7.1 digits of any case, and leading zeros",
        "0A\r\n0123456789\r\n00a\r\n0123456789\r\n0\r\n\r\n",
        Ok("0A\r\n0123456789\r\n00a\r\n0123456789\r\n0\r\n\r\n"),
    ),
    ("9112 7.1.1 extensions", "5;a;b=c;d=\"e;\\\"\"\r\nhello\r\n0;f\r\n\r\n", Ok("5\r\nhello\r\n0\r\n\r\n")),
    ("9110 5.6.3 bad white space", "5 ; a = b\r\nhello\r\n0\r\n\r\n", Ok("5\r\nhello\r\n0\r\n\r\n")),
    (
        "9112 7.1.2 trailer fields",
        "1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n",
        Ok("1\r\nx\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n"),
    ),
    (
        "9112 7.1.2 trailer fields behind an extension",
        "1\r\nx\r\n0;a\r\nX-Sum: 1\r\n\r\n",
        Ok("1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ),
    ("9112 7.1 no digits", "\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 no hexadecimal digits", "g\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 a prefix", "0x5\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 a sign", "+5\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 below nothing", "-1\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 an underscore", "1_0\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 a space in front", " 5\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 a space behind", "5 \r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 beyond any number", "FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 more data than the size", "5\r\nhello!!\r\n0\r\n\r\n", Err(())),
    ("9112 7.1 no line end behind the data", "5\r\nhello0\r\n\r\n", Err(())),
    ("9112 2.2 bare LF behind a size", "5\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 2.2 bare CR behind a size", "5\rhello\r\n0\r\n\r\n", Err(())),
    ("9112 2.2 bare LF behind the data", "5\r\nhello\n0\r\n\r\n", Err(())),
    ("9112 2.2 bare CR behind the data", "5\r\nhello\r0\r\n\r\n", Err(())),
    ("9112 2.2 bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 2.2 bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 2.2 bare LF at the end", "0\r\n\n", Err(())),
    ("9112 7.1.1 no name", "5;\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1.1 a name that is no token", "5;a[=b\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1.1 no value", "5;a=\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 7.1.1 half a quoted value", "5;a=\"b\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9110 5.5 NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n", Err(())),
    ("9112 5.1 white space before a trailer's colon", "0\r\nX : y\r\n\r\n", Err(())),
    ("9112 5.2 a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", Err(())),
    ("9112 2.2 bare LF behind a trailer", "0\r\nX: y\n\r\n", Err(())),
    ("9110 6.5.1 Content-Length as a trailer", "0\r\nContent-Length: 5\r\n\r\n", Err(())),
    ("9110 6.5.1 Transfer-Encoding as a trailer", "0\r\ntransfer-encoding: chunked\r\n\r\n", Err(())),
    ("9110 6.5.1 Host as a trailer", "0\r\nHost: evil\r\n\r\n", Err(())),
    ("9110 6.5.1 Authorization as a trailer", "0\r\nX: y\r\nAuthorization: z\r\n\r\n", Err(())),
    ("9110 6.5.1 Content-Type as a trailer", "0\r\nContent-Type: a/b\r\n\r\n", Err(())),
    ("9110 6.5.1 X-Forwarded-For as a trailer", "0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", Err(())),
];

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn chunks_of_a_request_pass_or_are_refused_as_the_rules_say() {
    let wire = Wire::plain();
    for (section, chunks, expected) in CHUNKS {
        let mut client = wire.client();
        client.send(format!("{HEAD}{chunks}").as_bytes());
        let answer = client.answer(false).unwrap_or_else(|| panic!("{section}: no answer"));
        match expected {
            Ok(passed) => {
                assert_eq!(answer.status, 200, "{section}: {}", answer.head);
                assert_eq!(wire.requests(), [format!("{HEAD}{passed}")], "{section}");
                assert!(stays(&mut client), "{section}");
                wire.requests();
            }
            Err(()) => {
                assert_eq!(answer.status, 400, "{section}: {}", answer.head);
                assert!(client.is_closed(), "{section}");
                assert_eq!(wire.requests(), [""; 0], "{section}");
            }
        }
    }
}

#[test]
fn chunks_that_come_byte_by_byte_pass_like_those_that_come_at_once() {
    let wire = Wire::plain();
    for (section, chunks, expected) in CHUNKS {
        let Ok(passed) = expected else { continue };
        let mut client = wire.client();
        for byte in format!("{HEAD}{chunks}").bytes() {
            client.send(&[byte]);
        }
        assert_eq!(client.answer(false).unwrap().status, 200, "{section}");
        assert_eq!(wire.requests(), [format!("{HEAD}{passed}")], "{section}");
    }
}

#[test]
fn extensions_that_outweigh_their_data_are_refused() {
    let wire = Wire::plain();
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(64 << 10));
    let many = format!("{}0\r\n\r\n", format!("1;a={}\r\nx\r\n", "b".repeat(900)).repeat(40));
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(2000));
    for chunks in [long, many, trailers] {
        assert_eq!(wire.client().ask(&format!("{HEAD}{chunks}")).status, 400);
    }
    assert_eq!(wire.requests(), [""; 0]);
}

#[test]
fn trailer_fields_that_connection_names_stay_behind_with_all_others() {
    let wire = Wire::plain();
    let request = HEAD.replace("Host: a\r\n", "Host: a\r\nConnection: x-hop\r\nX-Hop: 1\r\n");
    let answer = wire.client().ask(&format!("{request}1\r\nx\r\n0\r\nX-Hop: 2\r\nX-End: 3\r\n\r\n"));
    assert_eq!(answer.status, 200);
    assert_eq!(wire.requests(), [format!("{HEAD}1\r\nx\r\n0\r\n\r\n")]);
}

#[test]
fn trailer_fields_of_an_answer_pass_but_for_those_that_may_only_stand_in_the_head() {
    let wire = Wire::plain();
    let head = "HTTP/1.1 200 OK\r\nDate: d\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, expected) in [
        ("1;e\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", "1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ("0\r\nSet-Cookie: a\r\nX-Sum: 1\r\nContent_Length: 5\r\n\r\n", "0\r\nX-Sum: 1\r\n\r\n"),
    ] {
        wire.answers(&format!("{head}{chunks}"));
        let expected = format!("{head}{expected}");
        let (mut client, got) = wire.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n", expected.len());
        assert_eq!(got, expected);
        wire.answers(OK);
        assert!(stays(&mut client));
    }
}
