//! Running it: reloads, drains, health checks, the admin pages, the control socket and the access log.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc::{Sender, channel},
    },
    thread,
};

use support::{Client, Plane, answering, config, eventually, field, named, nobody, ok, sample, server};

/// The configuration with the port that the kernel chose, so that a reload keeps the listener.
fn fixed(plane: &Plane, config: &str) -> String {
    let address = plane.address();
    config.replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{address}\""))
}

fn free_address() -> String {
    nobody().to_string()
}

/// I8: while configurations good and bad come and go, every request is answered, on every connection.
#[test]
fn i8_reloads_under_load_fail_no_request_and_bad_ones_change_nothing() {
    let bind = format!("bind = \"{}\"", free_address());
    let text = |servers: &[_]| config("http", servers, "", "").replace("bind = \"127.0.0.1:0\"", &bind);
    let (a, b) = (named("a"), named("b"));
    let plane = Plane::start(&text(&[a]), 2);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|at| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), plane.address());
            thread::spawn(move || {
                let mut kept = Client::connect(address);
                while !stop.load(SeqCst) {
                    let answer = if at % 2 == 0 { kept.get("/") } else { Client::connect(address).get("/") };
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for round in 0..20 {
        let before = answered.load(SeqCst);
        let servers: &[_] = if round % 2 == 0 { &[b] } else { &[a, b] };
        plane.apply(&text(servers)).unwrap();
        assert!(plane.apply("[[listener]]\nname = 1\n").is_err());
        eventually("requests go on", || (answered.load(SeqCst) > before + 20).then_some(()));
    }
    plane.apply(&text(&[b])).unwrap();
    assert_eq!(plane.client().get("/").body, b"b");
    stop.store(true, SeqCst);
    for client in clients {
        client.join().unwrap();
    }
}

/// I8: refused whole, with every error, and neither the file nor the running configuration changes.
#[test]
fn i8_a_configuration_that_cannot_be_bound_is_refused_whole() {
    let plane = Plane::http(&[named("a")], "", "");
    let file = plane.folder.path().join("balancer.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap();
    let text = config("http", &[named("b")], "", "")
        .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{taken}\""));
    let sentences = plane.apply(&text).unwrap_err().sentences();
    assert!(sentences.len() == 1 && sentences[0].contains(&taken.to_string()), "{sentences:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(plane.client().get("/").body, b"a");
}

#[test]
fn a_reload_reads_the_file_and_keeps_counters_and_connections() {
    let (a, b) = (named("a"), named("b"));
    let bind = format!("bind = \"{}\"", free_address());
    let text = |servers: &[_]| config("http", servers, "", "").replace("bind = \"127.0.0.1:0\"", &bind);
    let plane = Plane::start(&text(&[a]), 1);
    let mut client = plane.client();
    assert_eq!(client.get("/").body, b"a");
    std::fs::write(plane.folder.path().join("balancer.toml"), text(&[a, b])).unwrap();
    plane.reload().unwrap();
    let mut bodies: Vec<_> = (0..40).map(|_| client.get("/").body).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies, [b"a", b"b"], "the old connection, the new servers");
    assert!(plane.admin("/metrics").1.contains("evenkeel_client_connections_total{listener=\"web\"} 1\n"));
}

/// A server whose answers to targets that begin so wait until they are released, one by one.
fn held_back(targets: &'static str) -> (Sender<()>, SocketAddr) {
    let (release, gate) = channel();
    let gate = Mutex::new(gate);
    let slow = answering(move |head, _| {
        if head.split(' ').nth(1).is_some_and(|target| target.starts_with(targets)) {
            gate.lock().unwrap().recv().unwrap();
        }
        ok(b"done")
    });
    (release, slow)
}

#[test]
fn a_listener_that_is_removed_lets_its_clients_finish() {
    let (release, slow) = held_back("/");
    let plane = Plane::http(&[slow], "", "");
    let old = plane.address();
    let mut busy = plane.client();
    busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("under way", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    let other = config("http", &[named("b")], "", "")
        .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{}\"", free_address()));
    plane.apply(&other).unwrap();
    assert_eq!(plane.client().get("/").body, b"b");
    release.send(()).unwrap();
    let answer = busy.answer(false).unwrap();
    assert_eq!((answer.body.as_slice(), field(&answer.head, "connection")), (&b"done"[..], Some("close")));
    eventually("the old address is free", || std::net::TcpStream::connect(old).err());
}

#[test]
fn a_drain_finishes_what_is_under_way_and_then_ends() {
    let (release, slow) = held_back("/wait");
    let plane = Plane::http(&[slow], "", "");
    let address = plane.address();
    let (mut busy, mut idle) = (plane.client(), plane.client());
    assert_eq!(idle.get("/").status, 200);
    busy.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("under way", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    assert_eq!(plane.admin("/ready").0, 200);
    plane.begin_drain();
    assert!(idle.is_closed(), "an idle connection ends in order");
    eventually("no longer ready", || (plane.admin("/ready").0 == 503).then_some(()));
    eventually("no new clients", || std::net::TcpStream::connect(address).err());
    release.send(()).unwrap();
    let answer = busy.answer(false).unwrap();
    assert_eq!((answer.body.as_slice(), field(&answer.head, "connection")), (&b"done"[..], Some("close")));
    plane.wait();
}

/// Closing while something of the client's is unread resets the connection, and takes with it what has not left yet.
#[test]
fn a_drain_takes_no_answer_away_from_a_client_that_has_sent_its_next_request() {
    let (release, slow) = held_back("/");
    let plane = Plane::http(&[slow], "", "");
    let mut client = plane.client();
    client.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("under way", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    plane.begin_drain();
    eventually("no longer ready", || (plane.admin("/ready").0 == 503).then_some(()));
    client.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    release.send(()).unwrap();
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.body.as_slice(), field(&answer.head, "connection")), (&b"done"[..], Some("close")));
    let mut rest = Vec::new();
    client.0.stream.read_to_end(&mut rest).expect("the connection ends in order, without a reset");
    assert!(rest.is_empty(), "the second request is for another connection");
    drop(client);
    plane.wait();
}

#[test]
fn a_drain_does_not_wait_longer_than_it_may() {
    let stuck = server(|mut peer| drop((peer.head(), peer.take(1))));
    let plane = Plane::http(&[stuck], "", "[deadlines]\ndrain = \"100ms\"\n");
    let mut client = plane.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("under way", || plane.admin("/status").1.contains("\"active\":1").then_some(()));
    plane.begin_drain();
    plane.wait();
    assert!(client.answer(false).is_none());
}

#[test]
fn health_checks_take_a_server_out_and_back_in() {
    let healthy = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&healthy);
    let checked = answering(move |head, _| {
        assert!(head.starts_with("GET /health ") || head.starts_with("GET / "), "{head}");
        if head.starts_with("GET /health") && !state.load(SeqCst) {
            return b"HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n".to_vec();
        }
        ok(b"checked")
    });
    let other = named("b");
    let text = config("http", &[checked, other], "slow_start = \"0ms\"", "").replace(
        "kind = \"tcp\"\ninterval = \"10s\"\n",
        "kind = \"http\"\npath = \"/health\"\ninterval = \"50ms\"\ntimeout = \"50ms\"\nrise = 1\nfall = 2\n",
    );
    let text = text.replace("slow_start = \"0ms\"", "");
    let plane = Plane::start(&text, 1);
    let seen = |name: &'static [u8]| {
        let mut client = plane.client();
        (0..4).any(|_| client.get("/").body == name)
    };
    healthy.store(false, SeqCst);
    let reason = eventually("down", || {
        let status = plane.admin("/status").1;
        status.contains("\"state\":\"down\"").then_some(status)
    });
    assert!(reason.contains("status 500"), "{reason}");
    eventually("left out", || (!seen(b"checked")).then_some(()));
    healthy.store(true, SeqCst);
    eventually("back", || seen(b"checked").then_some(()));
}

#[test]
fn the_admin_pages_tell_what_is_going_on() {
    let plane = Plane::http(&[named("a")], "", "");
    assert_eq!(plane.client().get("/").status, 200);
    assert_eq!(plane.client().ask("GET / HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!((plane.admin("/live").0, plane.admin("/ready").0, plane.admin("/other").0), (200, 200, 404));
    // A worker counts an answer when it has left, so a client may have it sooner.
    let metrics = eventually("both are counted", || {
        let metrics = plane.admin("/metrics").1;
        let counted = |class| {
            sample(&metrics, &format!("evenkeel_responses_total{{listener=\"web\",status=\"{class}\"}}"))
        };
        (counted("2xx") + counted("4xx") == 2).then_some(metrics)
    });
    for line in [
        "# TYPE evenkeel_responses_total counter",
        "evenkeel_responses_total{listener=\"web\",status=\"2xx\"} 1",
        "evenkeel_own_responses_total{listener=\"web\",status=\"400\"} 1",
        "evenkeel_server_requests_total{pool=\"app\",server=\"s0\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in:\n{metrics}");
    }
    let status: serde_json::Value = serde_json::from_str(&plane.admin("/status").1).unwrap();
    assert_eq!(status["version"], "1.2.3");
    assert_eq!(status["pools"][0]["servers"][0]["state"], "usable");
    assert_eq!((&status["totals"]["requests"], &status["totals"]["server_errors"]), (&2.into(), &0.into()));
    assert!(status["totals"]["median_us"].as_u64().is_some_and(|us| us > 0), "{status}");
}

#[test]
fn the_control_socket_applies_and_refuses() {
    let plane = Plane::http(&[named("a")], "", "");
    let ask = |request: serde_json::Value| {
        let mut socket = UnixStream::connect(plane.folder.path().join("proxy.sock")).unwrap();
        writeln!(socket, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    let refused = ask(serde_json::json!({"apply": {"text": "[[pool]]\nname = 3\n"}}));
    assert!(refused["refused"]["errors"].as_array().is_some_and(|errors| errors.len() > 1), "{refused}");
    let text = fixed(&plane, &config("http", &[named("b")], "", ""));
    let done = ask(serde_json::json!({"apply": {"text": text}}));
    assert!(done["done"].is_object(), "{done}");
    assert_eq!(std::fs::read_to_string(plane.folder.path().join("balancer.toml")).unwrap(), text);
    assert!(ask(serde_json::json!({"reload": {}}))["done"].is_object());
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = format!("[access_log]\npath = \"{}\"\nformat = \"json\"\n", path.display());
    let plane = Plane::http(&[answering(|_, body| ok(body))], "", &log);
    let mut client = plane.client();
    client.ask("POST /exam?q=1 HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhello");
    let refused = client.ask("GET / HTTP/1.1\r\n\r\n");
    let lines = eventually("two lines", || {
        let text = std::fs::read_to_string(&path).ok()?;
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines.len() == 2).then_some(lines)
    });
    assert_eq!(
        (&lines[0]["method"], &lines[0]["target"], &lines[0]["status"]),
        (&"POST".into(), &"/exam?q=1".into(), &200.into())
    );
    assert_eq!(lines[0]["server"], "s0");
    assert_eq!(lines[1]["request_id"], field(&refused.head, "x-request-id").unwrap());
}
