//! The text of a configuration: parsed or refused with sentences, never more.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    for errors in [
        evenkeel_config::balancer::Config::parse("balancer.toml", text).err(),
        evenkeel_config::agent::Config::parse("agent.toml", text).err(),
    ] {
        assert!(errors.is_none_or(|errors| !errors.to_string().is_empty()), "an error without words");
    }
});
