//! Configurations: parsed, or refused in sentences that say where.

use evenkeel_config::{Errors, agent, balancer};

use crate::Seen;

/// Judges the text of a configuration, read as that of the data plane and as that of the agent.
///
/// # Panics
/// When a refusal has no words, names no line of the text, or is another the second time.
pub fn config(bytes: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(bytes) else { return Seen::Refused };
    let read = || {
        let balancer = balancer::Config::parse("balancer.toml", text);
        let agent = agent::Config::parse("agent.toml", text);
        (balancer.map(drop), agent.map(drop))
    };
    let (balancer, agent) = read();
    assert_eq!((&balancer, &agent), (&read().0, &read().1), "the same text gives the same errors");
    let lines = text.lines().count().max(1);
    for errors in [&balancer, &agent].into_iter().filter_map(|read| read.as_ref().err()) {
        tells_where(errors, lines);
    }
    Seen::when(balancer.is_ok() || agent.is_ok())
}

fn tells_where(errors: &Errors, lines: usize) {
    let words = errors.to_string();
    assert!(!words.trim().is_empty(), "an error without words");
    for error in errors.as_slice() {
        assert!((1..=lines + 1).contains(&error.line), "line {} of {lines}: {error}", error.line);
        assert!(error.to_string().len() > error.file.len() + 10, "{error}");
    }
}
