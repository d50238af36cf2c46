//! Active health checks, once for all workers.
//!
//! Owns: asking. Leaves to others: how many answers make a server up or down (`core/balance`). Invariant: a
//! check that failed on our own side says nothing of the server.

use std::{
    future::Future as _,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, PoisonError},
    task::Poll,
    time::Duration,
};

use evenkeel_balance::{Checker, Outcome, Probed, Verdict, next_check};
use evenkeel_config::balancer::{HealthCheck, Probe, Protocol, ProxyVersion};
use evenkeel_http1::{Method, Parsed, parse_response};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::{
    clock::Clock,
    net::wire,
    plan::Plan,
    pool::{connect_failure, datagram, ports::Towards},
    proxied::Announcement,
    shared::{LastCheck, PoolShared},
};

/// Longest head of an answer to a check: what Apache httpd allows a request's fields, and ample.
const MAX_HEAD: usize = 16 * 1024;

/// The checks that run; they end when this is dropped.
#[derive(Default)]
pub(crate) struct Checks(Vec<PoolChecks>);

/// How servers are spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// The header that comes first.
    announce: Option<ProxyVersion>,
    protocol: Protocol,
}

/// The checks of one pool.
struct PoolChecks {
    pool: Arc<PoolShared>,
    settings: HealthCheck,
    way: Way,
    _tasks: JoinSet<()>,
}

impl Checks {
    /// Checks the servers of this plan from now on. Where a pool and what is asked of it stay, its checks go on in
    /// their rhythm: however often a configuration is reloaded, a server is asked no more often than it says.
    pub(crate) fn follow(&mut self, plan: &Plan, clock: Clock) {
        let mut before = std::mem::take(&mut self.0);
        let checks = |(settings, pool): (&evenkeel_config::balancer::Pool, &Arc<PoolShared>)| {
            let way = Way {
                announce: settings.proxy_protocol.map(|sent| sent.version),
                protocol: settings.protocol,
            };
            let settings = &settings.health_check;
            let same = |known: &PoolChecks| {
                Arc::ptr_eq(&known.pool, pool) && known.settings == *settings && known.way == way
            };
            match before.iter().position(same) {
                Some(at) => before.swap_remove(at),
                None => PoolChecks::start(pool, (settings, way), clock),
            }
        };
        self.0 = plan.config.pools().iter().zip(&plan.pools).map(checks).collect();
    }
}

impl PoolChecks {
    fn start(pool: &Arc<PoolShared>, (settings, way): (&HealthCheck, Way), clock: Clock) -> Self {
        let mut tasks = JoinSet::new();
        for position in 0..pool.servers.len() {
            tasks.spawn(check(Arc::clone(pool), position, (settings.clone(), way), clock));
        }
        Self { pool: Arc::clone(pool), settings: settings.clone(), way, _tasks: tasks }
    }
}

/// Checks one server for ever.
async fn check(pool: Arc<PoolShared>, position: usize, (settings, way): (HealthCheck, Way), clock: Clock) {
    let server = Arc::clone(&pool.servers[position]);
    let mut checker = server
        .checker
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        // Not taken out: a check that a reload cuts short must not lose what was counted before.
        .clone()
        .unwrap_or_else(|| Checker::new(&settings));
    checker.set(&settings);
    loop {
        let began = clock.now();
        let asked = probe((&settings, way), &pool, position);
        let result = tokio::time::timeout(settings.timeout, asked).await;
        let (probed, words) =
            result.unwrap_or_else(|_| (Probed::Failed, format!("no answer within {:?}", settings.timeout)));
        let took = clock.now().since(began);
        if let Some(verdict) = checker.record(probed) {
            tell(&pool, position, verdict, &words);
        }
        *server.checker.lock().unwrap_or_else(PoisonError::into_inner) = Some(checker.clone());
        *server.last_check.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(LastCheck { at: began, took, result: words });
        // The low bits of the clock are as good as chance for spreading checks.
        let random = clock.now().as_nanos() ^ (position as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let next = next_check(began, settings.interval, random >> 3);
        tokio::time::sleep(next.since(clock.now()).max(Duration::from_millis(1))).await;
    }
}

fn tell(pool: &PoolShared, position: usize, verdict: Verdict, words: &str) {
    let server = &pool.servers[position];
    match verdict {
        Verdict::Up => tracing::info!(pool = pool.name, server = server.name, "server is up: {words}"),
        Verdict::Down => tracing::warn!(pool = pool.name, server = server.name, "server is down: {words}"),
    }
    pool.publish(position, verdict);
}

/// Asks once; what came of it, for the count and in words.
async fn probe((settings, way): (&HealthCheck, Way), pool: &PoolShared, position: usize) -> (Probed, String) {
    let mut address = pool.servers[position].address;
    if let Some(port) = settings.port {
        address.set_port(port.get());
    }
    if let Probe::Udp { payload, expect } = &settings.probe {
        return datagram::probe(address, payload, expect).await;
    }
    let mut stream = match connect(&pool.ways[position], address).await {
        Ok(stream) => stream,
        Err(error) => {
            return unasked(&error, "no connection");
        }
    };
    if let Some(version) = way.announce {
        // Servers that expect a header take no connection without one.
        let header = Announcement::of_ourselves(version);
        if let Err(error) = stream.write_all(header.bytes()).await {
            return unasked(&error, "connection failed");
        }
    }
    let Some(back) = &pool.servers[position].tls else {
        return converse((&settings.probe, way.protocol), stream, address).await;
    };
    match back.connect(address, stream).await {
        Ok(stream) => converse((&settings.probe, way.protocol), stream, address).await,
        Err(error) => (Probed::Failed, format!("no TLS session: {error}")),
    }
}

/// Connects as requests do, from the first source that has a port.
async fn connect(ways: &[Arc<Towards>], address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut last = None;
    for source in ways.iter().map(|towards| towards.source) {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let bound = source.map_or(Ok(()), |source| wire::bind(&socket, source));
        let connected = match bound {
            Ok(()) => socket.connect(address).await,
            Err(error) => Err(error),
        };
        match connected {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
}

/// Asks over a connection.
async fn converse(
    (probe, protocol): (&Probe, Protocol),
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
) -> (Probed, String) {
    let Probe::Http { path, least, most } = probe else {
        return (Probed::Passed, "connection accepted".to_owned());
    };
    let asked = match protocol {
        Protocol::Http1 => ask(stream, path, &address.to_string()).await,
        Protocol::Http2 => ask_http2(stream, path, &address.to_string()).await,
    };
    match asked {
        Ok(status) if (*least..=*most).contains(&status) => (Probed::Passed, format!("status {status}")),
        Ok(status) => (Probed::Failed, format!("status {status}, not {least} to {most}")),
        Err(error) => (Probed::Failed, error),
    }
}

/// The status that `GET path` is answered with in HTTP/2.
async fn ask_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    host: &str,
) -> Result<u16, String> {
    let failed = |error: h2::Error| format!("connection failed: {error}");
    let request = http::Request::builder()
        .uri(format!("http://{host}{path}"))
        .header("user-agent", "evenkeel-health-check")
        .body(())
        .map_err(|error| format!("cannot be asked: {error}"))?;
    let (mut requests, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    let (mut response, _) = requests.send_request(request, true).map_err(failed)?;
    let mut connection = pin!(connection);
    std::future::poll_fn(|context| {
        let ended = connection.as_mut().poll(context);
        match (Pin::new(&mut response).poll(context), ended) {
            (Poll::Ready(answer), _) => {
                Poll::Ready(answer.map(|answer| answer.status().as_u16()).map_err(failed))
            }
            (Poll::Pending, Poll::Ready(_)) => Poll::Ready(Err("closed without an answer".to_owned())),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// A check that could not be made, by what the system said.
pub(super) fn unasked(error: &std::io::Error, what: &str) -> (Probed, String) {
    match connect_failure(error) {
        Outcome::Local(cause) => (Probed::Local(cause), format!("not asked: {error}")),
        Outcome::Failed(_) | Outcome::Served | Outcome::Overtaken | Outcome::ClientGone => {
            (Probed::Failed, format!("{what}: {error}"))
        }
    }
}

/// The status that `GET path` is answered with.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, host: &str) -> Result<u16, String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evenkeel-health-check\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: std::io::Error| format!("connection failed: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 2048];
        let length = stream.read(&mut piece).await.map_err(failed)?;
        head.extend_from_slice(&piece[..length]);
        match parse_response(&head, MAX_HEAD, Method::Get) {
            Ok(Parsed::Head(head)) => return Ok(head.status),
            Ok(Parsed::Partial) if length > 0 => {}
            Ok(Parsed::Partial) => return Err("closed without an answer".to_owned()),
            Err(error) => return Err(format!("not HTTP: {error}")),
        }
    }
}
