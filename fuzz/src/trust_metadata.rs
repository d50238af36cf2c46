//! Metadata of releases: its JSON, a root, a key's file, the name of a target.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::trust_metadata(bytes)));
