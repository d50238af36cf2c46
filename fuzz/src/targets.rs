//! Targets in disguise, and templates that are filled in with them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::targets(bytes)));
