//! A request and routes: the one that is chosen is the most specific.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::routes(bytes)));
