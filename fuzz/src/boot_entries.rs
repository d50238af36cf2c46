//! A folder of boot entries, and the loader's choice among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::boot_entries(bytes)));
