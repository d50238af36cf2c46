//! Cookie fields around the cookie by which a client comes back to its server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::cookies(bytes)));
