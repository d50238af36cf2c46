//! Messages of HTTP/2 as the text of HTTP/1.1 that they become, judged with the eyes of HTTP/1.1 and of others.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::http2_messages(bytes)));
