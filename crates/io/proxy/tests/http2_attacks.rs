//! Clients of HTTP/2 that mean harm, frame by frame, against a running data plane.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use support::{Plane, answering, http2::*, ok, server};

fn plane() -> Plane {
    Plane::http(&[answering(|_, _| ok(b"x"))], "", "")
}

/// Sends `attack` over and over until the other side ends the connection; its error.
fn attack(plane: &Plane, rounds: u32, attack: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    attack_with(plane, &[], rounds, attack)
}

/// The same of a client with these SETTINGS.
fn attack_with(
    plane: &Plane,
    settings: &[u8],
    rounds: u32,
    mut attack: impl FnMut(u32) -> Vec<u8>,
) -> Option<u32> {
    let mut raw = Raw::connect(plane.address(), settings);
    for round in 0..rounds {
        if !raw.send(&attack(round)) {
            break;
        }
    }
    raw.goodbye()
}

#[test]
fn floods_of_frames_end_with_the_advice_to_calm_down() {
    let plane = plane();
    let open = frame(HEADERS, 4, 1, &get("/", &[]));
    type Attack = Box<dyn Fn(u32) -> Vec<u8>>;
    let attacks: [(&str, Attack); 12] = [
        (
            "rapid reset",
            Box::new(|round| {
                let stream = 2 * round + 1;
                [frame(HEADERS, 5, stream, &get("/", &[])), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                    .concat()
            }),
        ),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
        ("ping", Box::new(|_| frame(PING, 0, 0, &[7; 8]))),
        ("ping answers", Box::new(|_| frame(PING, 1, 0, &[7; 8]))),
        ("priority", Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]))),
        ("window updates", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        (
            "empty data",
            Box::new({
                let open = open.clone();
                move |round| if round == 0 { open.clone() } else { frame(DATA, 0, 1, &[]) }
            }),
        ),
        (
            "slivers of data",
            Box::new({
                let open = open.clone();
                move |round| if round == 0 { open.clone() } else { frame(DATA, 0, 1, b"x") }
            }),
        ),
        (
            "data that is all padding",
            Box::new({
                let open = open.clone();
                move |round| if round == 0 { open.clone() } else { frame(DATA, 8, 1, &[4, 0, 0, 0, 0]) }
            }),
        ),
        ("priority updates", Box::new(|_| frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"))),
        (
            "empty continuation",
            Box::new(|round| match round {
                0 => frame(HEADERS, 1, 1, &get("/", &[])),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
        (
            "continuation",
            Box::new(|round| match round {
                0 => frame(HEADERS, 1, 1, &get("/", &[])),
                _ => frame(CONTINUATION, 0, 1, &block(&[("x", b"y")])),
            }),
        ),
    ];
    for (name, make) in attacks {
        assert_eq!(attack(&plane, 5000, make), Some(ENHANCE_YOUR_CALM), "{name}");
        assert_eq!(plane.client().get("/").status, 200, "the data plane goes on after {name}");
    }
}

#[test]
fn streams_that_break_rules_end_the_connection_before_they_are_many() {
    // MadeYouReset, CVE-2025-8671: the client makes us reset its streams.
    let plane = plane();
    // The first is found by the h2 crate, the second by us.
    for bad in [("connection", &b"close"[..]), ("x", b" y")] {
        let error = attack(&plane, 5000, |round| frame(HEADERS, 5, 2 * round + 1, &get("/", &[bad])));
        assert_eq!(error, Some(ENHANCE_YOUR_CALM), "{bad:?}");
    }
    type Break = Box<dyn Fn(u32) -> Vec<u8>>;
    let upload = |stream| {
        let post =
            [(":method", &b"POST"[..]), (":scheme", b"http"), (":authority", b"site"), (":path", b"/")];
        frame(HEADERS, 4, stream, &block(&post))
    };
    let breaks: [(&str, Break); 5] = [
        ("a window that grows by nothing", Box::new(|stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]))),
        (
            "a window that grows too large",
            Box::new(|stream| frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])),
        ),
        (
            "a stream that depends on itself",
            Box::new(|stream| {
                frame(PRIORITY, 0, stream, &{
                    let mut payload = stream.to_be_bytes().to_vec();
                    payload.push(1);
                    payload
                })
            }),
        ),
        ("trailers that end nothing", Box::new(|stream| frame(HEADERS, 4, stream, &block(&[("x", b"y")])))),
        ("trailers without a field that end nothing", Box::new(|stream| frame(HEADERS, 4, stream, &[]))),
    ];
    for (name, make) in breaks {
        let error = attack(&plane, 5000, |round| {
            let stream = 2 * round + 1;
            [upload(stream), make(stream)].concat()
        });
        // Where the rule is one of the connection it ends at once.
        assert!(matches!(error, Some(PROTOCOL_ERROR | ENHANCE_YOUR_CALM)), "{name}: {error:?}");
        assert_eq!(plane.client().get("/").status, 200, "the data plane goes on after {name}");
    }
}

#[test]
fn heads_that_are_empty_or_unpack_to_much_are_refused_and_soon_ended() {
    let plane = plane();
    let error = attack(&plane, 5000, |round| frame(HEADERS, 5, 2 * round + 1, &[]));
    assert_eq!(error, Some(ENHANCE_YOUR_CALM), "heads without a field");
    // A field of 3,900 bytes is put into the table, and then named over and over, a byte each: 62 is its place
    // (RFC 7541 §2.3.3). A block of 16 KiB unpacks to 60 MiB.
    let mut bomb = vec![0x40, 1, b'x', 0x7f];
    let mut rest = 3900 - 127;
    while rest >= 128 {
        bomb.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bomb.push(u8::try_from(rest).unwrap());
    bomb.resize(bomb.len() + 3900, b'y');
    let plant = [get("/", &[]), bomb].concat();
    let burst = [get("/", &[]), vec![0x80 | 62; 16_000]].concat();
    let before = resident_bytes();
    for _ in 0..50 {
        let mut raw = Raw::connect(plane.address(), &[]);
        raw.send(&frame(HEADERS, 5, 1, &plant));
        assert!(raw.wait_for(HEADERS, 1).is_some(), "the field alone is within what a head may have");
        raw.send(&frame(HEADERS, 5, 3, &burst));
        let told = std::iter::from_fn(|| raw.next()).find(|frame| {
            frame.kind == GOAWAY || frame.stream == 3 && matches!(frame.kind, HEADERS | RST_STREAM)
        });
        // 431 is in no static table, 200 is its entry 8.
        assert!(told.is_none_or(|frame| frame.kind != HEADERS || frame.payload[0] != 0x88));
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "50 heads of 60 MiB took {grown} bytes of memory");
    assert_eq!(plane.client().get("/").status, 200);
}

/// Memory that this process has.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn malformed_requests_are_stream_errors_and_reach_no_server() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let plane = Plane::http(
        &[answering(move |head, _| {
            if head.starts_with("GET /bad") || head.contains("admin") {
                counter.fetch_add(1, Relaxed);
            }
            ok(b"x")
        })],
        "",
        "",
    );
    let plain: [(&str, &[u8]); 3] = [(":method", b"GET"), (":scheme", b"http"), (":authority", b"site")];
    let with = |path: &'static [u8], more: &[(&'static str, &'static [u8])]| {
        block(&[&plain[..], &[(":path", path)], more].concat())
    };
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("no path", block(&plain)),
        ("empty path", with(b"", &[])),
        ("CRLF in the path", with(b"/bad HTTP/1.1\r\nhost: a\r\n\r\nGET /admin", &[])),
        ("space in the path", with(b"/bad admin", &[])),
        ("absolute path", with(b"http://admin/bad", &[])),
        ("asterisk for GET", with(b"*", &[])),
        ("two paths", with(b"/bad", &[(":path", b"/admin")])),
        ("pseudo-field after a field", block(&[&plain[..], &[("x", b"y"), (":path", b"/bad")]].concat())),
        ("unknown pseudo-field", with(b"/bad", &[(":x", b"y")])),
        ("transfer-encoding (H2.TE)", with(b"/bad", &[("transfer-encoding", b"chunked")])),
        ("connection", with(b"/bad", &[("connection", b"close")])),
        ("keep-alive", with(b"/bad", &[("keep-alive", b"1")])),
        ("proxy-connection", with(b"/bad", &[("proxy-connection", b"x")])),
        ("upgrade", with(b"/bad", &[("upgrade", b"h2c")])),
        ("te that is not trailers", with(b"/bad", &[("te", b"gzip")])),
        ("content-length without content (H2.CL)", with(b"/bad", &[("content-length", b"5")])),
        ("two lengths", with(b"/bad", &[("content-length", b"0"), ("content-length", b"5")])),
        ("length that is no number", with(b"/bad", &[("content-length", b"+0")])),
        ("capital letters", with(b"/bad", &[("X-A", b"y")])),
        ("CRLF in a value", with(b"/bad", &[("x", b"y\r\ntransfer-encoding: chunked")])),
        ("LF in a value", with(b"/bad", &[("x", b"y\nhost: admin")])),
        ("NUL in a value", with(b"/bad", &[("x", b"y\0")])),
        ("CRLF in a name", with(b"/bad", &[("x\r\ny", b"z")])),
        ("colon in a name", with(b"/bad", &[("x: y", b"z")])),
        ("space in front of a value", with(b"/bad", &[("x", b" y")])),
        (
            "CRLF in the method",
            block(&[(":method", b"GET /admin HTTP/1.1\r\nx: "), plain[1], plain[2], (":path", b"/bad")]),
        ),
        ("space in the method", block(&[(":method", b"GET /admin"), plain[1], plain[2], (":path", b"/bad")])),
    ];
    let mut wrong = Vec::new();
    for (name, block) in bad {
        let mut raw = Raw::connect(plane.address(), &[]);
        raw.send(&frame(HEADERS, 5, 1, &block));
        let answer = std::iter::from_fn(|| raw.next())
            .find(|frame| matches!(frame.kind, RST_STREAM | GOAWAY | HEADERS));
        match answer {
            Some(frame) if frame.kind != HEADERS && frame.error() == PROTOCOL_ERROR => {}
            other => wrong.push((name, other)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(asked.load(Relaxed), 0, "a server was asked");
}

#[test]
fn requests_for_what_is_not_offered_are_refused_with_a_status() {
    let plane = plane();
    let request = |method: &'static [u8], scheme: &'static [u8], authority: &'static [u8]| {
        block(&[(":method", method), (":scheme", scheme), (":authority", authority), (":path", b"/")])
    };
    for (name, block) in [
        ("scheme", request(b"GET", b"ftp", b"site")),
        ("user in the authority", request(b"GET", b"http", b"user@site")),
        (
            "host with a slash",
            block(&[(":method", b"GET"), (":scheme", b"http"), (":path", b"/"), ("host", b"a/b")]),
        ),
        ("no authority", block(&[(":method", b"GET"), (":scheme", b"http"), (":path", b"/")])),
        ("authority and host differ", get("/", &[("host", b"other")])),
        ("connect", block(&[(":method", b"CONNECT"), (":authority", b"site:443")])),
    ] {
        let mut raw = Raw::connect(plane.address(), &[]);
        raw.send(&frame(HEADERS, 5, 1, &block));
        let answer = std::iter::from_fn(|| raw.next())
            .find(|frame| frame.stream == 1 || frame.kind == GOAWAY)
            .unwrap();
        let refused = match answer.kind {
            // The status is the first field of the block: 400 is entry 12 of the static table, 501 is spelled out.
            HEADERS => {
                answer.payload[0] == 0x8c
                    || answer.payload.windows(3).any(|three| three == b"501")
                    || answer.payload[0] == 0x08
                    || answer.payload[0] == 0x48
            }
            RST_STREAM | GOAWAY => answer.error() == PROTOCOL_ERROR,
            _ => false,
        };
        assert!(refused, "{name}: {answer:?}");
    }
}

#[test]
fn content_that_is_not_as_long_as_was_said_is_no_request() {
    let plane = plane();
    for (name, content) in [("longer", &b"123456"[..]), ("shorter", b"1234")] {
        let mut raw = Raw::connect(plane.address(), &[]);
        let head = block(&[
            (":method", b"POST"),
            (":scheme", b"http"),
            (":authority", b"site"),
            (":path", b"/"),
            ("content-length", b"5"),
        ]);
        raw.send(&frame(HEADERS, 4, 1, &head));
        raw.send(&frame(DATA, 1, 1, content));
        assert_eq!(raw.wait_for(RST_STREAM, 1).map(|frame| frame.error()), Some(PROTOCOL_ERROR), "{name}");
        assert_eq!(plane.client().get("/").status, 200);
    }
}

#[test]
fn a_client_that_reads_nothing_holds_up_little_of_an_endless_answer() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let plane = Plane::http(
        &[server(move |mut peer| {
            peer.head();
            let _ = peer.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while peer.stream.write_all(&[7; 16 * 1024]).is_ok() {
                counter.fetch_add(16 * 1024, Relaxed);
            }
        })],
        "",
        "[deadlines]\nclient_write_idle = \"1s\"\n",
    );
    // Windows of 2 GiB: nothing but our own bounds holds the answer back.
    let mut raw = Raw::connect(plane.address(), &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    raw.send(&frame(HEADERS, 5, 1, &get("/", &[])));
    // The connection is given up when the client has taken nothing for a second; until then the server filled the
    // buffers of both kernels, which on loopback hold up to 6 MiB and 4 MiB, and ours.
    support::eventually("the client is given up", || {
        let before = sent.load(Relaxed);
        std::thread::park_timeout(std::time::Duration::from_millis(1500));
        (before > 0 && before == sent.load(Relaxed)).then_some(())
    });
    while raw.next().is_some() {}
    assert!(sent.load(Relaxed) < 24 << 20, "{} bytes were taken from the server", sent.load(Relaxed));
}

#[test]
fn a_client_whose_window_is_shut_gets_no_content_and_is_given_up() {
    let plane = Plane::http(
        &[answering(|_, _| ok(&[7; 100_000]))],
        "",
        "[deadlines]\nclient_write_idle = \"300ms\"\n",
    );
    let mut raw = Raw::connect(plane.address(), &[0, 4, 0, 0, 0, 0]);
    raw.send(&frame(HEADERS, 5, 1, &get("/", &[])));
    assert!(raw.wait_for(HEADERS, 1).is_some());
    let reset = std::iter::from_fn(|| raw.next()).find(|frame| frame.stream == 1).unwrap();
    assert_eq!((reset.kind, reset.error()), (RST_STREAM, 2), "INTERNAL_ERROR, and no content before it");
}

#[test]
fn answers_that_nobody_takes_hold_no_place_of_their_server_for_long() {
    let server =
        answering(|head, _| if head.starts_with("GET /small") { ok(b"x") } else { ok(&[7; 300_000]) });
    let limits = "[pool.limits]\nconnections_per_server = 4\n";
    let deadlines = "[deadlines]\nclient_write_idle = \"1s\"\n";
    let plane = Plane::start(&support::config("http", &[server], limits, deadlines), 1);
    let active = || {
        let (_, metrics) = plane.admin("/metrics");
        let active = metrics.lines().filter(|line| line.starts_with("evenkeel_server_active{"));
        active.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    // As many streams ask as the server has places, and their windows stay shut.
    let mut raw = Raw::connect(plane.address(), &[0, 4, 0, 0, 0, 0]);
    for stream in 0..4 {
        raw.send(&frame(HEADERS, 5, 2 * stream + 1, &get("/", &[])));
    }
    support::eventually("the places are taken", || (active() == 4).then_some(()));
    // Somebody else waits for a place in the queue, and gets one when the streams are given up.
    assert_eq!(plane.client().get("/small").body, b"x");
    support::eventually("nothing is under way any more", || (active() == 0).then_some(()));
}

#[test]
fn a_window_that_opens_byte_by_byte_ends_in_calm_and_holds_little() {
    let plane = Plane::http(&[answering(|_, _| ok(&[7; 300_000]))], "", "");
    let error = attack_with(&plane, &[0, 4, 0, 0, 0, 0], 5000, |round| match round {
        0 => frame(HEADERS, 5, 1, &get("/", &[])),
        _ => frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
    });
    assert_eq!(error, Some(ENHANCE_YOUR_CALM));
}

#[test]
fn a_window_of_the_connection_that_grows_by_nothing_or_too_large_ends_it() {
    let plane = plane();
    for (growth, error) in [([0; 4], PROTOCOL_ERROR), ([0x7f, 0xff, 0xff, 0xff], FLOW_CONTROL_ERROR)] {
        assert_eq!(attack(&plane, 1, |_| frame(WINDOW_UPDATE, 0, 0, &growth)), Some(error), "{growth:?}");
    }
}

#[test]
fn an_answer_that_waits_in_a_shut_window_goes_with_its_connection() {
    let plane =
        Plane::http(&[answering(|_, _| ok(b"small"))], "", "[deadlines]\nkeep_alive_idle = \"300ms\"\n");
    // So small that it was taken from the server whole; it waits for the client alone.
    let mut raw = Raw::connect(plane.address(), &[0, 4, 0, 0, 0, 0]);
    raw.send(&frame(HEADERS, 5, 1, &get("/", &[])));
    assert!(raw.wait_for(HEADERS, 1).is_some());
    assert_eq!(raw.goodbye(), Some(0));
}

#[test]
fn a_head_that_never_ends_and_a_silent_client_are_given_up() {
    let plane = Plane::http(
        &[answering(|_, _| ok(b"x"))],
        "",
        "[deadlines]\nclient_head = \"300ms\"\nkeep_alive_idle = \"300ms\"\n",
    );
    let mut half = Raw::connect(plane.address(), &[]);
    half.send(&frame(HEADERS, 1, 1, &get("/", &[])));
    assert_eq!(half.goodbye(), Some(0));
    let mut silent = Raw::connect(plane.address(), &[]);
    assert_eq!(silent.goodbye(), Some(0));
    let mut torn = Raw::connect(plane.address(), &[]);
    torn.send(&frame(HEADERS, 5, 1, &get("/", &[]))[..12]);
    assert_eq!(torn.goodbye(), Some(0));
}
