//! What devices and operators say to the update server, and how devices sign it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(evenkeel_oracle::device_messages(bytes)));
