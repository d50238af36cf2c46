//! A client's bytes: requests one after another, in pieces, as other parsers see them, and as we send them on.
#![no_main]

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    if let Err(disagreement) = evenkeel_oracle::requests(stream) {
        panic!("{disagreement}");
    }
});
