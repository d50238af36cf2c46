//! What a client sends as lines of the access log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::access_log(bytes)));
