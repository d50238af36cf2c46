//! Traces on the wire: what servers are told, and what a real receiver of OTLP gets.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use support::{Plane, answering, config, eventually, field, http2, nobody, ok, sample, server};

/// What a collector says to one message: a status, the field Retry-After, and how many spans it does not want.
type Says = (u16, Option<u64>, i64);

/// A receiver of OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    /// Whole messages: their fields and the service's name.
    messages: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    /// What it says next; when nothing is left, it takes everything.
    says: Arc<Mutex<Vec<Says>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            spans: Arc::default(),
            messages: Arc::default(),
            says: Arc::default(),
        };
        let (spans, messages, says) =
            (Arc::clone(&collector.spans), Arc::clone(&collector.messages), Arc::clone(&collector.says));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (spans, messages, says) =
                        (Arc::clone(&spans), Arc::clone(&messages), Arc::clone(&says));
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (spans, messages, says) =
                            (Arc::clone(&spans), Arc::clone(&messages), Arc::clone(&says));
                        async move { Ok::<_, Infallible>(take(request, &spans, &messages, &says).await) }
                    });
                    tokio::spawn(async move {
                        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    });
                }
            });
        });
        collector
    }

    /// The spans, as soon as there are so many.
    fn spans(&self, count: usize) -> Vec<Span> {
        eventually("spans", || {
            let spans = self.spans.lock().unwrap();
            (spans.len() >= count).then(|| spans.clone())
        })
    }

    fn messages(&self) -> Vec<BTreeMap<String, String>> {
        self.messages.lock().unwrap().clone()
    }

    /// A configuration that sends here at once, with further lines.
    fn config(&self, lines: &str) -> String {
        tracing(self.address, lines)
    }
}

async fn take(
    request: Request<Incoming>,
    spans: &Mutex<Vec<Span>>,
    messages: &Mutex<Vec<BTreeMap<String, String>>>,
    says: &Mutex<Vec<Says>>,
) -> Response<Full<Bytes>> {
    let mut told: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    told.insert("path".into(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    let (status, retry_after, unwanted) = {
        let mut says = says.lock().unwrap();
        if says.is_empty() { (200, None, 0) } else { says.remove(0) }
    };
    for from in &message.resource_spans {
        let attributes = &from.resource.as_ref().unwrap().attributes;
        told.insert("service".into(), text(attributes, "service.name").unwrap());
        told.insert("version".into(), text(attributes, "service.version").unwrap());
        if status == 200 {
            spans.lock().unwrap().extend(from.scope_spans.iter().flat_map(|scoped| scoped.spans.clone()));
        }
    }
    messages.lock().unwrap().push(told);
    let partial = (unwanted > 0)
        .then(|| ExportTracePartialSuccess { rejected_spans: unwanted, error_message: "enough".into() });
    let answer = ExportTraceServiceResponse { partial_success: partial }.encode_to_vec();
    let mut response = Response::builder().status(status).header("content-type", "application/x-protobuf");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Full::new(Bytes::from(answer))).unwrap()
}

fn tracing(address: SocketAddr, lines: &str) -> String {
    format!("[tracing]\nendpoint = \"http://{address}/v1/traces\"\nbatch_interval = \"10ms\"\n{lines}\n")
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind() == kind).collect()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A server that tells what contexts its requests had: `traceparent` and `tracestate`, each with `-` for none.
fn telling() -> (SocketAddr, mpsc::Receiver<(String, String)>) {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let address = answering(move |head, _| {
        assert!(head.matches("traceparent").count() <= 1, "{head}");
        let text = |name| field(head, name).unwrap_or("-").to_owned();
        let _ = tell.lock().unwrap().send((text("traceparent"), text("tracestate")));
        ok(b"x")
    });
    (address, told)
}

#[test]
fn a_trace_is_continued_with_a_span_for_the_request_and_one_for_the_try() {
    let (server, told) = telling();
    let collector = Collector::start();
    let route = "[[route]]\nname = \"exams\"\npath_prefix = \"/exam\"\npool = \"app\"\n";
    let rest = format!("{}{route}", collector.config("sample_per_mille = 0"));
    let plane = Plane::http(&[server], "", &rest);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let mut client = plane.client();
    let answer = client.ask(&format!(
        "GET /exam/7?token=secret HTTP/1.1\r\nHost: site.example:8080\r\nUser-Agent: curl/8\r\n\
         Traceparent: 00-{TRACE}-{PARENT}-01\r\nTracestate: a=1\r\nTracestate: b=2\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    let spans = collector.spans(2);
    let ([request], [attempt]) = (&kind(&spans, SpanKind::Server)[..], &kind(&spans, SpanKind::Client)[..])
    else {
        panic!("{spans:#?}")
    };
    assert_eq!((hex(&request.trace_id).as_str(), hex(&attempt.trace_id).as_str()), (TRACE, TRACE));
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(attempt.parent_span_id, request.span_id);
    assert_ne!(attempt.span_id, request.span_id);
    assert_eq!(request.trace_state, "a=1,b=2");
    // What the server was told is the span of the try, and nothing of the state is lost.
    let (parent, state) = told.recv().unwrap();
    assert_eq!(parent, format!("00-{TRACE}-{}-01", hex(&attempt.span_id)));
    assert_eq!(state, "a=1");
    let after = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert!(before <= request.start_time_unix_nano.into() && u128::from(request.end_time_unix_nano) <= after);
    assert!(request.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano <= request.end_time_unix_nano);
    let port = server.port().to_string();
    for (span, key, value) in [
        (request, "http.request.method", "GET"),
        (request, "url.path", "/exam/7"),
        (request, "url.scheme", "http"),
        (request, "server.address", "site.example"),
        (request, "server.port", "8080"),
        (request, "http.response.status_code", "200"),
        (request, "network.protocol.version", "1.1"),
        (request, "client.address", "127.0.0.1"),
        (request, "user_agent.original", "curl/8"),
        (request, "evenkeel.listener", "web"),
        (request, "evenkeel.pool", "app"),
        (request, "evenkeel.server", "s0"),
        (request, "evenkeel.route", "exams"),
        (request, "evenkeel.tries", "1"),
        (attempt, "server.port", port.as_str()),
        (attempt, "http.response.status_code", "200"),
        (attempt, "network.protocol.version", "1.1"),
        (attempt, "evenkeel.server", "s0"),
    ] {
        assert_eq!(text(&span.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(text(&request.attributes, "error.type"), None);
    let message = &collector.messages()[0];
    assert_eq!((message["service"].as_str(), message["version"].as_str()), ("evenkeel", "1.2.3"));
    assert_eq!(message["content-type"], "application/x-protobuf");
    assert_eq!(message["path"], "/v1/traces");
    let metrics = eventually("the count", || {
        let metrics = plane.admin("/metrics").1;
        (sample(&metrics, "evenkeel_tracing_spans_sent_total") == 2).then_some(metrics)
    });
    assert_eq!(sample(&metrics, "evenkeel_tracing_export_failures_total"), 0);
}

#[test]
fn what_its_sender_does_not_record_passes_as_it_came_and_what_has_no_trace_begins_one() {
    let (server, told) = telling();
    let collector = Collector::start();
    let plane = Plane::http(&[server], "", &collector.config("sample_per_mille = 1000"));
    let mut client = plane.client();
    let mut ask = |fields: &str| {
        client.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        told.recv().unwrap()
    };
    let unrecorded = format!("00-{TRACE}-{PARENT}-00");
    let passed = ask(&format!("traceparent: {unrecorded}\r\ntracestate: a=1\r\n"));
    assert_eq!(passed, (unrecorded, "a=1".to_owned()));
    let mut seen = Vec::new();
    for fields in [
        "",
        "traceparent: 00-xyz\r\ntracestate: a=1\r\n",
        "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n",
        &format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntraceparent: 00-{TRACE}-{PARENT}-00\r\n"),
    ] {
        let (parent, state) = ask(fields);
        let parts: Vec<_> = parent.split('-').map(str::to_owned).collect();
        assert_eq!((parts[0].as_str(), parts[3].as_str(), state.as_str()), ("00", "03", "-"), "{fields}");
        assert_ne!(parts[1], TRACE, "{fields}");
        seen.push((parts[1].clone(), parts[2].clone()));
    }
    let spans = collector.spans(8);
    assert_eq!(spans.len(), 8, "{spans:#?}");
    for (trace, span) in &seen {
        let own: Vec<_> = spans.iter().filter(|one| hex(&one.trace_id) == *trace).collect();
        assert_eq!(own.len(), 2);
        assert!(own.iter().any(|one| hex(&one.span_id) == *span && one.kind() == SpanKind::Client));
        assert!(own.iter().any(|one| one.parent_span_id.is_empty() && one.kind() == SpanKind::Server));
    }
    seen.sort();
    seen.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(seen.len(), 4, "no identity is given twice");
}

#[test]
fn who_is_not_in_the_sample_is_told_so_to_the_server() {
    let (server, told) = telling();
    let collector = Collector::start();
    let plane = Plane::http(&[server], "", &collector.config("sample_per_mille = 0"));
    plane.client().get("/");
    let (parent, _) = told.recv().unwrap();
    assert!(parent.starts_with("00-") && parent.ends_with("-02"), "{parent}");
    // The next one is recorded: were the first, its spans would have come before.
    plane.client().ask(&format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n"));
    assert!(collector.spans(2).iter().all(|span| hex(&span.trace_id) == TRACE));
}

#[test]
fn each_try_has_a_span_of_its_own_of_which_its_server_is_told() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let broken = server(move |mut peer| {
        if let Some(head) = peer.head() {
            let _ = tell.lock().unwrap().send(field(&head, "traceparent").unwrap().to_owned());
        }
    });
    let (good, told_good) = telling();
    let collector = Collector::start();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let rest = format!(
        "{}\n[access_log]\npath = \"{}\"\n",
        collector.config("sample_per_mille = 1000"),
        log.display()
    );
    let plane = Plane::start(&config("http", &[broken, good], "", &rest), 1);
    // Round robin: of two requests at least one goes to the broken server first.
    for _ in 0..2 {
        assert_eq!(plane.client().get("/").status, 200);
    }
    let (request, mut tries) = eventually("a request with two tries", || {
        let spans = collector.spans(0);
        let has_two = |span: &&Span| text(&span.attributes, "evenkeel.tries").as_deref() == Some("2");
        let request = spans.iter().find(has_two)?.clone();
        let of_it = |span: &&Span| span.parent_span_id == request.span_id;
        let tries: Vec<_> = spans.iter().filter(of_it).cloned().collect();
        (tries.len() == 2).then_some((request, tries))
    });
    assert_eq!(text(&request.attributes, "evenkeel.server").as_deref(), Some("s1"));
    tries.sort_by_key(|span| span.start_time_unix_nano);
    let [first, second] = &tries[..] else { panic!("{tries:#?}") };
    assert_eq!(text(&first.attributes, "error.type").as_deref(), Some("closed"));
    assert_eq!(first.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(text(&first.attributes, "evenkeel.server").as_deref(), Some("s0"));
    assert_eq!(text(&second.attributes, "http.request.resend_count").as_deref(), Some("1"));
    assert_eq!(text(&second.attributes, "evenkeel.server").as_deref(), Some("s1"));
    assert!(told.recv().unwrap().contains(&hex(&first.span_id)));
    let of_good: Vec<_> = told_good.try_iter().collect();
    assert!(of_good.iter().any(|(parent, _)| parent.contains(&hex(&second.span_id))), "{of_good:?}");
    eventually("its line", || std::fs::read_to_string(&log).ok()?.contains("\"tries\":2").then_some(()));
}

#[test]
fn an_answer_of_our_own_is_an_error_and_a_route_that_answers_has_no_try() {
    let collector = Collector::start();
    let route = "[[route]]\nname = \"gone\"\npath = \"/gone\"\nrespond = { status = 404 }\n";
    let rest = format!("{}{route}", collector.config("sample_per_mille = 1000"));
    let plane = Plane::http(&[nobody()], "", &rest);
    assert_eq!(plane.client().get("/gone").status, 404);
    let spans = collector.spans(1);
    assert_eq!(text(&spans[0].attributes, "http.response.status_code").as_deref(), Some("404"));
    assert!(spans[0].status.is_none(), "a client's mistake is no error of ours");
    assert_eq!(plane.client().get("/").status, 502);
    let spans = collector.spans(2);
    let failed = spans.last().unwrap();
    assert_eq!(text(&failed.attributes, "error.type").as_deref(), Some("502"));
    assert_eq!(failed.status.as_ref().unwrap().code(), StatusCode::Error);
}

#[test]
fn over_http2_on_both_sides_the_trace_goes_on_just_so() {
    let (tell, told) = mpsc::channel();
    let tell = Arc::new(Mutex::new(tell));
    let server = http2::server(move |request, mut respond| {
        let tell = Arc::clone(&tell);
        async move {
            let parent = request.headers().get("traceparent").map(|value| value.to_str().unwrap().to_owned());
            let _ = tell.lock().unwrap().send(parent.unwrap_or_default());
            let _ = respond.send_response(Response::new(()), true);
        }
    });
    let collector = Collector::start();
    let rest = collector.config("sample_per_mille = 0");
    let text_of = config("http", &[server], "", &rest);
    let plane = Plane::start(&text_of.replacen("policy =", "protocol = \"http2\"\npolicy =", 1), 1);
    http2::run(async {
        let mut client = http2::Client::connect(plane.address()).await;
        let request = Request::get("http://site/a")
            .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
            .body(Vec::new())
            .unwrap();
        assert_eq!(client.ask(request).await.unwrap().status, 200);
    });
    let spans = collector.spans(2);
    let (request, attempt) = (kind(&spans, SpanKind::Server)[0], kind(&spans, SpanKind::Client)[0]);
    assert_eq!((hex(&request.parent_span_id).as_str(), hex(&attempt.trace_id).as_str()), (PARENT, TRACE));
    assert_eq!(attempt.parent_span_id, request.span_id);
    assert_eq!(told.recv().unwrap(), format!("00-{TRACE}-{}-01", hex(&attempt.span_id)));
    for span in [request, attempt] {
        assert_eq!(text(&span.attributes, "network.protocol.version").as_deref(), Some("2"));
        assert_eq!(text(&span.attributes, "http.response.status_code").as_deref(), Some("200"));
    }
}

#[test]
fn without_tracing_contexts_pass_untouched_in_both_versions_of_http() {
    let (server, told) = telling();
    let plane = Plane::http(&[server], "", "");
    let (parent, state) = (format!("00-{TRACE}-{PARENT}-01"), "a=1,b=2");
    plane
        .client()
        .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {parent}\r\ntracestate: {state}\r\n\r\n"));
    assert_eq!(told.recv().unwrap(), (parent.clone(), state.to_owned()));
    http2::run(async {
        let mut client = http2::Client::connect(plane.address()).await;
        let request = Request::get("http://site/a")
            .header("traceparent", &parent)
            .header("tracestate", state)
            .body(Vec::new())
            .unwrap();
        assert_eq!(client.ask(request).await.unwrap().status, 200);
    });
    assert_eq!(told.recv().unwrap(), (parent, state.to_owned()));
}

#[test]
fn a_dead_collector_costs_requests_nothing_and_what_is_lost_is_counted() {
    let (server, _told) = telling();
    let lines = "sample_per_mille = 1000\nqueue_length = 4\nbatch_size = 2";
    let plane = Plane::start(&config("http", &[server], "", &tracing(nobody(), lines)), 1);
    let mut client = plane.client();
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Of 200 spans some 4 wait and some batches of 2 are on their way; the others are lost.
    let lost =
        || sample(&plane.admin("/metrics").1, "evenkeel_tracing_spans_dropped_total{reason=\"queue_full\"}");
    eventually("most are lost", || (lost() >= 180).then_some(()));
    let metrics = plane.admin("/metrics").1;
    assert_eq!(sample(&metrics, "evenkeel_tracing_spans_sent_total"), 0);
    eventually("a failure", || {
        let metrics = plane.admin("/metrics").1;
        (sample(&metrics, "evenkeel_tracing_export_failures_total") > 0).then_some(())
    });
}

#[test]
fn a_busy_collector_is_asked_again_when_it_says_and_one_that_refuses_is_not() {
    let (server, _told) = telling();
    let collector = Collector::start();
    collector.says.lock().unwrap().extend([(503, Some(1), 0), (200, None, 1)]);
    let plane = Plane::http(&[server], "", &collector.config("sample_per_mille = 1000"));
    let began = Instant::now();
    plane.client().get("/");
    let counted = |name: &str, count: u64| {
        eventually(name, || (sample(&plane.admin("/metrics").1, name) == count).then_some(()));
    };
    counted("evenkeel_tracing_spans_sent_total", 1);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(collector.messages().len(), 2, "the same message, twice");
    // One of the two was not wanted.
    counted("evenkeel_tracing_spans_dropped_total{reason=\"refused\"}", 1);
    collector.says.lock().unwrap().push((400, None, 0));
    plane.client().get("/");
    counted("evenkeel_tracing_spans_dropped_total{reason=\"refused\"}", 3);
    assert_eq!(collector.messages().len(), 3);
    counted("evenkeel_tracing_export_failures_total", 2);
}

#[test]
fn tracing_begins_and_ends_with_a_reload_and_its_counts_go_on() {
    let (server, told) = telling();
    let collector = Collector::start();
    let plane = Plane::http(&[server], "", "");
    let mut client = plane.client();
    client.get("/");
    assert_eq!(told.recv().unwrap().0, "-");
    let token = plane.folder.path().join("token");
    std::fs::write(&token, "Bearer one\n").unwrap();
    let lines = "sample_per_mille = 1000\nservice_name = \"exam night\"\n\
                 [[tracing.header]]\nname = \"Authorization\"\nfile = \"token\"";
    let on = config("http", &[server], "", &collector.config(lines));
    plane.apply(&on).unwrap();
    client.get("/");
    assert_ne!(told.recv().unwrap().0, "-");
    collector.spans(2);
    // A new token is taken over by a reload, for it is a new file.
    std::fs::write(&token, "Bearer another").unwrap();
    plane.reload().unwrap();
    client.get("/");
    collector.spans(4);
    let tokens: Vec<_> =
        collector.messages().iter().map(|message| message["authorization"].clone()).collect();
    assert_eq!((tokens.first(), tokens.last()), (Some(&"Bearer one".into()), Some(&"Bearer another".into())));
    assert_eq!(collector.messages()[0]["service"], "exam night");
    plane.apply(&config("http", &[server], "", "")).unwrap();
    told.try_iter().count();
    client.get("/");
    assert_eq!(told.recv().unwrap().0, "-");
    eventually("the counts", || {
        (sample(&plane.admin("/metrics").1, "evenkeel_tracing_spans_sent_total") == 4).then_some(())
    });
    // A file that is missing or is no value refuses the whole configuration (I8).
    for text in [None, Some("a\nb"), Some("")] {
        match text {
            None => std::fs::remove_file(&token).unwrap(),
            Some(text) => std::fs::write(&token, text).unwrap(),
        }
        let error = plane.apply(&on).unwrap_err().sentences().join("\n");
        assert!(error.contains("[tracing]") && error.contains("token"), "{error}");
    }
}

#[test]
fn what_waits_when_the_data_plane_stops_is_still_sent() {
    let (server, _told) = telling();
    let collector = Collector::start();
    let lines = format!(
        "[tracing]\nendpoint = \"http://{}\"\nbatch_interval = \"1m\"\nsample_per_mille = 1000\n",
        collector.address
    );
    let plane = Plane::http(&[server], "", &lines);
    plane.client().get("/");
    assert!(collector.messages().is_empty());
    plane.begin_drain();
    plane.wait();
    assert_eq!(collector.spans(2).len(), 2);
}
