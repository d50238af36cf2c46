//! A page of metrics against the form that Prometheus reads.

use std::time::Duration;

use evenkeel_telemetry::{Exposition, Family, Histogram};

const REQUESTS: Family =
    Family::counter("evenkeel_requests_total", "Requests answered, by pool and class of status.");
const UP: Family =
    Family::gauge("evenkeel_server_up", "Whether the server may be picked\nby its checks (C:\\).");
const AGE: Family = Family::gauge("evenkeel_uptime_seconds", "Since the start of the process.");
const TOOK: Family = Family::histogram("evenkeel_request_duration_seconds", "From first byte to last.");

#[test]
fn a_page_has_help_type_and_escaped_labels_in_the_form_of_version_0_0_4() {
    let mut page = Exposition::new();
    page.family(REQUESTS)
        .sample(&[("pool", "app"), ("class", "2xx")], 41)
        .sample(&[("pool", "a\"b\\c\nd"), ("class", "5xx")], u64::MAX);
    page.family(UP).sample(&[("server", "app1")], true).sample(&[("server", "app2")], false);
    page.family(AGE).sample(&[], Duration::from_millis(1500));
    let mut took = Histogram::default();
    took.observe(Duration::from_millis(3));
    took.observe(Duration::from_secs(31));
    page.family(TOOK).histogram(&[("pool", "app")], &took);
    assert_eq!(page.finish(), include_str!("data/page.txt"));
}
