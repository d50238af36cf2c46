//! Servers that send too much, too little, or something else: each is told from a good one by its own error.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use evenkeel_fetch::{Client, Error, Found};
use evenkeel_units::ByteCount;

const LIMIT: ByteCount = ByteCount(1000);

/// A server that answers its only connection with these bytes, whatever was asked for, then closes it.
fn server(answer: Vec<u8>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        // The client hangs up on some of these answers.
        let _ = stream.write_all(&answer);
    });
    Client::new(&format!("http://{address}"))
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn get(answer: Vec<u8>) -> Result<Found, Error> {
    block_on(async { server(answer).get("/file", LIMIT).await })
}

#[test]
fn a_file_within_its_limit_arrives_and_a_missing_one_is_told() {
    let found = get(answer("200 OK\r\ncontent-length: 5", b"hello"));
    assert!(matches!(found, Ok(Found::Bytes(bytes)) if &bytes[..] == b"hello"));
    assert!(matches!(get(answer("404 -\r\ncontent-length: 0", b"")), Ok(Found::Missing)));
}

/// TUF's "endless data": the limit holds for what is promised and for what comes.
#[test]
fn an_answer_without_end_is_cut_off_at_its_limit() {
    let endless = [b"7d0\r\n".as_slice(), &[b'x'; 2000], b"\r\n"].concat().repeat(50);
    for endless in [
        answer("200 OK\r\ncontent-length: 999999999", &[b'x'; 2000]),
        answer("200 OK\r\ntransfer-encoding: chunked", &endless),
    ] {
        let error = get(endless).expect_err("too long");
        assert!(matches!(error, Error::TooLong { limit: LIMIT, .. }) && !error.is_passing(), "{error}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_told_with_how_far_it_came() {
    let error = get(answer("200 OK\r\ncontent-length: 900", &[b'x'; 500])).expect_err("truncated");
    assert!(matches!(error, Error::Truncated { got: ByteCount(500), .. }) && error.is_passing(), "{error}");
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_server() {
    let body = br#"{"error": "the device is unknown; enrol it"}"#;
    let error = get(answer(&format!("401 -\r\ncontent-length: {}", body.len()), body)).expect_err("refused");
    assert!(error.to_string().contains("status 401: the device is unknown; enrol it"), "{error}");
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    for head in [
        "200 OK\r\ncontent-length: 5",
        "206 -\r\ncontent-length: 5\r\ncontent-range: bytes 11-15/100",
        "206 -\r\ncontent-length: 5",
    ] {
        let opened =
            block_on(async { server(answer(head, b"hello")).range("/file", 10, 15).await.map(drop) });
        assert!(matches!(opened, Err(Error::Answer { .. })), "{head}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = block_on(Client::new("http://127.0.0.1:1").get("/file", LIMIT)).expect_err("nobody");
    assert!(
        error.to_string().contains("cannot reach http://127.0.0.1:1/file") && error.is_passing(),
        "{error}"
    );
}
