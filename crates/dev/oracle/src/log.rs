//! A line of the access log: whatever a client sends, it is one line, and tells what was sent.

use std::time::Duration;

use evenkeel_telemetry::{AccessRecord, Moment};

use crate::{Seen, seen::Parts};

/// Judges method, target, host, referer and user agent of a request as lines of the log.
///
/// # Panics
/// When a line is more than one, or tells something else than what was sent.
pub fn access_log(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let [method, target, host, referer, user_agent] = std::array::from_fn(|_| parts.part());
    let record = AccessRecord {
        at: Moment::from_unix(Duration::new(1_795_364_399, 5_000)),
        request_id: "7f3a",
        listener: "web",
        client: ([192, 0, 2, 7], 40_000).into(),
        method,
        target,
        host,
        protocol: "HTTP/1.1",
        tls: None,
        referer,
        user_agent,
        trace_id: b"",
        status: Some(200),
        received_bytes: 120,
        sent_bytes: 2048,
        pool: "app",
        route: None,
        server: None,
        tries: 0,
        end: "done",
        cause: None,
        retries_ended: None,
        queued: Duration::ZERO,
        connected: Duration::ZERO,
        answered: None,
        total: Duration::ZERO,
    };
    let line = one_line(|line| record.write_json(line));
    let object: serde_json::Value = serde_json::from_str(&line).expect("a line is an object");
    let sent = [
        ("method", method),
        ("target", target),
        ("host", host),
        ("referer", referer),
        ("user_agent", user_agent),
    ];
    for (key, bytes) in sent {
        // Each byte is told as the character of its number.
        let told =
            object.get(key).map(|told| told.as_str().expect("a text").chars().map(u32::from).collect());
        let bytes: Vec<_> = bytes.iter().copied().map(u32::from).collect();
        assert_eq!(told, Some(bytes).filter(|bytes| !bytes.is_empty()), "{key}");
    }
    let combined = one_line(|line| record.write_combined(line));
    assert_eq!(combined.matches('"').count(), 6, "{combined}");
    let text = one_line(|line| record.write_text(line));
    assert_eq!(text.split(' ').nth(4), Some("200"), "a word is more than one: {text}");
    Seen::Taken
}

fn one_line(write: impl FnOnce(&mut String)) -> String {
    let mut line = String::new();
    write(&mut line);
    let plain = |b: u8| (b' '..=b'~').contains(&b);
    assert!(line.strip_suffix('\n').is_some_and(|line| line.bytes().all(plain)), "{line:?}");
    line
}
