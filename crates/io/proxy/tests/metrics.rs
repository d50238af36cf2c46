//! The page of metrics against what reads it.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use support::{Client, Plane, answering, config, eventually, named, ok, sample};

/// A plane with every kind of listener, so that every family is on its page.
fn plane() -> Plane {
    let more = "[[listener]]\nname = \"dns\"\nbind = \"127.0.0.1:0\"\nmode = \"udp\"\npool = \"app\"\n\
                [[listener]]\nname = \"behind\"\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\npool = \"app\"\n\
                proxy_protocol = \"required\"\nproxy_trusted = [\"127.0.0.1\"]\n";
    Plane::start(&config("http", &[named("a")], "", more), 2)
}

#[test]
fn the_page_is_what_promtool_calls_good() {
    let plane = plane();
    plane.client().get("/");
    let page = plane.admin("/metrics").1;
    let lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut lint) = lint else {
        return println!("SKIPPED: promtool is not installed; it comes with the package prometheus");
    };
    lint.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let words =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.trim().is_empty(), "{words}");
}

#[test]
fn answers_are_in_a_histogram_of_seconds() {
    let plane = plane();
    let mut client = plane.client();
    for _ in 0..3 {
        client.get("/");
    }
    // An answer is counted when it has left, so its client may have it a moment before.
    let page = eventually("three answers are counted", || {
        let page = plane.admin("/metrics").1;
        (sample(&page, "evenkeel_request_duration_seconds_count{listener=\"web\"}") == 3).then_some(page)
    });
    let bucket = |le: &str| {
        sample(&page, &format!("evenkeel_request_duration_seconds_bucket{{listener=\"web\",le=\"{le}\"}}"))
    };
    assert_eq!((bucket("33.554432"), bucket("+Inf")), (3, 3), "{page}");
    assert!(bucket("0.000512") <= bucket("0.001024"));
    assert_eq!(sample(&page, "evenkeel_request_duration_seconds_count{listener=\"web\"}"), 3);
}

#[test]
fn open_metrics_is_given_to_who_asks_for_it() {
    let plane = plane();
    let mut client = Client::connect(plane.admin_address());
    let answer = client.ask(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5\r\n\
         Connection: close\r\n\r\n",
    );
    let (head, page) = (answer.head.to_lowercase(), String::from_utf8(answer.body).unwrap());
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    assert!(
        page.contains("# TYPE evenkeel_client_connections_accepted counter")
            || page.contains("# TYPE evenkeel_responses counter")
    );
}

/// However many different requests come, the page has the same samples: nothing of a request becomes a label.
#[test]
fn requests_add_no_samples() {
    let plane = Plane::http(&[answering(|_, _| ok(b"x"))], "", "");
    let names = || -> BTreeSet<String> {
        let page = plane.admin("/metrics").1;
        page.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    plane.client().get("/");
    let before = names();
    let mut client = plane.client();
    for at in 0..50 {
        client.ask(&format!("GET /{at}?q={at} HTTP/1.1\r\nHost: h{at}\r\nUser-Agent: {at}\r\n\r\n"));
    }
    assert_eq!(names(), before);
}

#[test]
fn the_context_of_a_trace_is_passed_on_as_it_came() {
    let plane = Plane::http(
        &[answering(|head, _| {
            let field = |name| support::field(head, name).unwrap_or("none").to_owned();
            ok(format!("{} {}", field("traceparent"), field("tracestate")).as_bytes())
        })],
        "",
        "",
    );
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = plane.client().ask(&format!(
        "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {context}\r\ntracestate: rojo=1,congo=2\r\n\r\n"
    ));
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{context} rojo=1,congo=2"));
}
