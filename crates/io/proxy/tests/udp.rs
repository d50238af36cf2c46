//! Mode "udp": sessions with real sockets.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use support::{PATIENCE, Plane, config, eventually, noise, sample};

/// A server that answers each datagram with its name and what came; it stops when told to, and its port closes.
struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn start(name: u8, bind: &str) -> Self {
        let socket = UdpSocket::bind(bind).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut bytes[1..]) {
                if told.load(SeqCst) {
                    return;
                }
                bytes[0] = name;
                // What is as long as a datagram may be comes back without the name.
                let answer = if length == 65_507 { &bytes[1..=length] } else { &bytes[..=length] };
                socket.send_to(answer, from).unwrap();
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    fn stop(&mut self) {
        self.stop.store(true, SeqCst);
        let any = if self.address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        UdpSocket::bind(any).unwrap().send_to(b"", self.address).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends and waits for the answer.
fn ask(client: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    client.send(bytes).unwrap();
    let mut answer = vec![0; 65_536];
    let length = client.recv(&mut answer).unwrap_or_else(|error| panic!("no answer: {error}"));
    answer.truncate(length);
    answer
}

/// Checks say nothing here: only what sessions meet does.
fn plane(servers: &[SocketAddr], listener: &str, pool: &str) -> Plane {
    Plane::start(&text(servers, listener, pool), 2)
}

fn text(servers: &[SocketAddr], listener: &str, pool: &str) -> String {
    config("udp", servers, pool, "")
        .replace("kind = \"tcp\"", "kind = \"udp\"")
        .replace("pool = \"app\"\n", &format!("pool = \"app\"\n[listener.udp]\n{listener}\n"))
}

#[test]
fn a_session_stays_with_its_server_and_others_are_balanced() {
    let servers = [Echo::start(b'a', "127.0.0.1:0"), Echo::start(b'b', "127.0.0.1:0")];
    let plane = plane(&servers.each_ref().map(|server| server.address), "", "");
    let clients: Vec<_> = (0..8).map(|_| client(plane.address())).collect();
    let first: Vec<_> = clients.iter().map(|client| ask(client, b"1")[0]).collect();
    assert!(first.contains(&b'a') && first.contains(&b'b'), "{first:?}");
    for round in 0..10_u8 {
        for (client, server) in clients.iter().zip(&first) {
            assert_eq!(ask(client, &[round]), [*server, round]);
        }
    }
    // A datagram is counted once it has been sent, which its client may see first.
    let metrics = eventually("all answers are counted", || {
        let metrics = plane.admin("/metrics").1;
        let sent = sample(&metrics, "evenkeel_udp_sent_datagrams_total{listener=\"web\"}");
        (sent >= 88).then_some(metrics)
    });
    assert_eq!(sample(&metrics, "evenkeel_client_connections{listener=\"web\"}"), 8);
    assert_eq!(sample(&metrics, "evenkeel_udp_received_datagrams_total{listener=\"web\"}"), 88);
    assert_eq!(sample(&metrics, "evenkeel_udp_sent_datagrams_total{listener=\"web\"}"), 88);
}

#[test]
fn datagrams_of_any_length_pass_whole() {
    let server = Echo::start(b'a', "127.0.0.1:0");
    let plane = plane(&[server.address], "", "");
    let client = client(plane.address());
    for length in [0, 1, 1472, 9000, 65_506] {
        let bytes = noise(length);
        assert!(ask(&client, &bytes) == [b"a", &bytes[..]].concat(), "{length} bytes");
    }
    let longest = noise(65_507);
    assert!(ask(&client, &longest) == longest);
}

#[test]
fn a_session_over_ipv6_is_answered_from_the_address_that_was_asked() {
    let server = Echo::start(b'6', "[::1]:0");
    let config = text(&[server.address], "", "").replace("bind = \"127.0.0.1:0\"", "bind = \"[::]:0\"");
    let plane = Plane::start(&config, 2);
    let client = client(SocketAddr::new("::1".parse().unwrap(), plane.address().port()));
    assert_eq!(ask(&client, b"x"), b"6x");
}

#[test]
fn a_listener_on_all_addresses_answers_from_the_one_that_was_asked() {
    let server = Echo::start(b'4', "127.0.0.1:0");
    let config = text(&[server.address], "", "").replace("bind = \"127.0.0.1:0\"", "bind = \"0.0.0.0:0\"");
    let plane = Plane::start(&config, 2);
    for host in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
        // A connected client takes no answer from another address.
        let client = client(SocketAddr::new(host.parse().unwrap(), plane.address().port()));
        assert_eq!(ask(&client, b"x"), b"4x", "{host}");
    }
}

#[test]
fn a_session_moves_when_its_servers_port_is_closed() {
    let mut servers = [Echo::start(b'a', "127.0.0.1:0"), Echo::start(b'b', "127.0.0.1:0")];
    let plane = plane(&servers.each_ref().map(|server| server.address), "", "");
    let client = client(plane.address());
    let first = ask(&client, b"1")[0];
    servers[usize::from(first - b'a')].stop();
    client.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let other = eventually("an answer of the other server", || {
        // The datagram that found the port closed is lost, as on any way; clients send again.
        client.send(b"2").unwrap();
        let mut answer = [0; 2];
        client.recv(&mut answer).ok().map(|_| answer[0])
    });
    assert_ne!(other, first);
    let metrics = plane.admin("/metrics").1;
    assert_eq!(sample(&metrics, "evenkeel_udp_moved_sessions_total{listener=\"web\"}"), 1);
    let failed = format!(
        "evenkeel_server_failures_total{{pool=\"app\",server=\"s{}\",reason=\"refused\"}}",
        first - b'a'
    );
    assert_eq!(sample(&metrics, &failed), 1);
}

#[test]
fn a_silent_session_ends_and_gives_its_place_back() {
    let server = Echo::start(b'a', "127.0.0.1:0");
    let plane = plane(&[server.address], "idle = \"100ms\"", "");
    let client = client(plane.address());
    ask(&client, b"x");
    let metrics = || plane.admin("/metrics").1;
    eventually("its end", || {
        (sample(&metrics(), "evenkeel_client_connections{listener=\"web\"}") == 0).then_some(())
    });
    assert_eq!(sample(&metrics(), "evenkeel_server_active{pool=\"app\",server=\"s0\"}"), 0);
    assert_eq!(ask(&client, b"y"), b"ay");
    assert_eq!(sample(&metrics(), "evenkeel_client_connections_total{listener=\"web\"}"), 2);
}

#[test]
fn beyond_the_limit_datagrams_of_new_clients_are_dropped_and_counted() {
    let server = Echo::start(b'a', "127.0.0.1:0");
    let plane = Plane::start(&text(&[server.address], "max_sessions = 2", ""), 1);
    let known = [client(plane.address()), client(plane.address())];
    known.iter().for_each(|client| drop(ask(client, b"x")));
    client(plane.address()).send(b"x").unwrap();
    let dropped = "evenkeel_udp_dropped_datagrams_total{listener=\"web\",reason=\"session_limit\"}";
    eventually("the drop", || (sample(&plane.admin("/metrics").1, dropped) == 1).then_some(()));
    assert_eq!(ask(&known[0], b"y"), b"ay");
}

#[test]
fn a_reload_keeps_sessions_and_a_removed_listener_lets_them_settle() {
    let servers = [Echo::start(b'a', "127.0.0.1:0"), Echo::start(b'b', "127.0.0.1:0")];
    let plane = plane(&[servers[0].address], "", "");
    let client = client(plane.address());
    assert_eq!(ask(&client, b"1"), b"a1");
    let bind = format!("bind = \"{}\"", plane.address());
    let with = |servers: &[SocketAddr]| text(servers, "", "").replace("bind = \"127.0.0.1:0\"", &bind);
    // The listener was told to take any port; under its own it is another one, which comes beside it.
    plane.apply(&with(&[servers[1].address])).unwrap();
    let newcomer = self::client(plane.address());
    let answer = eventually("an answer of the new server", || {
        newcomer.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        newcomer.send(b"2").unwrap();
        let mut answer = [0; 2];
        match newcomer.recv(&mut answer) {
            Ok(_) => Some(answer),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(&answer, b"b2");
    let kept = newcomer.local_addr().unwrap();
    plane.apply(&with(&[servers[0].address, servers[1].address])).unwrap();
    assert_eq!(ask(&newcomer, b"3"), b"b3", "{kept} stays with its server through the reload");
    plane.begin_drain();
    plane.wait();
}

#[test]
fn checks_by_datagram_find_a_closed_port_and_a_wrong_answer() {
    let (well, wrong) = (Echo::start(b'a', "127.0.0.1:0"), Echo::start(b'b', "127.0.0.1:0"));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let check = "interval = \"50ms\"\nfall = 1\npayload_hex = \"7131\"\nexpect_hex = \"617131\"\n";
    let config = text(&[well.address, wrong.address, closed], "", "").replace("interval = \"10s\"\n", check);
    let plane = Plane::start(&config, 1);
    let up = |metrics: &str, server: usize| {
        sample(metrics, &format!("evenkeel_server_check_up{{pool=\"app\",server=\"s{server}\"}}"))
    };
    eventually("the verdicts", || {
        let metrics = plane.admin("/metrics").1;
        ((0..3).map(|server| up(&metrics, server)).collect::<Vec<_>>() == [1, 0, 0]).then_some(())
    });
    for _ in 0..6 {
        assert_eq!(ask(&client(plane.address()), b"x"), b"ax");
    }
}
