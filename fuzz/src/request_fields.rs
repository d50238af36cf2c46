//! Authorization, Accept-Encoding and Accept.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::request_fields(bytes)));
