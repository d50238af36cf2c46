//! A data plane in this process, servers for it to talk to, and a client that sees every byte.
#![allow(dead_code, reason = "each test file uses its part of it")]

pub(crate) mod both;
pub(crate) mod http2;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use evenkeel_proxy::{Options, PlanError, Proxy};

/// Longest that anything in a test is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings that make trouble show fast; tests add to them.
pub(crate) const QUICK: &str = "[pool.health_check]\nkind = \"tcp\"\ninterval = \"10s\"\n";

/// A data plane, drained when it goes.
pub(crate) struct Plane {
    proxy: Option<Proxy>,
    pub(crate) folder: tempfile::TempDir,
}

impl Plane {
    /// Balances over `servers` on one listener `web`; `pool` and `rest` are further lines of the configuration.
    pub(crate) fn http(servers: &[SocketAddr], pool: &str, rest: &str) -> Self {
        Self::start(&config("http", servers, pool, rest), 2)
    }

    pub(crate) fn start(config: &str, workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("balancer.toml");
        std::fs::write(&path, config).unwrap();
        let options = Options {
            config: path,
            workers: NonZeroUsize::new(workers).unwrap(),
            control_socket: Some(folder.path().join("proxy.sock")),
            version: "1.2.3",
        };
        let proxy = Proxy::start(options).unwrap_or_else(|error| panic!("{error}"));
        Self { proxy: Some(proxy), folder }
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it runs until it is drained")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy().listener_address("web").expect("the listener is there")
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.proxy().admin_address()
    }

    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.proxy().listener_address(name).expect("the listener is there")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The text of an admin page, and its status.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        let mut client = Client::connect(self.proxy().admin_address());
        let answer = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    pub(crate) fn apply(&self, config: &str) -> Result<(), PlanError> {
        block_on(self.proxy().apply(config.to_owned()))
    }

    pub(crate) fn reload(&self) -> Result<(), PlanError> {
        block_on(self.proxy().reload())
    }

    pub(crate) fn reopen_logs(&self) {
        self.proxy().reopen_logs();
    }

    pub(crate) fn begin_drain(&self) {
        self.proxy().drain();
    }

    /// Waits for the end of a drain.
    pub(crate) fn wait(mut self) {
        self.proxy.take().expect("it runs until it is drained").wait();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.drain();
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A configuration with one listener `web` and one pool of `servers`.
pub(crate) fn config(mode: &str, servers: &[SocketAddr], pool: &str, rest: &str) -> String {
    let servers: String = servers
        .iter()
        .enumerate()
        .map(|(at, address)| format!("[[pool.server]]\nname = \"s{at}\"\naddress = \"{address}\"\n"))
        .collect();
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n{rest}\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n\
         mode = \"{mode}\"\npool = \"app\"\n[[pool]]\nname = \"app\"\npolicy = \"round-robin\"\n{servers}{QUICK}{pool}\n"
    )
}

/// A server whose every connection is handled by `handle` on a thread of its own.
pub(crate) fn server(handle: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(Peer::new(stream)));
        }
    });
    address
}

/// A server that answers each request with what `answer` makes of its head and content, and keeps its connections.
pub(crate) fn answering(answer: impl Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    server(move |mut peer| {
        while let Some(head) = peer.head() {
            let body = peer.body(&head, false);
            let answer = answer(&head, &body);
            if peer.stream.write_all(&answer).is_err() {
                return;
            }
        }
    })
}

/// A server that answers every request with its name.
pub(crate) fn named(name: &'static str) -> SocketAddr {
    answering(move |_, _| ok(name.as_bytes()))
}

/// An address where nobody listens: kept until the process ends, so that no other test is given it. A data plane
/// may bind it all the same, for it shares its ports.
pub(crate) fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A 200 with this content.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// One side of a connection, read by message.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) held: Vec<u8>,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, held: Vec::new() }
    }
}

impl<S: Read> Peer<S> {
    /// One side of a connection on which more than TCP is spoken.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// Reads once; whether anything came.
    pub(crate) fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(length) => {
                    self.held.extend_from_slice(&piece[..length]);
                    return length > 0;
                }
                // A process that was stopped and goes on is told so where it waits with a deadline (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// The next head; `None` at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.held.split_off(at + 4);
                let head = std::mem::replace(&mut self.held, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Exactly `length` bytes, or fewer when the connection ends.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.held.len() < length && self.more() {}
        let rest = self.held.split_off(length.min(self.held.len()));
        std::mem::replace(&mut self.held, rest)
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.held.iter().position(|&byte| byte == b'\n') {
                return String::from_utf8(self.take(at + 1)).unwrap().trim().to_owned();
            }
            assert!(self.more(), "the connection ended within a chunk: {:?}", self.held);
        }
    }

    /// The content that belongs to `head`, without its chunks.
    pub(crate) fn body(&mut self, head: &str, until_close: bool) -> Vec<u8> {
        if let Some(length) = field(head, "content-length") {
            return self.take(length.parse().unwrap());
        }
        let mut body = Vec::new();
        if field(head, "transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.line().split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    while !self.line().is_empty() {}
                    return body;
                }
                body.extend(self.take(size));
                assert_eq!(self.line(), "");
            }
        }
        if until_close {
            while self.more() {}
            body.append(&mut self.held);
        }
        body
    }
}

/// The value of a field of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A client of the data plane.
pub(crate) struct Client<S = TcpStream>(pub(crate) Peer<S>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(Peer::new(TcpStream::connect(address).unwrap()))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.stream.write_all(bytes).unwrap();
    }

    /// The next answer, interim ones included; the answer to HEAD when `bare`.
    pub(crate) fn answer(&mut self, bare: bool) -> Option<Answer> {
        let head = self.0.head()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let none = bare || matches!(status, 100..200 | 204 | 304);
        let body = if none { Vec::new() } else { self.0.body(&head, true) };
        Some(Answer { status, head, body })
    }

    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes());
        self.answer(request.starts_with("HEAD ")).expect("an answer")
    }

    /// `GET path` on a connection that stays.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: site\r\n\r\n"))
    }

    /// Whether the other side has closed in an orderly way, with nothing more to say.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.held.is_empty() && matches!(self.0.stream.read(&mut [0; 1]), Ok(0))
    }
}

/// Waits until `found` gives something.
pub(crate) fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, found)
}

/// Waits so long until `found` gives something.
pub(crate) fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut found: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(began.elapsed() < patience, "{what}: not within {patience:?}");
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The value of a sample of the page of metrics.
pub(crate) fn sample(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in:\n{metrics}")).parse().unwrap()
}

/// Bytes that no two places have alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}
