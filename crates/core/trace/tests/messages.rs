//! What is sent, read with the messages that OpenTelemetry publishes; and what a collector's answer means.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::time::Duration;

use evenkeel_trace::{
    Attempted, Backoff, Flags, Given, Kind, Moment, Outcome, Peer, Received, Remote, Resource, Span, SpanId,
    TraceId, Verdict, attempt, encode, rejected, request,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{span::SpanKind, status::StatusCode},
};
use prost::Message as _;

fn received() -> Received<'static> {
    Received {
        method: b"GET",
        target: b"/exam/7?token=secret",
        host: b"exam.example:8443",
        scheme: "https",
        version: "2",
        user_agent: b"Mozilla/5.0",
        client: ([192, 0, 2, 7], 40_000).into(),
        listener: "web",
    }
}

fn given() -> Given<'static> {
    Given {
        status: Some(200),
        fault: None,
        pool: "app",
        server: Some("app1"),
        route: Some("exams"),
        tries: 2,
    }
}

fn peer() -> Peer<'static> {
    let address = ([10, 0, 0, 11], 80).into();
    Peer { pool: "app", server: "app1", address, scheme: "http", version: "1.1" }
}

fn told(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// The span of a request and that of its one try, which failed.
fn request_and_try() -> Vec<Span> {
    let own = SpanId::new([1; 8]).unwrap();
    let (name, outcome, attributes) = request(&received(), &given());
    let server = Span {
        trace: TraceId::new([7; 16]).unwrap(),
        id: own,
        parent: SpanId::new([2; 8]),
        remote: Remote::Yes,
        flags: Flags::SAMPLED,
        state: "vendor=1".into(),
        name,
        kind: Kind::Server,
        began: Moment(Duration::new(1_795_364_399, 5)),
        ended: Moment(Duration::new(1_795_364_400, 0)),
        outcome,
        attributes,
    };
    let failed = Attempted { status: None, fault: Some("refused"), resends: 1 };
    let (name, outcome, attributes) = attempt(&received(), &peer(), &failed);
    let id = SpanId::new([3; 8]).unwrap();
    let (parent, remote, kind) = (Some(own), Remote::No, Kind::Client);
    let try_ = Span { id, parent, remote, kind, name, outcome, attributes, ..server.clone() };
    vec![server, try_]
}

#[test]
fn a_request_and_a_try_are_read_by_the_published_messages_as_they_were_meant() {
    let resource = Resource { service: "balancer".into(), version: "1.2.3".into(), instance: "box-1".into() };
    let bytes = encode(&resource, request_and_try());
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let [from] = &request.resource_spans[..] else { panic!("{request:?}") };
    let resource = from.resource.as_ref().unwrap();
    assert_eq!(told(&resource.attributes, "service.name").as_deref(), Some("balancer"));
    assert_eq!(told(&resource.attributes, "service.instance.id").as_deref(), Some("box-1"));
    let [scoped] = &from.scope_spans[..] else { panic!("{from:?}") };
    assert_eq!(scoped.scope.as_ref().unwrap().name, "evenkeel");
    let [server, try_] = &scoped.spans[..] else { panic!("{scoped:?}") };

    assert_eq!((&server.trace_id[..], &server.span_id[..]), (&[7; 16][..], &[1; 8][..]));
    assert_eq!((&server.parent_span_id[..], server.trace_state.as_str()), (&[2; 8][..], "vendor=1"));
    assert_eq!((server.kind(), server.flags, server.name.as_str()), (SpanKind::Server, 0x301, "GET"));
    assert_eq!(server.start_time_unix_nano, 1_795_364_399_000_000_005);
    assert_eq!(server.end_time_unix_nano, 1_795_364_400_000_000_000);
    assert!(server.status.is_none());
    assert_eq!((try_.kind(), try_.flags), (SpanKind::Client, 0x101));
    assert_eq!(try_.parent_span_id, server.span_id);
    assert_eq!(try_.status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(!String::from_utf8_lossy(&bytes).contains("secret"), "queries are not told");
}

#[test]
fn what_is_told_follows_the_conventions() {
    let resource = Resource { service: "b".into(), version: "1".into(), instance: "1".into() };
    let bytes = encode(&resource, request_and_try());
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    for (span, key, value) in [
        (0, "http.request.method", Some("GET")),
        (0, "url.path", Some("/exam/7")),
        (0, "url.scheme", Some("https")),
        (0, "server.address", Some("exam.example")),
        (0, "server.port", Some("8443")),
        (0, "client.address", Some("192.0.2.7")),
        (0, "network.protocol.version", Some("2")),
        (0, "user_agent.original", Some("Mozilla/5.0")),
        (0, "http.response.status_code", Some("200")),
        (0, "evenkeel.pool", Some("app")),
        (0, "evenkeel.server", Some("app1")),
        (0, "evenkeel.route", Some("exams")),
        (0, "evenkeel.tries", Some("2")),
        (0, "error.type", None),
        (1, "url.full", Some("http://10.0.0.11:80/exam/7")),
        (1, "server.address", Some("10.0.0.11")),
        (1, "server.port", Some("80")),
        (1, "network.protocol.version", Some("1.1")),
        (1, "http.request.resend_count", Some("1")),
        (1, "http.response.status_code", None),
        (1, "error.type", Some("refused")),
    ] {
        assert_eq!(told(&spans[span].attributes, key).as_deref(), value, "{key}");
    }
}

#[test]
fn a_status_is_an_error_of_who_gave_it_and_of_who_asked_for_it_from_different_numbers_on() {
    for (status, of_server, of_try) in [
        (200, Outcome::Unset, Outcome::Unset),
        (404, Outcome::Unset, Outcome::Error),
        (503, Outcome::Error, Outcome::Error),
    ] {
        let given = Given { status: Some(status), ..given() };
        assert_eq!(request(&received(), &given).1, of_server, "{status}");
        let attempted = Attempted { status: Some(status), fault: None, resends: 0 };
        assert_eq!(attempt(&received(), &peer(), &attempted).1, of_try, "{status}");
    }
}

#[test]
fn names_of_spans_are_few_whatever_clients_send() {
    let (name, _, attributes) = request(&Received { method: b"PROPFIND", ..received() }, &given());
    assert_eq!(name, "HTTP");
    let texts: Vec<_> = attributes.iter().map(|one| (one.name, format!("{:?}", one.value))).collect();
    assert!(texts.contains(&("http.request.method", "Text(\"_OTHER\")".into())), "{texts:?}");
    assert!(texts.contains(&("http.request.method_original", "Text(\"PROPFIND\")".into())), "{texts:?}");
}

#[test]
fn targets_and_hosts_in_every_form_give_path_host_and_port() {
    for (target, host, path, address, port) in [
        ("http://a.example/x?y=/z", "a.example", "/x", "a.example", None),
        ("http://a.example?y", "[2001:db8::1]:81", "/", "2001:db8::1", Some("81")),
        ("*", "[::1]", "*", "::1", None),
        ("/to?u=http://b/c", "a:x", "/to", "a", None),
    ] {
        let one = Received { target: target.as_bytes(), host: host.as_bytes(), ..received() };
        let (_, _, attributes) = request(&one, &given());
        let text = |key: &str| {
            let found = attributes.iter().find(|one| one.name == key)?;
            Some(match &found.value {
                evenkeel_trace::Value::Text(text) => text.clone(),
                evenkeel_trace::Value::Number(number) => number.to_string(),
            })
        };
        assert_eq!(text("url.path").as_deref(), Some(path), "{target}");
        assert_eq!(text("server.address").as_deref(), Some(address), "{host}");
        assert_eq!(text("server.port").as_deref(), port, "{host}");
    }
}

#[test]
fn a_text_that_a_client_makes_long_is_cut_to_whole_characters() {
    let long = [b"/".as_slice(), &[0xff; 4096]].concat();
    let (_, _, attributes) = request(&Received { target: &long, ..received() }, &given());
    let path = attributes.iter().find(|one| one.name == "url.path").unwrap();
    let evenkeel_trace::Value::Text(text) = &path.value else { panic!("{path:?}") };
    assert!(text.len() <= evenkeel_trace::MAX_TEXT && text.len() > 500, "{}", text.len());
}

#[test]
fn what_a_collector_did_not_want_is_counted() {
    let answer = |partial| ExportTraceServiceResponse { partial_success: partial }.encode_to_vec();
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".into() };
    assert_eq!(rejected(&answer(Some(partial))), Some((3, "too old".into())));
    let warning = ExportTracePartialSuccess { rejected_spans: 0, error_message: "hm".into() };
    assert_eq!(rejected(&answer(Some(warning))), None);
    assert_eq!(rejected(&answer(None)), None);
    assert_eq!(rejected(b"<html>"), None);
}

#[test]
fn only_what_passes_by_itself_is_sent_again() {
    for (status, field, verdict) in [
        (200, None, Verdict::Taken),
        (202, None, Verdict::Taken),
        (429, Some("7"), Verdict::Later(Some(Duration::from_secs(7)))),
        (502, None, Verdict::Later(None)),
        (503, Some("soon"), Verdict::Later(None)),
        (504, None, Verdict::Later(None)),
        (400, Some("7"), Verdict::Refused),
        (401, None, Verdict::Refused),
        (404, None, Verdict::Refused),
        (500, None, Verdict::Refused),
        (301, None, Verdict::Refused),
    ] {
        assert_eq!(Verdict::of(status, field), verdict, "{status}");
    }
}

#[test]
fn waits_grow_end_and_are_never_longer_than_a_bound() {
    let seconds = |asked: Option<u64>, chance| {
        let mut backoff = Backoff::default();
        let asked = asked.map(Duration::from_secs);
        std::iter::from_fn(|| backoff.next(asked, chance)).map(|wait| wait.as_millis()).collect::<Vec<_>>()
    };
    assert_eq!(seconds(None, 0), [1000, 2000, 4000, 8000]);
    assert_eq!(seconds(None, 255), [750, 1500, 3000, 6000]);
    assert_eq!(seconds(Some(3), 0), [3000, 3000, 4000, 8000]);
    assert_eq!(seconds(Some(86_400), 0), [60_000; 4]);
}
