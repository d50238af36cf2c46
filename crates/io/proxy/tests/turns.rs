//! One connection that could move bytes for ever does not keep the others of its worker waiting.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use support::{Client, Plane, config, eventually, ok, server};

/// More than any buffer on the way holds, by far; at the speed of memory a twentieth of a second.
const LONG: usize = 256 << 20;

/// A server whose answer to `/long` is [`LONG`], and to everything else short.
fn long_or_short() -> std::net::SocketAddr {
    server(|mut peer| {
        while let Some(head) = peer.head() {
            if !head.starts_with("GET /long ") {
                if peer.stream.write_all(&ok(b"short")).is_err() {
                    return;
                }
                continue;
            }
            let piece = vec![b'x'; 1 << 20];
            let begun = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
            let mut sent = peer.stream.write_all(begun.as_bytes());
            for _ in 0..LONG >> 20 {
                sent = sent.and_then(|()| peer.stream.write_all(&piece));
            }
            if sent.is_err() {
                return;
            }
        }
    })
}

fn others_are_served_while_one_moves_much(mode: &str) {
    let plane = Plane::start(&config(mode, &[long_or_short()], "", ""), 1);
    let mut other = plane.client();
    assert_eq!(other.get("/").body, b"short");
    let (came, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let greedy = {
        let (came, over, mut client) =
            (Arc::clone(&came), Arc::clone(&over), Client::connect(plane.address()));
        thread::spawn(move || {
            client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut piece = vec![0; 1 << 20];
            while came.load(SeqCst) < LONG {
                let length = client.0.stream.read(&mut piece).unwrap();
                assert!(length > 0, "the answer was cut");
                came.fetch_add(length, SeqCst);
            }
            over.store(true, SeqCst);
        })
    };
    eventually("much is under way", || (came.load(SeqCst) > 8 << 20).then_some(()));
    for _ in 0..3 {
        assert_eq!(other.get("/").body, b"short");
        assert!(!over.load(SeqCst), "the other client was served only after all of {LONG} bytes");
    }
    greedy.join().unwrap();
}

#[test]
fn a_long_answer_lets_others_in() {
    others_are_served_while_one_moves_much("http");
}

#[test]
fn a_tunnel_lets_others_in() {
    others_are_served_while_one_moves_much("tcp");
}
