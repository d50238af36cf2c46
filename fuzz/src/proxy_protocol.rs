//! The first bytes of a connection that another proxy made: both versions, read and written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::proxy_protocol(bytes)));
