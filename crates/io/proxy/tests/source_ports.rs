//! Source ports that run out, in a network namespace with few of them: the evening for which this product was made.
//!
//! Needs the right to make a network namespace; where that is missing each test prints `SKIPPED` with the reason.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    sync::{Barrier, Mutex, mpsc},
    thread,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use support::{
    Client, Peer, Plane,
    both::{self, Over},
    eventually, sample, server,
};

/// Ports that there are in the namespace; an even number, for of an odd one the kernel looks at all but a random one.
const PORTS: usize = 42;

/// However slow the machine is.
const PATIENT: &str = "[pool.limits]\nqueue_deadline = \"20s\"\n";

/// As for every test, but with one health check only: each takes a port.
fn config(mode: &str, servers: &[SocketAddr], pool: &str, rest: &str) -> String {
    support::config(mode, servers, pool, rest).replace("interval = \"10s\"", "interval = \"10m\"")
}

/// Runs a test on a thread in a network namespace of its own.
fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return println!("SKIPPED: no network namespace can be made here: {error}");
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !up.is_ok_and(|status| status.success()) {
            return println!("SKIPPED: `ip link set lo up` does not work here");
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// From now on this namespace has few ports.
fn shrink() {
    let last = 40_000 + PORTS - 1;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("40000 {last}")).unwrap();
}

/// A server that answers after `pause` and closes each connection, as one without keep-alive does.
fn closing(pause: Duration) -> SocketAddr {
    server(move |mut peer| {
        if peer.head().is_some() {
            thread::park_timeout(pause);
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            let _ = std::io::Write::write_all(&mut peer.stream, answer);
        }
    })
}

/// A client whose connection goes from one of many addresses, so that clients have ports in plenty.
fn client(plane: SocketAddr, number: usize) -> Client {
    let source = Ipv4Addr::new(127, 1, 0, u8::try_from(1 + number % 200).unwrap());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    setsockopt(&socket, IpBindAddressNoPort, &true).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&plane.into()).unwrap();
    Client(Peer::new(TcpStream::from(socket)))
}

/// 120 clients that send five requests each, all at once; the statuses that they got.
fn surge(plane: &Plane) -> Vec<u16> {
    let address = plane.address();
    let clients = (0..120).map(|number| {
        thread::spawn(move || {
            let mut client = client(address, number);
            (0..5).map(|_| client.get("/").status).collect::<Vec<_>>()
        })
    });
    let clients: Vec<_> = clients.collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

fn metric(plane: &Plane, name: &str) -> u64 {
    sample(&plane.admin("/metrics").1, &format!("{name}{{pool=\"app\",server=\"s0\"}}"))
}

/// The founding outage: 42 source ports, 120 clients, 600 requests on fresh connections towards a healthy server.
#[test]
fn a_surge_beyond_the_source_ports_waits_and_every_request_is_answered() {
    in_a_namespace(|| {
        let text = config("http", &[closing(Duration::from_millis(40))], PATIENT, "");
        let plane = Plane::start(&text, 2);
        shrink();
        // The kernel's settings are read with each plan.
        plane.apply(&format!("{text}\n")).unwrap();
        assert_eq!(metric(&plane, "evenkeel_server_source_ports"), PORTS as u64);
        let statuses = surge(&plane);
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 600, "{statuses:?}");
        assert!(metric(&plane, "evenkeel_server_source_ports_refused_total") > 0, "it was that tight");
        let status = plane.admin("/status").1;
        assert!(status.contains("\"state\":\"usable\"") && !status.contains("ejected"), "{status}");
        assert!(status.contains("\"failures\":0"), "no server is blamed: {status}");
        eventually("all ports are back", || {
            (metric(&plane, "evenkeel_server_source_ports_open") == 0).then_some(())
        });
    });
}

/// Other programs have ports too, of which the ledger knows nothing.
#[test]
fn what_the_kernel_refuses_before_the_ledger_does_waits_as_well() {
    in_a_namespace(|| {
        let text = config("http", &[closing(Duration::from_millis(10))], PATIENT, "");
        let plane = Plane::start(&text, 2);
        shrink();
        // A port that somebody listens on is none to connect from.
        let others: Vec<_> = (40_000..40_012)
            .filter_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok())
            .collect();
        assert!(others.len() > 8, "a few may be taken already");
        plane.apply(&format!("{text}\n")).unwrap();
        let statuses = surge(&plane);
        assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 600, "{statuses:?}");
        assert!(!plane.admin("/status").1.contains("ejected"));
        drop(others);
    });
}

/// A server that holds each connection until it is closed, and tells from where it came.
fn holding() -> (SocketAddr, mpsc::Receiver<IpAddr>) {
    let (told, from) = mpsc::channel();
    let told = Mutex::new(told);
    let address = server(move |mut peer| {
        let source = peer.stream.peer_addr().unwrap().ip();
        // A health check says nothing.
        if !peer.take(1).is_empty() {
            told.lock().unwrap().send(source).unwrap();
            peer.take(1);
        }
    });
    (address, from)
}

const LOG: &str = "[access_log]\npath = \"-\"\n";

#[test]
fn connections_spread_over_the_sources_and_one_that_finds_no_port_waits_for_one_and_says_why_it_failed() {
    in_a_namespace(|| {
        let (address, from) = holding();
        let folder = tempfile::tempdir().unwrap();
        let log = LOG.replace('-', &folder.path().join("access.log").display().to_string());
        let pool = "source = [\"127.0.0.5\", \"127.0.0.6\"]\n";
        let limits = "[pool.limits]\nqueue_deadline = \"3s\"\n";
        let text =
            config("tcp", &[address], limits, &log).replacen("policy =", &format!("{pool}policy ="), 1);
        let plane = Plane::start(&text, 1);
        shrink();
        plane.apply(&format!("{text}\n")).unwrap();
        eventually("the health check has gone", || {
            let status = plane.admin("/status").1;
            status.contains("connection accepted").then_some(())
        });
        let mut held = Vec::new();
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for number in 0..2 * PORTS {
            let mut client = client(plane.address(), number);
            client.send(b"x");
            let source = from.recv_timeout(support::PATIENCE);
            let source = source.unwrap_or_else(|_| panic!("{number}: {}", plane.admin("/status").1));
            *counts.entry(source).or_default() += 1;
            held.push(client);
        }
        let all: Vec<_> = counts.into_iter().collect();
        assert_eq!(all, [([127, 0, 0, 5].into(), PORTS), ([127, 0, 0, 6].into(), PORTS)]);
        let status = plane.admin("/status").1;
        let full = format!("{{\"source\":\"127.0.0.6\",\"open\":{PORTS},\"time_wait\":0,\"all\":{PORTS},");
        assert!(status.contains(&full), "{status}");
        // One more waits in vain, and says for what.
        let mut late = client(plane.address(), 150);
        late.send(b"x");
        let line = eventually("the line of who waited", || {
            let text = fs::read_to_string(folder.path().join("access.log")).ok()?;
            text.ends_with('\n').then_some(text)
        });
        assert!(line.contains("\"cause\":\"source_ports_exhausted\",\"retries_ended\":\"queue\""), "{line}");
        assert!(plane.admin("/status").1.contains("\"unserved\":{\"source_ports_exhausted\":1}"));
        // Another waits until one is given back.
        let mut next = client(plane.address(), 151);
        next.send(b"x");
        // The client's end is passed on, so the box closes first: that port is in TIME-WAIT, and not yet given back.
        drop(held.pop());
        from.recv_timeout(support::PATIENCE).expect("on loopback the kernel takes it again after a second");
        assert!(!plane.admin("/status").1.contains("\"state\":\"ejected\""));
    });
}

/// The ledger's TIME-WAIT beside the kernel's.
#[test]
fn ports_in_time_wait_are_counted_as_the_kernel_counts_them() {
    in_a_namespace(|| {
        fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0").unwrap();
        let (holding, from) = holding();
        let closing = closing(Duration::ZERO);
        let text = config("tcp", &[holding], "", "");
        let second =
            "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"other\"\n";
        let other = format!(
            "{second}[[pool]]\nname = \"other\"\n[[pool.server]]\nname = \"s0\"\naddress = \"{closing}\"\n"
        );
        let plane = Plane::start(&format!("{text}{other}"), 2);
        // The box closes first, because its client does.
        for number in 0..20 {
            let mut client = client(plane.address(), number);
            client.send(b"x");
            from.recv_timeout(support::PATIENCE).unwrap();
        }
        eventually("all have ended", || {
            (metric(&plane, "evenkeel_server_source_ports_open") == 0).then_some(())
        });
        assert_eq!(metric(&plane, "evenkeel_server_source_ports_time_wait"), 20);
        assert_kernel_agrees(20, holding);
        // The server closes first, or both do.
        for number in 0..20 {
            assert_eq!(client(plane.listener("second"), number).get("/").status, 200);
        }
        let metrics = plane.admin("/metrics").1;
        let waiting = "evenkeel_server_source_ports_time_wait{pool=\"other\",server=\"s0\"}";
        assert_kernel_agrees(sample(&metrics, waiting), closing);
    });
}

/// The kernel has one more at most: that of the health check.
fn assert_kernel_agrees(ledger: u64, server: SocketAddr) {
    let kernel = kernel_time_wait(server) as u64;
    assert!((ledger..=ledger + 1).contains(&kernel), "{kernel} by the kernel, {ledger} by the ledger");
}

/// Connections of ours towards `server` that are in TIME-WAIT.
fn kernel_time_wait(server: SocketAddr) -> usize {
    const TIME_WAIT: &str = "06";
    let SocketAddr::V4(server) = server else { panic!("an address of IPv4") };
    let remote = format!("{:08X}:{:04X}", u32::from_ne_bytes(server.ip().octets()), server.port());
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    table
        .lines()
        .filter(|line| {
            let mut columns = line.split_whitespace().skip(2);
            columns.next() == Some(&remote) && columns.next() == Some(TIME_WAIT)
        })
        .count()
}

/// How a server saw a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    InOrder,
    Reset,
}

/// Waits for the end of a connection, whatever comes before it.
fn ending(stream: &mut TcpStream) -> Ending {
    loop {
        match std::io::Read::read(stream, &mut [0; 64]) {
            Ok(0) => return Ending::InOrder,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ending::Reset,
            Err(error) => panic!("the connection stays: {error}"),
        }
    }
}

/// A server that answers one request of each connection, before it has read its content, and leaves closing to the other
/// side; it tells how that went.
fn answering_once(
    answer: &'static str,
    before: impl Fn() + Send + Sync + 'static,
) -> (SocketAddr, mpsc::Receiver<Ending>) {
    let (told, endings) = mpsc::channel();
    let told = Mutex::new(told);
    let address = server(move |mut peer| {
        if peer.head().is_none() {
            return;
        }
        before();
        std::io::Write::write_all(&mut peer.stream, answer.as_bytes()).unwrap();
        let ending = ending(&mut peer.stream);
        told.lock().unwrap().send(ending).unwrap();
    });
    (address, endings)
}

fn next(endings: &mpsc::Receiver<Ending>) -> Ending {
    endings.recv_timeout(support::PATIENCE).expect("a connection ends")
}

/// Where each connection left a port in TIME-WAIT, 42 of them would be enough for 42 requests a minute.
#[test]
fn where_ports_are_scarce_a_connection_whose_exchange_is_over_leaves_none_in_time_wait() {
    in_a_namespace(|| {
        fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0").unwrap();
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let (address, endings) = answering_once(answer, || ());
        let text = config("http", &[address], PATIENT, "");
        let plane = Plane::start(&text, 2);
        shrink();
        plane.apply(&format!("{text}\n")).unwrap();
        let enough = PORTS / 2 - 1;
        let mut over_http2 = both::Client::new(&plane, Over::Http2);
        for number in 0..10 * PORTS {
            let answer = match number % 2 {
                0 => client(plane.address(), number).get("/").body,
                _ => over_http2.get("/").body,
            };
            assert_eq!(answer, b"ok", "{number}");
            let wanted = if number < enough { Ending::InOrder } else { Ending::Reset };
            assert_eq!(next(&endings), wanted, "{number}: as long as there are plenty they end in order");
        }
        let waiting = metric(&plane, "evenkeel_server_source_ports_time_wait");
        assert_eq!(waiting, enough as u64);
        assert_kernel_agrees(waiting, address);
        // What the server may not have read is never taken from it.
        for number in 0..5 {
            let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\ncontent";
            assert_eq!(client(plane.address(), number).ask(post).body, b"ok");
            assert_eq!(next(&endings), Ending::InOrder);
        }
        assert_kernel_agrees(waiting + 5, address);
        assert_eq!(metric(&plane, "evenkeel_server_source_ports_refused_total"), 0);
    });
}

#[test]
fn where_ports_are_scarce_kept_connections_that_are_no_more_needed_are_reset_until_they_are_not() {
    const KEPT: usize = 30;
    in_a_namespace(|| {
        fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0").unwrap();
        let all = Barrier::new(KEPT);
        let (address, endings) =
            answering_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", move || _ = all.wait());
        let text = config("http", &[address], PATIENT, "");
        let plane = Plane::start(&text, 1);
        shrink();
        plane.apply(&format!("{text}\n")).unwrap();
        let mut clients: Vec<_> = (0..KEPT).map(|number| client(plane.address(), number)).collect();
        for client in &mut clients {
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer(false).unwrap().body, b"ok");
        }
        // Another server takes its place.
        plane.apply(&config("http", &[support::named("other")], PATIENT, "")).unwrap();
        let count = (0..KEPT).filter(|_| next(&endings) == Ending::Reset).count();
        assert_eq!(count, KEPT - (PORTS / 2 - 1), "below half of the ports they end in order");
    });
}

/// What was over when a connection was kept is not over when it carries the next request.
#[test]
fn where_ports_are_scarce_a_request_that_breaks_off_on_a_kept_connection_ends_in_order() {
    in_a_namespace(|| {
        let (told, endings) = mpsc::channel();
        let told = Mutex::new(told);
        let address = server(move |mut peer| {
            let mut kept = false;
            while let Some(head) = peer.head() {
                if head.starts_with("GET /hold ") {
                    told.lock().unwrap().send(Ending::InOrder).unwrap();
                } else if head.starts_with("GET ") {
                    std::io::Write::write_all(&mut peer.stream, &support::ok(b"ok")).unwrap();
                    kept = true;
                } else {
                    assert!(kept, "the second request comes on the connection of the first");
                    let ending = ending(&mut peer.stream);
                    told.lock().unwrap().send(ending).unwrap();
                }
            }
        });
        let text = config("http", &[address], PATIENT, "");
        let plane = Plane::start(&text, 1);
        shrink();
        plane.apply(&format!("{text}\n")).unwrap();
        let mut others: Vec<_> = (0..PORTS / 2).map(|number| client(plane.address(), number)).collect();
        for other in &mut others {
            other.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
            next(&endings);
        }
        let mut client = client(plane.address(), PORTS);
        assert_eq!(client.get("/").body, b"ok");
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\ncon");
        drop(client);
        assert_eq!(next(&endings), Ending::InOrder);
        drop(others);
    });
}

#[test]
fn a_tunnel_ends_in_order_however_scarce_ports_are() {
    in_a_namespace(|| {
        let (address, endings) = answering_once("hello", || ());
        let text = config("tcp", &[address], PATIENT, "");
        let plane = Plane::start(&text, 1);
        shrink();
        plane.apply(&format!("{text}\n")).unwrap();
        let mut clients: Vec<_> = (0..PORTS - 4).map(|number| client(plane.address(), number)).collect();
        for client in &mut clients {
            client.send(b"anything\r\n\r\n");
            assert_eq!(client.0.take(5), b"hello");
        }
        drop(clients);
        assert!((0..PORTS - 4).all(|_| next(&endings) == Ending::InOrder));
    });
}

#[test]
fn a_source_that_is_not_of_this_box_is_refused_and_nothing_changes() {
    let text = config("http", &[support::named("a")], "", "");
    let plane = Plane::start(&text, 1);
    let foreign = text.replacen("policy =", "source = [\"203.0.113.77\"]\npolicy =", 1);
    let error = plane.apply(&foreign).unwrap_err().sentences().join("\n");
    assert!(error.contains("pool `app`: source `203.0.113.77` is not an address of this box"), "{error}");
    assert_eq!(plane.client().get("/").body, b"a");
    // One of this box is taken, without a reload noticing.
    let ours = text.replacen("policy =", "source = [\"127.0.0.1\"]\npolicy =", 1);
    plane.apply(&ours).unwrap();
    assert_eq!(plane.client().get("/").body, b"a");
    assert!(plane.admin("/status").1.contains("\"source\":\"127.0.0.1\""));
}
