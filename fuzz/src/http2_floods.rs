//! What happens on a connection of HTTP/2, and what the guard against floods says to it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::http2_floods(bytes)));
