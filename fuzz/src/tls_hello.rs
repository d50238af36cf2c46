//! The first bytes of a client of TLS: its name, in whatever pieces and records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::tls_hello(bytes)));
