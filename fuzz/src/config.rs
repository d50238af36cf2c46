//! The text of a configuration: parsed, or refused with sentences that say where.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::config(bytes)));
