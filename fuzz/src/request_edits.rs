//! A request of HTTP/1.1 on its way through a route that changes it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::request_edits(bytes)));
