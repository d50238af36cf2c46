//! An operator's orders about servers while the data plane runs.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use serde_json::{Value, json};
use support::{Client, Plane, config, eventually, named, nobody, ok, sample, server};

fn ask(plane: &Plane, request: &Value) -> Value {
    let mut socket = UnixStream::connect(plane.folder.path().join("proxy.sock")).unwrap();
    writeln!(socket, "{request}").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn target() -> Value {
    json!({"pool": "app", "server": "s0"})
}

/// Whom `count` requests on connections of their own, so at all workers, went to.
fn answers(plane: &Plane, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| plane.client().get("/").body).collect()
}

fn share(plane: &Plane, name: &[u8]) -> usize {
    answers(plane, 60).iter().filter(|&body| body == name).count()
}

#[test]
fn a_drained_server_gets_nothing_new_and_what_is_under_way_is_not_disturbed() {
    let (begun, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let slow = {
        let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
        server(move |mut peer| {
            while let Some(head) = peer.head() {
                if head.starts_with("GET /slow") {
                    begun.fetch_add(1, SeqCst);
                    eventually("the order to answer", || release.load(SeqCst).then_some(()));
                }
                if peer.stream.write_all(&ok(b"a")).is_err() {
                    return;
                }
            }
        })
    };
    let bind = nobody();
    let text = |slow_start: u32| {
        config("http", &[slow, named("b")], "", "")
            .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""))
            .replace(
                "policy = \"round-robin\"",
                &format!("policy = \"round-robin\"\nslow_start = \"{slow_start}s\""),
            )
    };
    let plane = Plane::start(&text(0), 2);
    let clients: Vec<_> =
        (0..4).map(|_| thread::spawn(move || Client::connect(bind).get("/slow").body)).collect();
    eventually("requests at the slow server", || (begun.load(SeqCst) >= 1).then_some(()));
    // Those that went to the other server are answered by now or soon; what counts is what the slow one has.
    let done = ask(&plane, &json!({"drain": target()}));
    assert!(done["done"]["active"].as_u64() >= Some(1) && done["done"]["draining"] == true, "{done}");
    assert_eq!(share(&plane, b"a"), 0);
    plane.apply(&text(1)).unwrap();
    assert_eq!(share(&plane, b"a"), 0, "a drain lasts through a reload");
    let status: Value = serde_json::from_str(&plane.admin("/status").1).unwrap();
    assert_eq!(status["pools"][0]["servers"][0]["state"], "draining");
    assert_eq!(sample(&plane.admin("/metrics").1, "evenkeel_server_draining{pool=\"app\",server=\"s0\"}"), 1);
    release.store(true, SeqCst);
    let bodies: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(bodies.contains(&b"a".to_vec()), "{bodies:?}");
    eventually("the drain's end", || {
        (ask(&plane, &json!({"drain": target()}))["done"]["active"] == 0).then_some(())
    });
    eventually("no connection is kept to a drained server", || {
        let metrics = plane.admin("/metrics").1;
        (sample(&metrics, "evenkeel_server_idle_connections{pool=\"app\",server=\"s0\"}") == 0).then_some(())
    });
    ask(&plane, &json!({"resume": target()}));
    eventually("its share", || (share(&plane, b"a") >= 20).then_some(()));
}

#[test]
fn a_weight_lasts_until_the_file_gives_the_server_another_one() {
    let bind = nobody();
    let (a, b) = (named("a"), named("b"));
    let text = |weight: u16, slow_start: &str| {
        config("http", &[a, b], "", "")
            .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""))
            .replacen("[[pool.server]]\n", &format!("[[pool.server]]\nweight = {weight}\n"), 1)
            .replace(
                "policy = \"round-robin\"",
                &format!("policy = \"round-robin\"\nslow_start = \"{slow_start}\""),
            )
    };
    let plane = Plane::start(&text(1, "0s"), 2);
    let weight = || sample(&plane.admin("/metrics").1, "evenkeel_server_weight{pool=\"app\",server=\"s0\"}");
    assert_eq!((share(&plane, b"a"), weight()), (30, 1));
    let done = ask(&plane, &json!({"weight": {"pool": "app", "server": "s0", "weight": 3}}));
    assert_eq!(done["done"]["weight"], 3, "{done}");
    assert!((43..=47).contains(&share(&plane, b"a")));
    plane.apply(&text(1, "0ms")).unwrap();
    plane.apply(&text(1, "1ms")).unwrap();
    assert_eq!(weight(), 3, "the file says nothing new of the server");
    assert!((43..=47).contains(&share(&plane, b"a")));
    plane.apply(&text(2, "1ms")).unwrap();
    assert_eq!(weight(), 2);
    assert!((38..=42).contains(&share(&plane, b"a")));
    ask(&plane, &json!({"weight": {"pool": "app", "server": "s0", "weight": 9}}));
    let done = ask(&plane, &json!({"weight": {"pool": "app", "server": "s0", "weight": null}}));
    assert_eq!(done["done"]["weight"], 2, "{done}");
}

#[test]
fn orders_that_cannot_be_followed_say_what_there_is() {
    let plane = Plane::http(&[named("a")], "", "");
    let refused = |request: &Value| ask(&plane, request)["refused"]["errors"][0].as_str().unwrap().to_owned();
    let words = refused(&json!({"drain": {"pool": "ap", "server": "s0"}}));
    assert_eq!(words, "pool `ap` does not exist; expected one of: `app`");
    let words = refused(&json!({"resume": {"pool": "app", "server": "s9"}}));
    assert_eq!(words, "pool `app` has no server `s9`; expected one of: `s0`");
    for weight in [0, 70_000] {
        let words = refused(&json!({"weight": {"pool": "app", "server": "s0", "weight": weight}}));
        assert!(words.contains("1 to") && words.contains("drain it"), "{words}");
    }
    assert_eq!(ask(&plane, &json!({"status": {}}))["done"]["pools"][0]["servers"][0]["state"], "usable");
}
