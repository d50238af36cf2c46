//! No bytes make the framing panic, and no split of the bytes changes what it finds (I9).

use evenkeel_http1::{
    ChunkError, ChunkScanner, MAX_OVERHEAD, Method, Parsed, Peer, Piece, Scan, Trailers, parse_request,
    parse_response,
};
use proptest::prelude::*;

/// Text near enough to HTTP that the deeper rules are reached.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("GET ".to_owned()),
        Just("/".to_owned()),
        Just(" HTTP/1.1\r\n".to_owned()),
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        Just("Host: a\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("Content-Length: 5\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close, te\r\n".to_owned()),
        Just("TE: x\r\n".to_owned()),
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        Just("Connection: upgrade\r\nUpgrade: websocket\r\n".to_owned()),
        "[ -~]{0,6}",
        "[A-Za-z-]{1,8}: [ -~]{0,9}\r\n",
    ];
    prop_oneof![
        proptest::collection::vec(word, 0..12).prop_map(|words| words.concat().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

fn nearly_chunks() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"5\r\nhello\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"a;b=c\r\n0123456789\r\n".to_vec()),
        Just(b"T: v\r\n".to_vec()),
        Just(b"1 ;x\r\n.\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..10).prop_map(|words| words.concat())
}

/// What scanning in pieces gave.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    taken: usize,
    done: bool,
    data: Vec<u8>,
    /// What a recipient of chunks gets.
    passed: Vec<u8>,
}

fn scan_in(pieces: &[&[u8]], trailers: Trailers) -> Result<Seen, ChunkError> {
    let (mut scanner, mut seen) = (ChunkScanner::new(trailers), Seen::default());
    let mut held = false;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !scanner.is_done() {
            let piece = scanner.next(rest)?;
            let (these, after) = rest.split_at(piece.length());
            match piece {
                Piece::Framing(_) => seen.passed.extend(these),
                Piece::Data(_) => {
                    seen.data.extend(these);
                    seen.passed.extend(these);
                }
                Piece::Extension(_) => {}
                Piece::Trailer(_) => held = true,
            }
            seen.taken += these.len();
            rest = after;
        }
    }
    seen.done = scanner.is_done();
    if seen.done && held {
        seen.passed.extend(scanner.trailers());
        seen.passed.extend(b"\r\n");
    }
    Ok(seen)
}

proptest! {
    #[test]
    fn i9_a_request_is_the_same_however_it_arrives(bytes in nearly_http(), limit in 1_usize..160) {
        let whole = parse_request(&bytes, limit, Peer::STRANGER);
        for cut in 0..bytes.len() {
            let part = parse_request(&bytes[..cut], limit, Peer::STRANGER);
            prop_assert!(part == Ok(Parsed::Partial) || part == whole, "{cut}: {part:?} {whole:?}");
        }
    }

    #[test]
    fn i9_an_answer_is_the_same_however_it_arrives(bytes in nearly_http(), limit in 1_usize..160) {
        let whole = parse_response(&bytes, limit, Method::Get);
        for cut in 0..bytes.len() {
            let part = parse_response(&bytes[..cut], limit, Method::Get);
            prop_assert!(part == Ok(Parsed::Partial) || part == whole, "{cut}: {part:?} {whole:?}");
        }
    }

    #[test]
    fn i9_chunks_end_at_the_same_byte_however_they_arrive(bytes in nearly_chunks(), cut: prop::sample::Index) {
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(scan_in(&[&bytes], Trailers::OfRequest), scan_in(&[first, second], Trailers::OfRequest));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(scan_in(&[&bytes], Trailers::OfRequest), scan_in(&single, Trailers::OfRequest));
    }

    #[test]
    fn what_was_written_in_chunks_is_read_back(parts in proptest::collection::vec("[a-z]{1,40}", 0..8), after: Vec<u8>) {
        let chunks: String = parts.iter().map(|part| format!("{:X};e=\"1\"\r\n{part}\r\n", part.len())).collect();
        let mut bytes = format!("{chunks}0\r\nDigest: x\r\n\r\n").into_bytes();
        let length = bytes.len();
        bytes.extend(&after);
        prop_assert_eq!(ChunkScanner::new(Trailers::OfRequest).scan(&bytes), Ok(Scan { taken: length, done: true }));
        let seen = scan_in(&[&bytes], Trailers::OfRequest).unwrap();
        prop_assert_eq!(seen.data, parts.concat().into_bytes());
        let plain: String = parts.iter().map(|part| format!("{:X}\r\n{part}\r\n", part.len())).collect();
        prop_assert_eq!(seen.passed, format!("{plain}0\r\nDigest: x\r\n\r\n").into_bytes());
    }
}

#[test]
fn chunks_that_two_recipients_could_read_differently_are_refused() {
    for (bytes, error) in [
        (&b"\r\n"[..], ChunkError::Size),
        (b"g\r\n", ChunkError::Size),
        (b"0x5\r\n", ChunkError::Size),
        (b" 5\r\n", ChunkError::Size),
        (b"5 \r\n", ChunkError::Extension),
        (b"+5\r\n", ChunkError::Size),
        (b"5\n", ChunkError::Size),
        (b"-5\r\n", ChunkError::Size),
        (b"1000000000000000\r\n", ChunkError::Size),
        (b"5\r\r", ChunkError::LineEnd),
        (b"5;a\nb\r\n", ChunkError::Extension),
        (b"5;a\0\r\n", ChunkError::Extension),
        (b"5;\r\n", ChunkError::Extension),
        (b"5;a=\r\n", ChunkError::Extension),
        (b"5;a[=b\r\n", ChunkError::Extension),
        (b"5;a b\r\n", ChunkError::Extension),
        (b"5;a \r\n", ChunkError::Extension),
        (b"5;a=\"b\" \r\n", ChunkError::Extension),
        (b"5;a=\"b\r\n", ChunkError::Extension),
        (b"5;a=\"b\\\r\n", ChunkError::Extension),
        (b"5;a=b\rc\r\n", ChunkError::LineEnd),
        (b"1_0\r\n", ChunkError::Size),
        (b"5 ;\r\n", ChunkError::Extension),
        (b"5\r\nhello!\r\n", ChunkError::LineEnd),
        (b"5\r\nhello\n", ChunkError::LineEnd),
        (b"5\r\nhello\r5", ChunkError::LineEnd),
        (b"0\r\n\n", ChunkError::Trailer),
        (b"0\r\nhost: x\r\n\r\n", ChunkError::TrailerField),
        (b"0\r\nContent_Length: 4\r\n\r\n", ChunkError::TrailerField),
        (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", ChunkError::TrailerField),
        (b"0\r\na: b\r\nX-Forwarded-For: c\r\n\r\n", ChunkError::TrailerField),
        (b"0\r\n x: y\r\n", ChunkError::Trailer),
        (b"0\r\nx : y\r\n", ChunkError::Trailer),
        (b"0\r\nx: y\n", ChunkError::Trailer),
    ] {
        assert_eq!(
            ChunkScanner::new(Trailers::OfRequest).scan(bytes),
            Err(error),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    let burden = b"1;x=0123456789012345678901234567890123456789\r\n.\r\n".repeat(1000);
    assert_eq!(ChunkScanner::new(Trailers::OfRequest).scan(&burden), Err(ChunkError::Overhead));
    let light = [&b"0000000000001\r\n.\r\n".repeat(1000)[..], b"0\r\n\r\n"].concat();
    assert!(light.len() as u64 > MAX_OVERHEAD);
    assert!(ChunkScanner::new(Trailers::OfRequest).scan(&light).is_ok_and(|scan| scan.done));
    let extension = [b"5;", "x".repeat(2000).as_bytes()].concat();
    assert_eq!(ChunkScanner::new(Trailers::OfRequest).scan(&extension), Err(ChunkError::LineTooLong));
    let trailers = [b"0\r\n", "x: y\r\n".repeat(2000).as_bytes()].concat();
    assert_eq!(ChunkScanner::new(Trailers::OfRequest).scan(&trailers), Err(ChunkError::TrailersTooLong));
}

#[test]
fn extensions_stay_behind_and_their_white_space_with_them() {
    let bytes = "2;a\r\n..\r\n1 ; a = \"b;\\\"c\" ;d=e\r\n.\r\n0;f=\"\"\r\n\r\n";
    let seen = scan_in(&[bytes.as_bytes()], Trailers::OfRequest).unwrap();
    assert_eq!(String::from_utf8(seen.passed).unwrap(), "2\r\n..\r\n1\r\n.\r\n0\r\n\r\n");
}

#[test]
fn trailer_fields_that_may_only_stand_in_the_head_are_refused_dropped_or_all_dropped() {
    let bytes = b"0\r\na: b\r\nSet-Cookie: c\r\nd: e\r\n\r\n";
    for (trailers, passed) in [
        (Trailers::OfRequest, Err(ChunkError::TrailerField)),
        (Trailers::OfAnswer, Ok("0\r\na: b\r\nd: e\r\n\r\n")),
        (Trailers::Dropped, Ok("0\r\n\r\n")),
    ] {
        let seen = scan_in(&[bytes], trailers).map(|seen| String::from_utf8(seen.passed).unwrap());
        assert_eq!(seen.as_deref().map_err(|error| *error), passed);
    }
}
