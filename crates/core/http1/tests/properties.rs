//! No bytes make the framing panic, and no split of the bytes changes what it finds (I9).

use evenkeel_http1::{ChunkError, ChunkScanner, Method, Parsed, Piece, Scan, parse_request, parse_response};
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

/// Scans `input` in pieces; what was taken, whether it ended, and the data.
fn scan_in(pieces: &[&[u8]]) -> Result<(usize, bool, Vec<u8>), ChunkError> {
    let (mut scanner, mut taken, mut data) = (ChunkScanner::new(), 0, Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !scanner.is_done() {
            let length = match scanner.next(rest)? {
                Piece::Framing(length) => length,
                Piece::Data(length) => {
                    data.extend_from_slice(&rest[..length]);
                    length
                }
            };
            taken += length;
            rest = &rest[length..];
        }
    }
    Ok((taken, scanner.is_done(), data))
}

proptest! {
    #[test]
    fn i9_a_request_is_the_same_however_it_arrives(bytes in nearly_http(), limit in 1_usize..160) {
        let whole = parse_request(&bytes, limit);
        for cut in 0..bytes.len() {
            let part = parse_request(&bytes[..cut], limit);
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
        prop_assert_eq!(scan_in(&[&bytes]), scan_in(&[first, second]));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(scan_in(&[&bytes]), scan_in(&single));
    }

    #[test]
    fn what_was_written_in_chunks_is_read_back(parts in proptest::collection::vec("[a-z]{1,40}", 0..8), after: Vec<u8>) {
        let chunks: String = parts.iter().map(|part| format!("{:X};e=\"1\"\r\n{part}\r\n", part.len())).collect();
        let mut bytes = format!("{chunks}0\r\nDigest: x\r\n\r\n").into_bytes();
        let length = bytes.len();
        bytes.extend(&after);
        prop_assert_eq!(ChunkScanner::new().scan(&bytes), Ok(Scan { taken: length, done: true }));
        prop_assert_eq!(scan_in(&[&bytes]).unwrap().2, parts.concat().into_bytes());
    }
}

#[test]
fn chunks_that_two_recipients_could_read_differently_are_refused() {
    for (bytes, error) in [
        (&b"\r\n"[..], ChunkError::Size),
        (b"g\r\n", ChunkError::Size),
        (b"0x5\r\n", ChunkError::Size),
        (b" 5\r\n", ChunkError::Size),
        (b"5 \r\n", ChunkError::Size),
        (b"5\n", ChunkError::Size),
        (b"-5\r\n", ChunkError::Size),
        (b"1000000000000000\r\n", ChunkError::Size),
        (b"5\r\r", ChunkError::LineEnd),
        (b"5;a\nb\r\n", ChunkError::Extension),
        (b"5;a\0\r\n", ChunkError::Extension),
        (b"5\r\nhello!\r\n", ChunkError::LineEnd),
        (b"5\r\nhello\n", ChunkError::LineEnd),
        (b"5\r\nhello\r5", ChunkError::LineEnd),
        (b"0\r\n\n", ChunkError::Trailer),
        (b"0\r\n x: y\r\n", ChunkError::Trailer),
        (b"0\r\nx : y\r\n", ChunkError::Trailer),
        (b"0\r\nx: y\n", ChunkError::Trailer),
    ] {
        assert_eq!(ChunkScanner::new().scan(bytes), Err(error), "{:?}", String::from_utf8_lossy(bytes));
    }
    let extension = [b"5;", "x".repeat(2000).as_bytes()].concat();
    assert_eq!(ChunkScanner::new().scan(&extension), Err(ChunkError::LineTooLong));
    let trailers = [b"0\r\n", "x: y\r\n".repeat(2000).as_bytes()].concat();
    assert_eq!(ChunkScanner::new().scan(&trailers), Err(ChunkError::TrailersTooLong));
}
