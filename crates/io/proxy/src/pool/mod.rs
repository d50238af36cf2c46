//! A pool as one worker uses it: connections kept for reuse, new ones, and the queue for a free server.
//!
//! Owns: the sockets around `core/balance`. Leaves to others: which server is next. Invariants: a started
//! request is finished exactly once, by [`Lease`]; a connection that spoke while idle is never used again.

mod datagram;
pub(crate) mod discovery;
pub(crate) mod health;
mod hedge;
pub(crate) mod key;
pub(crate) mod links;
mod obtain;
pub(crate) mod ports;
pub(crate) mod room;
pub(crate) mod sticky;
mod succession;
mod tries;

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use evenkeel_balance::{
    Failure, Key, Layout, LocalCause, Outcome, Pick, Pool, Queue, ServerIndex, Tried, Verdict,
};
use evenkeel_config::balancer::{self, Protocol, ProxyField, ProxySent};
use evenkeel_route::StickyCookies;
use evenkeel_units::Instant;
use tokio::sync::oneshot;

use crate::{
    clock::Clock,
    net::{
        socket::Socket,
        sweep::{Phase, SWEEP_INTERVAL, Watch},
    },
    proxied::Announcement,
    shared::{PoolShared, ServerTally},
    tls::handshake,
};
use links::Links;
use ports::{Account, Accounts};
use room::{Made, StalledRequests};
use succession::Successor;

pub(crate) use hedge::Times;
pub(crate) use obtain::{Kept, Waits, Way};
pub(crate) use tries::{Miss, Story, Tries, Unserved, UnservedTally};

/// Most idle connections a worker keeps to one server: what a burst leaves behind beyond that is closed.
const MAX_IDLE: usize = 1024;

/// A connection that waits for its next request.
struct Idle {
    socket: Socket,
    since: Instant,
}

/// A connection to a server, in use.
pub(crate) struct Server {
    pub(crate) socket: Socket,
    /// Whether it carried a request before.
    pub(crate) reused: bool,
    /// What was read and not used yet.
    pub(crate) held: Vec<u8>,
    /// Whether `held` was found to be too little.
    pub(crate) hungry: bool,
    /// When the request had been sent, where the time of its answer matters.
    pub(crate) asked: Option<Instant>,
    /// How long the request waited for it.
    pub(crate) waits: Waits,
}

impl Server {
    fn new(socket: Socket, reused: bool) -> Self {
        Self { socket, reused, held: Vec::new(), hungry: false, asked: None, waits: Waits::default() }
    }
}

impl AsMut<Waits> for Server {
    fn as_mut(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

/// A pool's worker-side state.
pub(crate) struct PoolState {
    pub(crate) shared: Arc<PoolShared>,
    layout: Arc<Layout>,
    times: Times,
    clock: Clock,
    worker: usize,
    balance: RefCell<Pool>,
    seen: Cell<u64>,
    idle: Box<[RefCell<Vec<Idle>>]>,
    /// Of servers that speak HTTP/2.
    links: Box<[Rc<Links>]>,
    /// Of each server that was connected to, the source ports towards it.
    accounts: Box<[OnceCell<Accounts>]>,
    queue: RefCell<Queue<oneshot::Sender<()>>>,
    /// Requests that wait for their clients.
    stalled: StalledRequests,
    connect: Duration,
    keep_idle: Duration,
    queue_deadline: Duration,
    /// What its servers speak.
    pub(crate) protocol: Protocol,
    /// The Host for requests that have none.
    pub(crate) host: String,
    /// By which clients come back to their servers, where they do.
    cookies: RefCell<Option<Arc<StickyCookies>>>,
    /// What took this pool's place in a reload.
    successor: RefCell<Option<Successor>>,
}

impl PoolState {
    /// A pool for worker number `worker`, in the place of `before` after a reload.
    pub(crate) fn new(
        layout: &Arc<Layout>,
        deadlines: &balancer::Deadlines,
        shared: Arc<PoolShared>,
        (worker, part): (usize, evenkeel_balance::Worker),
        (clock, before): (Clock, Option<&Self>),
    ) -> Self {
        let now = clock.now();
        let balance = match before {
            Some(before) => Pool::replacing(&before.balance.borrow(), layout, part, now),
            None => Pool::new(layout, part, now),
        };
        let settings = layout.settings();
        let part_of = |most: u32| usize::try_from(most).unwrap_or(usize::MAX).div_ceil(part.count.get());
        let queue = part_of(settings.limits.queue_length);
        let stalled = part_of(settings.limits.stalled_requests);
        let (connect, keep_idle) = connection_deadlines(deadlines);
        Self {
            clock,
            worker,
            balance: RefCell::new(balance),
            seen: Cell::new(0),
            idle: shared.servers.iter().map(|_| RefCell::new(Vec::new())).collect(),
            links: shared.servers.iter().map(|_| Rc::default()).collect(),
            accounts: shared.servers.iter().map(|_| OnceCell::new()).collect(),
            queue: RefCell::new(Queue::new(queue, settings.limits.queue_deadline)),
            stalled: StalledRequests::new(stalled, before.map(|before| &before.stalled)),
            connect,
            keep_idle,
            queue_deadline: settings.limits.queue_deadline,
            protocol: settings.protocol,
            host: shared.servers.first().map(|server| server.address.to_string()).unwrap_or_default(),
            shared,
            layout: Arc::clone(layout),
            times: Times::of(layout),
            cookies: RefCell::new(None),
            successor: RefCell::new(None),
        }
    }

    /// What this worker counts at a server.
    pub(crate) fn tally(&self, server: ServerIndex) -> &ServerTally {
        &self.shared.servers[server.position()].tallies[self.worker]
    }

    /// The scheme of what its servers are asked for.
    pub(crate) fn scheme(&self) -> &'static str {
        let encrypted = self.shared.servers.first().is_some_and(|server| server.tls.is_some());
        if encrypted { "https" } else { "http" }
    }

    /// The most recently used connection that is still silent (last in, first out: the rest may grow old).
    fn pop(&self, index: ServerIndex, now: Instant) -> Option<Socket> {
        let mut idle = self.idle[index.position()].borrow_mut();
        while let Some(kept) = idle.pop() {
            self.tally(index).idle.down();
            if kept.socket.is_silent() && now.since(kept.since) < self.keep_idle {
                kept.socket.says(ports::Says::More);
                return Some(kept.socket);
            }
        }
        None
    }

    /// A place at the next server for who neither waits nor needs a connection.
    pub(crate) fn place(self: &Rc<Self>, now: Instant, tried: &Tried, key: Key) -> Option<Lease> {
        self.sync(now);
        match self.pick(now, tried, key) {
            Pick::Server(index) => Some(self.lease(index, tried)),
            Pick::Full | Pick::Nobody => None,
        }
    }

    fn lease(self: &Rc<Self>, index: ServerIndex, tried: &Tried) -> Lease {
        self.balance.borrow_mut().start(index, tried);
        self.start_at_successor(index);
        let tally = self.tally(index);
        tally.requests.up();
        tally.active.up();
        Lease { pool: Rc::clone(self), server: index, outcome: Outcome::ClientGone, ended: None }
    }

    async fn dial(&self, index: ServerIndex, watch: &Watch, reuse: Reuse<'_>) -> Result<Socket, Outcome> {
        watch.set(Phase::Busy, self.clock.now() + self.connect);
        let socket = self.connect(index, watch).await?;
        self.announce(&socket, reuse)?;
        self.encrypt(index, socket, watch).await
    }

    /// Connects from the source that has most ports left towards the server; where the kernel finds none there, from the
    /// next.
    async fn connect(&self, index: ServerIndex, watch: &Watch) -> Result<Socket, Outcome> {
        let address = self.shared.servers[index.position()].address;
        loop {
            let found = ports::take(self.accounts(index), self.clock.now());
            let Some((account, port)) = found else { return Err(Outcome::Local(LocalCause::SourcePorts)) };
            self.tally(index).connects.up();
            let connecting = Socket::connect(address, account.source(), port);
            match Box::pin(watch.guard(connecting)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                    account.bar(self.clock.now());
                }
                Ok(Err(error)) => return Err(connect_failure(&error)),
                Err(_) => return Err(Outcome::Failed(Failure::ConnectTimeout)),
            }
        }
    }

    /// The ports that there are towards a server.
    fn accounts(&self, index: ServerIndex) -> &[Rc<Account>] {
        let position = index.position();
        self.accounts[position].get_or_init(|| {
            let ways = self.shared.ways[position].iter();
            ways.map(|towards| Account::of(towards, self.worker, self.clock)).collect()
        })
    }

    /// Gives a server requests again that was left without, once there is a port towards it.
    fn feed(&self, index: ServerIndex, now: Instant) {
        if self.balance.borrow().is_starved(index) && ports::any_left(self.accounts(index), now) {
            self.balance.borrow_mut().feed(index);
        }
    }

    /// Says whom a connection is from, where the servers expect that: before everything else, TLS included.
    fn announce(&self, socket: &Socket, reuse: Reuse<'_>) -> Result<(), Outcome> {
        let Some(sent) = self.announces() else { return Ok(()) };
        let ours;
        let announcement = match reuse {
            Reuse::Announced(announcement) => announcement,
            Reuse::Allowed | Reuse::Fresh => {
                ours = Announcement::of_ourselves(sent.version);
                &ours
            }
        };
        let bytes = announcement.bytes();
        match socket.write(bytes) {
            // A new connection has room for far more than a header.
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) | Err(_) => Err(Outcome::Failed(Failure::Closed)),
        }
    }

    /// Whether servers are told which name a client asked for.
    pub(crate) fn tells_names(&self) -> bool {
        self.announces().is_some_and(|sent| sent.fields.has(ProxyField::Authority))
    }

    /// How the servers expect to be told whom a connection is from, and what else; `None` when they do not.
    pub(crate) fn announces(&self) -> Option<ProxySent> {
        self.balance.borrow().settings().proxy_protocol
    }

    /// Shakes hands with a server, where the pool speaks TLS; the deadline of the connection holds for both.
    async fn encrypt(
        &self,
        index: ServerIndex,
        mut socket: Socket,
        watch: &Watch,
    ) -> Result<Socket, Outcome> {
        let server = &self.shared.servers[index.position()];
        let Some(back) = &server.tls else { return Ok(socket) };
        let shaken = match back.begin(server.address) {
            Ok(side) => Box::pin(handshake::shake(&mut socket, side, watch, None)).await,
            Err(error) => {
                Err(handshake::Unshaken { reason: handshake::Reason::Ours, words: error.to_string() })
            }
        };
        let Err(unshaken) = shaken else { return Ok(socket) };
        server.tls_failed(&self.shared.name, &unshaken);
        Err(match unshaken.reason {
            handshake::Reason::Timeout => Outcome::Failed(Failure::ConnectTimeout),
            _ => Outcome::Failed(Failure::Handshake),
        })
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, index: ServerIndex, socket: Socket, now: Instant) {
        if self.announces().is_some() {
            // It is from one client, and must not carry another's request.
            return;
        }
        if let Some((next, place)) = self.successor(index) {
            // A server that is no more needs no connection.
            return place.map_or((), |place| next.keep(place, socket, now));
        }
        let mut idle = self.idle[index.position()].borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { socket, since: now });
            self.tally(index).idle.up();
            // Who has no port for a new connection can have this one.
            if self.balance.borrow().is_starved(index) {
                self.balance.borrow_mut().feed(index);
            }
        }
    }

    /// Closes the kept connections to a server: one of them was found dead.
    pub(crate) fn forget_kept(&self, index: ServerIndex) {
        if let Some((next, Some(place))) = self.successor(index) {
            return next.forget_kept(place);
        }
        while self.idle[index.position()].borrow_mut().pop().is_some() {
            self.tally(index).idle.down();
        }
    }

    /// Takes in what health checks found and an operator ordered since the last look.
    fn sync(&self, now: Instant) {
        let version = self.shared.version();
        if self.seen.replace(version) == version {
            return;
        }
        let indexes = self.balance.borrow().indexes();
        for (index, server) in indexes.zip(&self.shared.servers) {
            self.balance.borrow_mut().check(now, index, server.verdict());
            self.follow_orders(now, index, server);
        }
    }

    /// Does what only time brings: idle connections grow old, servers return, waiters get a place.
    pub(crate) fn tick(&self, now: Instant) {
        self.sync(now);
        self.balance.borrow_mut().advance(now);
        let old = now.as_nanos().saturating_sub(u64::try_from(self.keep_idle.as_nanos()).unwrap_or(u64::MAX));
        for (position, idle) in self.idle.iter().enumerate() {
            let mut idle = idle.borrow_mut();
            let before = idle.len();
            idle.retain(|kept| kept.since.as_nanos() >= old && kept.socket.is_silent());
            let tally = &self.shared.servers[position].tallies[self.worker];
            (idle.len()..before).for_each(|_| tally.idle.down());
        }
        if !self.is_replaced() {
            let indexes = self.balance.borrow().indexes();
            indexes.for_each(|index| self.feed(index, now));
            self.publish(now);
        }
        self.tick_links(now);
        self.wake(now);
    }

    fn publish(&self, now: Instant) {
        let mut balance = self.balance.borrow_mut();
        while let Some(change) = balance.poll_change() {
            tracing::info!(pool = %self.shared.name, ?change, "pool changed");
        }
        for (server, (_, status)) in self.shared.servers.iter().zip(balance.servers(now)) {
            server.tallies[self.worker].set_view(&status);
        }
    }

    /// Gives a free place, when there is one, to who waits longest.
    fn wake(&self, now: Instant) {
        if self.queue.borrow().is_empty() {
            return;
        }
        // Many that had given way may have taken their places again at once, over the limit.
        while !self.balance.borrow().has_room() {
            if self.make_way(now) == Made::Nothing {
                return;
            }
        }
        let mut queue = self.queue.borrow_mut();
        while queue.expire(now).is_some() {}
        while let Some(waiter) = queue.next(now) {
            if waiter.send(()).is_ok() {
                return;
            }
        }
    }
}

impl Drop for PoolState {
    fn drop(&mut self) {
        for (server, idle) in self.shared.servers.iter().zip(&self.idle) {
            idle.borrow().iter().for_each(|_| server.tallies[self.worker].idle.down());
        }
    }
}

/// A connection of its own for each request, which may have carried others before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reuse<'a> {
    /// Yes.
    Allowed,
    /// No: one such just turned out dead.
    Fresh,
    /// No: it must begin with this, which says whom it is from.
    Announced(&'a Announcement),
}

impl Way for Reuse<'_> {
    type Connection = Server;

    fn kept(&self, pool: &Rc<PoolState>, server: ServerIndex, now: Instant) -> Option<Server> {
        match self {
            Self::Allowed => pool.pop(server, now).map(|socket| Server::new(socket, true)),
            Self::Fresh | Self::Announced(_) => None,
        }
    }

    async fn made(
        &self,
        pool: &Rc<PoolState>,
        server: ServerIndex,
        watch: &Watch,
    ) -> Result<Server, Outcome> {
        pool.dial(server, watch, *self).await.map(|socket| Server::new(socket, false))
    }
}

/// A request's place at a server; giving it up tells the balance how it went.
pub(crate) struct Lease {
    pool: Rc<PoolState>,
    pub(crate) server: ServerIndex,
    /// How it went; until someone knows better, the client left.
    pub(crate) outcome: Outcome,
    /// When it ended, where that is known already.
    ended: Option<Instant>,
}

impl Lease {
    /// The server's name.
    pub(crate) fn name(&self) -> &str {
        &self.pool.shared.servers[self.server.position()].name
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.pool.shared.servers[self.server.position()].address
    }

    /// Whether the checks say that the server does not work.
    pub(crate) fn is_down(&self) -> bool {
        self.pool.shared.servers[self.server.position()].verdict() == Verdict::Down
    }

    /// Ends the request and keeps its connection when that may carry another.
    pub(crate) fn end(mut self, now: Instant, outcome: Outcome, keep: Option<Socket>) {
        self.outcome = outcome;
        self.ended = Some(now);
        if let Some(socket) = keep {
            self.pool.keep(self.server, socket, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(|| self.pool.clock.now());
        let tally = self.pool.tally(self.server);
        tally.active.down();
        match self.outcome {
            Outcome::Failed(failure) => tally.failed(failure),
            Outcome::Local(_) => tally.local_failures.up(),
            Outcome::Overtaken => tally.overtaken.up(),
            Outcome::Served | Outcome::ClientGone => {}
        }
        self.pool.balance.borrow_mut().finish(now, self.server, self.outcome);
        self.pool.feed(self.server, now);
        self.pool.finish_at_successor(now, self.server, self.outcome);
        self.pool.wake(now);
    }
}

/// Who is to blame that a connection did not come about.
pub(crate) fn connect_failure(error: &io::Error) -> Outcome {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => Outcome::Local(LocalCause::SourcePorts),
        Some(libc::EMFILE | libc::ENFILE) => Outcome::Local(LocalCause::Descriptors),
        Some(libc::ENOMEM | libc::ENOBUFS) => Outcome::Local(LocalCause::Memory),
        Some(libc::ECONNREFUSED) => Outcome::Failed(Failure::Refused),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH) => Outcome::Failed(Failure::Unreachable),
        Some(libc::ETIMEDOUT) => Outcome::Failed(Failure::ConnectTimeout),
        _ => Outcome::Failed(Failure::Closed),
    }
}

/// The deadlines that a pool keeps: for connecting, and for how long a connection is kept.
const fn connection_deadlines(deadlines: &balancer::Deadlines) -> (Duration, Duration) {
    (deadlines.connect, deadlines.server_keep_idle)
}

/// A deadline that a coarse sweep may find late but never early.
pub(crate) fn deadline(now: Instant, duration: Duration) -> Instant {
    now + duration.max(SWEEP_INTERVAL)
}
