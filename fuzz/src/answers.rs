//! A server's bytes: the answer to GET and to HEAD, in pieces, as other parsers see it, and as we send it on.
#![no_main]

use evenkeel_http1::Method;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    for method in [Method::Get, Method::Head] {
        if let Err(disagreement) = evenkeel_oracle::answer(stream, method) {
            panic!("{disagreement}");
        }
    }
});
