//! Reloads under load: nothing fails, nothing is counted anew, and connections to servers that stay are not made again.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use support::{Client, PATIENCE, Plane, config, eventually, named, nobody, ok, server};

/// A server that counts the connections on which it was asked something.
fn counting(connections: &Arc<AtomicUsize>) -> SocketAddr {
    let connections = Arc::clone(connections);
    server(move |mut peer| {
        let mut first = true;
        while peer.head().is_some() {
            connections.fetch_add(usize::from(std::mem::take(&mut first)), SeqCst);
            if std::io::Write::write_all(&mut peer.stream, &ok(b"x")).is_err() {
                return;
            }
        }
    })
}

/// What clients saw who asked without a pause.
struct Seen {
    /// How long each answer took, shortest first.
    took: Vec<Duration>,
}

impl Seen {
    fn at(&self, per_mille: usize) -> Duration {
        self.took[(self.took.len() - 1) * per_mille / 1000]
    }
}

/// Asks on `count` kept connections until `done` returns.
fn load(address: SocketAddr, count: usize, done: impl FnOnce()) -> Seen {
    let (stop, took) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let (stop, took) = (Arc::clone(&stop), Arc::clone(&took));
            thread::spawn(move || {
                let (mut client, mut mine) = (Client::connect(address), Vec::new());
                while !stop.load(SeqCst) {
                    let began = Instant::now();
                    assert_eq!(client.get("/").status, 200);
                    mine.push(began.elapsed());
                }
                took.lock().unwrap().extend(mine);
            })
        })
        .collect();
    done();
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut took = std::mem::take(&mut *took.lock().unwrap());
    took.sort();
    Seen { took }
}

/// Calls `each` every `interval`, `times` times, on time.
fn every(interval: Duration, times: u32, mut each: impl FnMut(u32)) {
    let began = Instant::now();
    for time in 0..times {
        each(time);
        let due = began + interval * (time + 1);
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
    }
}

/// A configuration that stays on one address, with this as its listener's.
fn at(bind: SocketAddr, text: &str) -> String {
    text.replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""))
}

#[test]
fn reloads_every_100_ms_fail_no_request_and_make_no_connection_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (one, two) = (counting(&connections), counting(&connections));
    let bind = nobody();
    // The pool is really another one each time, in its settings, and every other time in its servers' order.
    let text = |slow: u32, servers: &[_]| {
        at(bind, &config("http", servers, "", "")).replace(
            "policy = \"round-robin\"",
            &format!("policy = \"round-robin\"\nslow_start = \"{slow}s\""),
        )
    };
    let plane = Plane::start(&text(9, &[one, two]), 2);
    let calm = load(bind, 4, || every(Duration::from_millis(100), 10, |_| ()));
    let before = connections.load(SeqCst);
    let reloaded = load(bind, 4, || {
        every(Duration::from_millis(100), 30, |time| plane.apply(&text(time + 1, &[one, two])).unwrap());
    });
    println!(
        "without reloads: {} requests, p50 {:?}, p99 {:?}, p99.9 {:?}; with one every 100 ms: {}, p50 {:?}, p99 {:?}, \
         p99.9 {:?}",
        calm.took.len(),
        calm.at(500),
        calm.at(990),
        calm.at(999),
        reloaded.took.len(),
        reloaded.at(500),
        reloaded.at(990),
        reloaded.at(999)
    );
    // Each of two workers needs at most as many to a server as there are clients at once.
    let made = connections.load(SeqCst) - before;
    assert!(made <= 2 * 2 * 4, "{made} connections were made while 30 reloads happened");
    assert!(reloaded.took.len() > 300, "{} requests", reloaded.took.len());
}

#[test]
fn a_limit_counts_what_began_before_the_reload() {
    let (begun, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let slow = {
        let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
        server(move |mut peer| {
            while peer.head().is_some() {
                begun.fetch_add(1, SeqCst);
                eventually("the order to answer", || release.load(SeqCst).then_some(()));
                if std::io::Write::write_all(&mut peer.stream, &ok(b"x")).is_err() {
                    return;
                }
            }
        })
    };
    let bind = nobody();
    let limits = "[pool.limits]\nconnections_per_server = 1\nqueue_deadline = \"20s\"\n";
    let text = |slow_start: &str| {
        at(bind, &config("http", &[slow], limits, "")).replace(
            "policy = \"round-robin\"",
            &format!("policy = \"round-robin\"\nslow_start = \"{slow_start}\""),
        )
    };
    let plane = Plane::start(&text("9s"), 1);
    let ask = || thread::spawn(move || Client::connect(bind).get("/").status);
    let first = ask();
    eventually("the first request", || (begun.load(SeqCst) == 1).then_some(()));
    plane.apply(&text("8s")).unwrap();
    let second = ask();
    eventually("the second client", || {
        plane.admin("/metrics").1.contains("connections{listener=\"web\"} 2").then_some(())
    });
    plane.apply(&text("7s")).unwrap();
    assert_eq!(begun.load(SeqCst), 1, "the server has one request and may have no other");
    release.store(true, SeqCst);
    assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    // What ended has left its place to others, in the newest pool too.
    assert_eq!(Client::connect(bind).get("/").status, 200);
    eventually("no request is counted as active", || {
        plane
            .admin("/metrics")
            .1
            .contains("evenkeel_server_active{pool=\"app\",server=\"s0\"} 0")
            .then_some(())
    });
}

#[test]
fn a_server_that_was_down_comes_back_however_often_the_configuration_is_reloaded() {
    let address = nobody();
    let bind = nobody();
    let check = "[pool.health_check]\nkind = \"tcp\"\ninterval = \"50ms\"\nrise = 1\nfall = 1\n";
    let text = |slow: u32| {
        at(bind, &config("http", &[address, named("other")], "", ""))
            .replace(support::QUICK, &format!("{check}\n"))
            .replace(
                "policy = \"round-robin\"",
                &format!("policy = \"round-robin\"\nslow_start = \"{slow}s\""),
            )
    };
    let plane = Plane::start(&text(1), 1);
    let up = |value: u8| format!("evenkeel_server_check_up{{pool=\"app\",server=\"s0\"}} {value}\n");
    eventually("it is down", || plane.admin("/metrics").1.contains(&up(0)).then_some(()));
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.set_reuse_port(true).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(16).unwrap();
    let mut slow = 1;
    eventually("it is up again", || {
        slow += 1;
        plane.apply(&text(slow)).unwrap();
        plane.admin("/metrics").1.contains(&up(1)).then_some(())
    });
}

#[test]
fn the_admin_pages_move_and_a_listener_that_moves_keeps_its_counts() {
    let plane = Plane::start(&config("http", &[named("a")], "", ""), 1);
    assert_eq!(plane.client().get("/").status, 200);
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (old, bind, taken) = (plane.admin_address(), nobody(), occupied.local_addr().unwrap());
    let moved = |admin: SocketAddr| {
        at(bind, &config("http", &[named("a")], "", ""))
            .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{admin}\""))
    };
    let refused = plane.apply(&moved(taken)).unwrap_err().to_string();
    assert!(refused.contains("[admin] listen"), "{refused}");
    assert_eq!(plane.admin_address(), old);
    drop(occupied);
    let free = taken;
    plane.apply(&moved(free)).unwrap();
    assert_eq!(plane.admin_address(), free);
    assert!(plane.admin("/metrics").1.contains("evenkeel_client_connections_total{listener=\"web\"} 1\n"));
    let began = Instant::now();
    while std::net::TcpStream::connect(old).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the pages are still where they were");
    }
}
