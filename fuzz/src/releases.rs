//! The head of a bundle, a manifest, a verity superblock.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::releases(bytes)));
