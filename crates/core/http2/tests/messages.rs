//! Messages between HTTP/2 and the text of HTTP/1.1: what passes, and that nothing can be smuggled in it (I9).
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use evenkeel_http1::{Parsed, Peer, parse_request};
use evenkeel_http2::{
    Asked, Body, Content, Lines, MessageError, Pseudo, write_answer, write_request, write_trailers,
};
use proptest::prelude::*;

type Fields<'a> = &'a [(&'a str, &'a str)];

const PLAIN: Pseudo<'static> = Pseudo {
    method: b"GET",
    scheme: Some(b"https"),
    authority: Some(b"exam.example"),
    path: Some(b"/a?b"),
    protocol: None,
};

fn bytes<'a>(fields: Fields<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn text(pseudo: &Pseudo<'_>, fields: Fields<'_>, body: Body) -> Result<(String, Asked), MessageError> {
    let mut out = Vec::new();
    let asked = write_request(pseudo, || bytes(fields), body, b"KEY", &mut out)?;
    Ok((String::from_utf8(out).unwrap(), asked))
}

fn refused(pseudo: &Pseudo<'_>, fields: Fields<'_>, body: Body) -> Option<MessageError> {
    text(pseudo, fields, body).err()
}

#[test]
fn a_request_becomes_the_text_that_says_the_same() {
    let fields: Fields<'_> = &[("cookie", "a=1"), ("accept", "*/*"), ("te", "trailers"), ("cookie", "b=2")];
    let (out, asked) = text(&PLAIN, fields, Body::None).unwrap();
    assert_eq!(
        out,
        "GET /a?b HTTP/1.1\r\nhost: exam.example\r\naccept: */*\r\ncookie: a=1; b=2\r\n\
         te: trailers\r\nconnection: te\r\n\r\n"
    );
    assert_eq!(asked, Asked::Request);
}

#[test]
fn content_is_framed_by_its_length_or_in_chunks() {
    let post = Pseudo { method: b"POST", ..PLAIN };
    let end = |fields, body| {
        text(&post, fields, body).map(|(out, _)| out.split_once("example\r\n").unwrap().1.to_owned())
    };
    assert_eq!(end(&[], Body::Follows).unwrap(), "transfer-encoding: chunked\r\n\r\n");
    assert_eq!(end(&[], Body::None).unwrap(), "content-length: 0\r\n\r\n");
    assert_eq!(end(&[("content-length", "5")], Body::Follows).unwrap(), "content-length: 5\r\n\r\n");
    assert_eq!(end(&[("content-length", "0")], Body::None).unwrap(), "content-length: 0\r\n\r\n");
}

#[test]
fn i9_requests_that_would_smuggle_are_refused() {
    let path = |path: &'static [u8]| Pseudo { path: Some(path), ..PLAIN };
    let host = |host: &'static [u8]| Pseudo { authority: Some(host), ..PLAIN };
    let method = |method: &'static [u8]| Pseudo { method, ..PLAIN };
    for (pseudo, fields, error) in [
        (path(b"/ HTTP/1.1\r\nhost: b\r\n\r\nGET /admin"), &[] as Fields<'_>, MessageError::Path),
        (path(b"/a b"), &[], MessageError::Path),
        (path(b"/a\tb"), &[], MessageError::Path),
        (path(b"/a#b"), &[], MessageError::Path),
        (path(b"/\xe9"), &[], MessageError::Path),
        (path(b"http://b/"), &[], MessageError::Path),
        (path(b"*"), &[], MessageError::Path),
        (path(b""), &[], MessageError::Path),
        (Pseudo { path: None, ..PLAIN }, &[], MessageError::Path),
        (host(b"a\r\nx: y"), &[], MessageError::Authority),
        (host(b"a b"), &[], MessageError::Authority),
        (host(b""), &[], MessageError::Authority),
        (Pseudo { authority: None, ..PLAIN }, &[], MessageError::Authority),
        (PLAIN, &[("host", "other")], MessageError::AuthorityDiffers),
        (
            Pseudo { authority: None, ..PLAIN },
            &[("host", "a"), ("host", "b")],
            MessageError::AuthorityDiffers,
        ),
        (method(b"GET / HTTP/1.1\r\nx:"), &[], MessageError::Method),
        (method(b""), &[], MessageError::Method),
        (method(b"CONNECT"), &[], MessageError::Connect),
        (Pseudo { scheme: Some(b"ftp"), ..PLAIN }, &[], MessageError::Scheme),
        (Pseudo { scheme: None, ..PLAIN }, &[], MessageError::Scheme),
        (Pseudo { protocol: Some(b"websocket"), ..PLAIN }, &[], MessageError::Protocol),
        (PLAIN, &[("transfer-encoding", "chunked")], MessageError::OneHop),
        (PLAIN, &[("connection", "content-length")], MessageError::OneHop),
        (PLAIN, &[("upgrade", "h2c")], MessageError::OneHop),
        (PLAIN, &[("te", "trailers, deflate")], MessageError::OneHop),
        (PLAIN, &[("x", "a\r\ntransfer-encoding: chunked")], MessageError::Value),
        (PLAIN, &[("x\r\ntransfer-encoding", "chunked")], MessageError::Name),
        (PLAIN, &[("Transfer-Encoding", "chunked")], MessageError::Name),
        (PLAIN, &[("cookie", "a\nb")], MessageError::Value),
        (PLAIN, &[("content-length", "5"), ("content-length", "5")], MessageError::ContentLength),
        (PLAIN, &[("content-length", "+5")], MessageError::ContentLength),
        (PLAIN, &[("content-length", "5, 5")], MessageError::ContentLength),
        (PLAIN, &[("content-length", "")], MessageError::ContentLength),
    ] {
        assert_eq!(refused(&pseudo, fields, Body::Follows), Some(error), "{pseudo:?} {fields:?}");
    }
    assert_eq!(refused(&PLAIN, &[("content-length", "5")], Body::None), Some(MessageError::ContentLength));
}

#[test]
fn extended_connect_becomes_an_upgrade_with_a_key_of_ours() {
    let pseudo = Pseudo { method: b"CONNECT", protocol: Some(b"websocket"), ..PLAIN };
    let fields: Fields<'_> = &[("sec-websocket-key", "theirs"), ("sec-websocket-version", "13")];
    let (out, asked) = text(&pseudo, fields, Body::Follows).unwrap();
    assert_eq!(
        out,
        "GET /a?b HTTP/1.1\r\nhost: exam.example\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: KEY\r\n\r\n"
    );
    assert_eq!(asked, Asked::WebSocket);
    assert!(refused(&pseudo, &[], Body::None).is_some(), "a tunnel needs a stream that is open");
    let other = Pseudo { protocol: Some(b"connect-udp"), ..pseudo };
    assert_eq!(refused(&other, &[], Body::Follows), Some(MessageError::Protocol));
}

#[test]
fn an_answer_becomes_text_that_tells_its_end() {
    let out = |status, fields, content| {
        let mut out = Vec::new();
        write_answer(status, bytes(fields), content, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(
        out(200, &[("a", "b")], Content::Follows).unwrap(),
        "HTTP/1.1 200 \r\na: b\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(out(404, &[], Content::Ended).unwrap(), "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n");
    assert_eq!(out(304, &[], Content::Ended).unwrap(), "HTTP/1.1 304 \r\n\r\n");
    assert_eq!(out(103, &[("link", "x")], Content::Follows).unwrap(), "HTTP/1.1 103 \r\nlink: x\r\n\r\n");
    assert_eq!(out(200, &[], Content::Nothing).unwrap(), "HTTP/1.1 200 \r\n\r\n");
    for (status, fields, error) in [
        (101, &[] as Fields<'_>, MessageError::Status),
        (99, &[], MessageError::Status),
        (600, &[], MessageError::Status),
        (200, &[("connection", "close")], MessageError::OneHop),
        (200, &[("a", "b\r\nc: d")], MessageError::Value),
        (200, &[("content-length", "1"), ("content-length", "2")], MessageError::ContentLength),
    ] {
        assert_eq!(out(status, fields, Content::Follows), Err(error), "{status} {fields:?}");
    }
}

#[test]
fn text_is_taken_apart_without_what_is_for_one_hop() {
    let head = b"GET /a HTTP/1.1\r\nHost: b\r\nConnection: close\r\nKeep-Alive: 5\r\nX:  y \r\nTransfer-Encoding: chunked\r\n\r\nbody: 1";
    let (start, lines) = Lines::of_head(head);
    assert_eq!((start.first, start.second), (&b"GET"[..], &b"/a"[..]));
    let lines: Vec<_> = lines.map(|line| (line.name, line.value)).collect();
    assert_eq!(lines, [(&b"Host"[..], &b"b"[..]), (b"X", b"y")]);
}

#[test]
fn trailers_end_chunked_content() {
    let mut out = Vec::new();
    write_trailers(bytes(&[("grpc-status", "0")]), &mut out).unwrap();
    assert_eq!(out, b"0\r\ngrpc-status: 0\r\n\r\n");
    out.clear();
    let merged: Fields<'_> =
        &[("content-length", "5"), ("host", "b"), ("x-forwarded-for", "c"), ("x-sum", "7")];
    write_trailers(bytes(merged), &mut out).unwrap();
    assert_eq!(out, b"0\r\nx-sum: 7\r\n\r\n", "what a recipient could merge with the head is dropped");
    assert!(write_trailers(bytes(&[("transfer-encoding", "chunked")]), &mut out).is_err());
    assert!(write_trailers(bytes(&[("a", "b\r\n\r\nGET /")]), &mut out).is_err());
}

/// Bytes near enough to what is meant that they pass now and then.
fn nearly(good: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(good.as_bytes().to_vec()),
        1 => "[ -~]{0,8}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just(b"\r\n\r\nGET /admin HTTP/1.1\r\n".to_vec()),
    ]
}

fn nearly_fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        Just(b"x".to_vec()),
        Just(b"cookie".to_vec()),
        Just(b"content-length".to_vec()),
        Just(b"transfer-encoding".to_vec()),
        Just(b"host".to_vec()),
        nearly("accept"),
    ];
    let value = prop_oneof![Just(b"5".to_vec()), Just(b"chunked".to_vec()), nearly("v")];
    proptest::collection::vec((name, value), 0..6)
}

proptest! {
    #[test]
    fn i9_a_request_of_http2_is_one_head_of_http1_with_its_own_lines_only(
        method in nearly("POST"), path in nearly("/a"), authority in nearly("host"), fields in nearly_fields(),
        follows in any::<bool>(),
    ) {
        let pseudo = Pseudo {
            method: &method, scheme: Some(b"https"), authority: Some(&authority), path: Some(&path), protocol: None,
        };
        let body = if follows { Body::Follows } else { Body::None };
        let list = || fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let mut out = Vec::new();
        if write_request(&pseudo, list, body, b"", &mut out).is_err() {
            return Ok(());
        }
        // One empty line, at the end: nothing of the text can be read as a second request.
        prop_assert_eq!(out.windows(4).position(|four| four == b"\r\n\r\n"), Some(out.len() - 4));
        prop_assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), out.windows(2).filter(|two| two == b"\r\n").count());
        // What the strict rules of HTTP/1.1 make of it is the whole of it, or a refusal.
        if let Ok(Parsed::Head(head)) = parse_request(&out, 1 << 20, Peer::STRANGER) {
            prop_assert_eq!(head.length, out.len());
            prop_assert_eq!(head.method_name.of(&out), &method[..]);
        }
        let (start, lines) = Lines::of_head(&out);
        prop_assert_eq!((start.first, start.second), (&method[..], &path[..]));
        let known = |name: &[u8]| fields.iter().any(|(known, _)| known == name);
        for line in lines {
            prop_assert!(matches!(line.name, b"host" | b"content-length") || known(line.name), "{:?}", line);
        }
    }
}
