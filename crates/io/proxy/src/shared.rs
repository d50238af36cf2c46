//! What workers and the control thread both see: counters, and what health checks found.
//!
//! Owns: atomics only. Invariant: each counter has one writer, its worker, which uses plain loads and stores;
//! nothing here is locked or contended while a request is served.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
};

use evenkeel_balance::{Checker, Failure, ServerStatus, Standing, Taken, Verdict};
use evenkeel_config::Weight;
use evenkeel_units::Instant;

use crate::{
    admin::orders::ServerOrder,
    latency::Latency,
    pool::{UnservedTally, ports::Ways},
    proxied::Refused,
    tls::{
        back::Back,
        handshake::{Reason, Unshaken},
    },
};

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more. Only for the thread that owns the counter.
    pub(crate) fn up(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// One less. Only for the thread that owns the counter.
    pub(crate) fn down(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// So many more. Only for the thread that owns the counter.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Another number. Only for the thread that owns it.
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }

    /// The number.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The statuses that the proxy itself answers with.
pub(crate) const OWN_STATUSES: [u16; 13] = [400, 408, 413, 414, 417, 421, 431, 501, 502, 503, 504, 505, 508];

/// Why a datagram went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// There are as many sessions or clients as there may be, or the listener drains.
    SessionLimit,
    /// No server is left to ask, or all have as much as they may have.
    NoServer,
    /// The way to the server has no room.
    ServerRoom,
    /// The way to the client has no room, or the client has gone.
    ClientRoom,
    /// It is longer than the way takes.
    TooLong,
}

impl Dropped {
    /// Every reason with its word for metrics.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::SessionLimit, "session_limit"),
        (Self::NoServer, "no_server"),
        (Self::ServerRoom, "server_room"),
        (Self::ClientRoom, "client_room"),
        (Self::TooLong, "too_long"),
    ];
}

/// What one worker counted at one listener in mode `udp`.
#[derive(Debug, Default)]
pub(crate) struct UdpTally {
    /// Datagrams of clients.
    pub(crate) received: Count,
    pub(crate) received_bytes: Count,
    /// Datagrams to clients.
    pub(crate) sent: Count,
    pub(crate) sent_bytes: Count,
    /// Sessions that went over to another server.
    pub(crate) moved: Count,
    /// As [`Dropped::ALL`].
    pub(crate) dropped: [Count; Dropped::ALL.len()],
}

impl UdpTally {
    /// A datagram went no further.
    pub(crate) fn dropped(&self, why: Dropped) {
        if let Some(at) = Dropped::ALL.iter().position(|&(known, _)| known == why) {
            self.dropped[at].up();
        }
    }
}

/// What one worker counted at one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerTally {
    pub(crate) accepted: Count,
    pub(crate) active: Count,
    /// Of these, those at rest (`lot`).
    pub(crate) resting: Count,
    /// Answers by the first digit of their status, 1 to 5.
    pub(crate) answers: [Count; 5],
    /// Answers of our own, as [`OWN_STATUSES`].
    pub(crate) own: [Count; OWN_STATUSES.len()],
    /// How long answers took.
    pub(crate) took: Latency,
    /// Connections that could not be accepted.
    pub(crate) accept_errors: Count,
    /// TLS sessions begun anew, and those taken up again.
    pub(crate) handshakes: [Count; 2],
    /// Handshakes that came to nothing, as [`Reason::ALL`].
    pub(crate) unshaken: [Count; Reason::ALL.len()],
    /// Connections refused for their PROXY header, as [`Refused::WORDS`].
    pub(crate) proxy_refused: [Count; Refused::WORDS.len()],
    /// Only in mode `udp`.
    pub(crate) udp: UdpTally,
}

impl ListenerTally {
    /// An answer with this status left.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            count.up();
        }
    }

    /// A handshake gave a session, maybe an earlier one.
    pub(crate) fn shaken(&self, resumed: bool) {
        self.handshakes[usize::from(resumed)].up();
    }

    /// A handshake came to nothing.
    pub(crate) fn unshaken(&self, reason: Reason) {
        if let Some(position) = Reason::ALL.iter().position(|&known| known == reason) {
            self.unshaken[position].up();
        }
    }

    /// An answer of our own left.
    pub(crate) fn refused(&self, status: u16) {
        if let Some(position) = OWN_STATUSES.iter().position(|&own| own == status) {
            self.own[position].up();
        }
    }
}

/// What one worker counted at one server.
#[derive(Debug, Default)]
pub(crate) struct ServerTally {
    pub(crate) requests: Count,
    pub(crate) active: Count,
    pub(crate) connects: Count,
    pub(crate) idle: Count,
    pub(crate) retries: Count,
    /// Requests sent here because another server took long.
    pub(crate) hedges: Count,
    /// Requests that another server answered first.
    pub(crate) overtaken: Count,
    /// Requests cut off because their clients stood still while others waited for a place.
    pub(crate) cut_stalled: Count,
    pub(crate) local_failures: Count,
    /// As [`Failure::ALL`].
    pub(crate) failures: [Count; Failure::ALL.len()],
    standing: AtomicU8,
    /// How long answers take, in µs, as far as the last ones tell; 0 when nothing is known.
    pub(crate) latency_us: Count,
    /// Most that the server is given at once.
    pub(crate) limit: Count,
    /// Its rank by priority and zone.
    pub(crate) rank: Count,
    /// 1 while the worker gives requests to the server.
    pub(crate) taken: Count,
}

const STANDINGS: [Standing; 4] = [Standing::Usable, Standing::Ejected, Standing::Down, Standing::Draining];

impl ServerTally {
    /// The server failed.
    pub(crate) fn failed(&self, failure: Failure) {
        if let Some(position) = Failure::ALL.iter().position(|&known| known == failure) {
            self.failures[position].up();
        }
    }

    /// Tells the others how this worker sees the server.
    pub(crate) fn set_view(&self, status: &ServerStatus) {
        let position = STANDINGS.iter().position(|&known| known == status.standing).unwrap_or_default();
        self.latency_us.set(u64::try_from(status.latency.as_micros()).unwrap_or(u64::MAX));
        self.limit.set(u64::from(status.limit.get()));
        self.rank.set(u64::from(status.rank));
        self.taken.set(u64::from(status.taken == Taken::Yes));
        self.standing.store(u8::try_from(position).unwrap_or_default(), Relaxed);
    }

    /// How the worker sees the server.
    pub(crate) fn standing(&self) -> Standing {
        STANDINGS[usize::from(self.standing.load(Relaxed)) % STANDINGS.len()]
    }
}

/// The last health check of a server.
#[derive(Debug, Clone)]
pub(crate) struct LastCheck {
    pub(crate) at: Instant,
    pub(crate) took: std::time::Duration,
    /// What came of it, in words.
    pub(crate) result: String,
}

/// A server, for all threads; it lives on through reloads that keep its name and address.
#[derive(Debug)]
pub(crate) struct ServerShared {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    up: AtomicU8,
    /// An operator lets it finish what it has.
    draining: AtomicBool,
    /// An operator's other weight; 0 for that of the file.
    weight: AtomicU16,
    /// The count of checks; only the control thread uses it, and takes it along through a reload.
    pub(crate) checker: Mutex<Option<Checker>>,
    /// What is encrypted with it; with other keys it is another server, whose connections are new.
    pub(crate) tls: Option<Arc<Back>>,
    /// Why the last handshake with it failed; written only when one fails, which is rare.
    pub(crate) last_tls_fault: Mutex<Option<String>>,
    /// Only the control thread uses it.
    pub(crate) last_check: Mutex<Option<LastCheck>>,
    pub(crate) tallies: Box<[ServerTally]>,
}

impl ServerShared {
    /// A server about which nothing is known, counted by so many workers.
    pub(crate) fn new((name, address): (String, SocketAddr), tls: Option<Arc<Back>>, workers: usize) -> Self {
        let tallies = (0..workers).map(|_| ServerTally::default()).collect();
        Self {
            name,
            address,
            up: AtomicU8::new(1),
            draining: AtomicBool::new(false),
            weight: AtomicU16::new(0),
            checker: Mutex::new(None),
            last_check: Mutex::new(None),
            tls,
            last_tls_fault: Mutex::new(None),
            tallies,
        }
    }

    /// What the checks say.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.up.load(Relaxed) == 1 { Verdict::Up } else { Verdict::Down }
    }

    /// No TLS session came about with it.
    pub(crate) fn tls_failed(&self, pool: &str, unshaken: &Unshaken) {
        let mut last = self.last_tls_fault.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that fails each handshake in the same way is told of once.
        if last.as_ref() != Some(&unshaken.words) {
            let reason = unshaken.reason.label();
            tracing::warn!(
                pool,
                server = self.name,
                reason,
                "no TLS session with the server: {}",
                unshaken.words
            );
            *last = Some(unshaken.words.clone());
        }
    }

    /// Whether an operator lets it finish what it has.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The weight that an operator has given it.
    pub(crate) fn ordered_weight(&self) -> Option<Weight> {
        Weight::new(self.weight.load(Relaxed).into())
    }

    /// The sum of one counter over the workers.
    pub(crate) fn sum(&self, of: impl Fn(&ServerTally) -> &Count) -> u64 {
        self.tallies.iter().map(|tally| of(tally).value()).sum()
    }

    /// The greatest of one number over the workers.
    pub(crate) fn most(&self, of: impl Fn(&ServerTally) -> &Count) -> u64 {
        self.tallies.iter().map(|tally| of(tally).value()).max().unwrap_or(0)
    }
}

/// A pool, for all threads.
#[derive(Debug)]
pub(crate) struct PoolShared {
    pub(crate) name: String,
    pub(crate) servers: Vec<Arc<ServerShared>>,
    /// For each server, from where it is connected to; at least one way.
    pub(crate) ways: Vec<Ways>,
    /// Requests that no server answered; a pool whose servers change takes them along.
    pub(crate) unserved: Arc<[UnservedTally]>,
    version: AtomicU64,
}

impl PoolShared {
    /// A pool of these servers, counted by so many workers, in the place of `before`.
    pub(crate) fn new(
        name: String,
        (servers, ways): (Vec<Arc<ServerShared>>, Vec<Ways>),
        (workers, before): (usize, Option<&Self>),
    ) -> Self {
        let fresh = || (0..workers).map(|_| UnservedTally::default()).collect();
        let unserved = before.map_or_else(fresh, |before| Arc::clone(&before.unserved));
        Self { name, servers, ways, unserved, version: AtomicU64::new(1) }
    }

    /// Publishes what the checks say of one server.
    pub(crate) fn publish(&self, position: usize, verdict: Verdict) {
        self.servers[position].up.store(u8::from(verdict == Verdict::Up), Relaxed);
        self.version.fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    /// Publishes an operator's order about one server: the next pick of every worker follows it.
    pub(crate) fn order(&self, position: usize, order: ServerOrder) {
        let server = &self.servers[position];
        match order {
            ServerOrder::Drain => server.draining.store(true, Relaxed),
            ServerOrder::Resume => server.draining.store(false, Relaxed),
            ServerOrder::Weight(weight) => server.weight.store(weight.map_or(0, Weight::as_u16), Relaxed),
        }
        self.version.fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    /// Changes whenever a verdict or an order does.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// A listener, for all threads.
#[derive(Debug)]
pub(crate) struct ListenerShared {
    pub(crate) name: String,
    /// Where it listens in fact, when the configuration left the port to the kernel.
    pub(crate) address: SocketAddr,
    /// A listener that a reload moves shares them with the one that it was.
    pub(crate) tallies: Arc<[ListenerTally]>,
}

impl ListenerShared {
    /// A listener counted by so many workers.
    pub(crate) fn new(name: String, address: SocketAddr, workers: usize) -> Self {
        Self { name, address, tallies: (0..workers).map(|_| ListenerTally::default()).collect() }
    }

    /// The same listener at another address, with its counts.
    pub(crate) fn moved_to(&self, address: SocketAddr) -> Self {
        Self { name: self.name.clone(), address, tallies: Arc::clone(&self.tallies) }
    }

    /// The sum of one counter over the workers.
    pub(crate) fn sum(&self, of: impl Fn(&ListenerTally) -> &Count) -> u64 {
        self.tallies.iter().map(|tally| of(tally).value()).sum()
    }
}
