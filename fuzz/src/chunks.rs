//! Chunked content behind a head that never varies, so that all effort goes into chunks, extensions and trailers.
#![no_main]

use evenkeel_http1::Method;

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

libfuzzer_sys::fuzz_target!(|chunks: &[u8]| {
    if let Err(disagreement) = evenkeel_oracle::requests(&[REQUEST, chunks].concat()) {
        panic!("{disagreement}");
    }
    if let Err(disagreement) = evenkeel_oracle::answer(&[ANSWER, chunks].concat(), Method::Get) {
        panic!("{disagreement}");
    }
});
