//! Connections to servers that speak HTTP/2: few, each with many requests at once.
//!
//! Owns: how many there are, which one the next request takes, and when one is given up. Leaves to others: which server is
//! next (`core/balance`), what is said on a stream (`forward`). Invariants: no connection has more requests than the
//! server allows; one that the server is about to close takes no more; one that answers no PING is dead.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use evenkeel_balance::{Failure, LocalCause, Outcome, ServerIndex};
use evenkeel_units::Instant;
use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};
use tokio::sync::Notify;

use super::{PoolState, Reuse, Waits, Way, deadline};
use crate::{
    http2::{
        carrier::{Carrier, Line},
        settings,
    },
    net::{
        socket::Socket,
        sweep::{Phase, Watch},
    },
    tls::{
        front::HTTP2,
        handshake::{Reason, Unshaken},
    },
    worker::Worker,
};

/// Requests on one connection at once, where the server allows as many: what most servers allow.
const STREAMS_PER_LINK: usize = 100;

/// Most connections of one worker to one server: 800 requests at once, more than three times what a server is given at
/// all by default.
const MAX_LINKS: usize = 8;

/// Content of an answer that may be under way on one stream. In the same house, with 0.5 ms there and back, 64 KiB are
/// 128 MB/s.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Content of all streams of a connection: as much as all of them may have, so that clients that read slowly hold up no
/// others. 100 × 64 KiB = 6.25 MiB at most, and only while so many clients read slowly.
const LINK_WINDOW: u32 = STREAMS_PER_LINK as u32 * STREAM_WINDOW;

/// How long a connection without a request stays: a server's GOAWAY tells in time that it goes, so it may stay longer
/// than one of HTTP/1.1; as long as a browser's.
const LINK_IDLE: Duration = Duration::from_secs(60);

/// From one PING to the next: dead connections are found within 15 s, where the kernel needs 15 minutes (tcp_retries2).
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long the answer to a PING may take; servers answer it past everything else.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server is said to have done that speaks TLS and knows nothing of HTTP/2.
pub(super) const NOT_CHOSEN: &str = "the server did not choose HTTP/2 in the handshake (ALPN `h2`)";

/// The connections of one worker to one server.
#[derive(Default)]
pub(super) struct Links {
    links: RefCell<Vec<Rc<Link>>>,
    /// Connections that are being made.
    dialing: Cell<usize>,
    /// Something changed for who waits.
    changed: Notify,
}

impl Links {
    /// Takes the connections of a pool that is replaced, but for those that some of its requests still wait for.
    pub(super) fn adopt(&self, before: &Self) {
        let mut before = before.links.borrow_mut();
        self.links.borrow_mut().extend(before.extract_if(.., |link| link.stage.get() == Stage::Open));
    }

    /// Whether a connection is about to be of use.
    fn is_opening(&self) -> bool {
        self.dialing.get() > 0 || self.links.borrow().iter().any(|link| link.stage.get() == Stage::Opening)
    }
}

/// One connection.
pub(crate) struct Link {
    requests: RefCell<SendRequest<Bytes>>,
    active: Cell<usize>,
    stage: Cell<Stage>,
    used: Cell<Instant>,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What the server allows is not known yet.
    Opening,
    Open,
    /// It takes no more requests.
    Spent,
}

impl Link {
    fn has_room(&self) -> bool {
        let most = self.requests.borrow().current_max_send_streams().min(STREAMS_PER_LINK);
        self.stage.get() == Stage::Open && self.active.get() < most
    }

    fn is_needed(&self, now: Instant) -> bool {
        match self.stage.get() {
            Stage::Opening => true,
            Stage::Open => self.active.get() > 0 || now.since(self.used.get()) < LINK_IDLE,
            Stage::Spent => false,
        }
    }
}

/// A place for one request on a connection.
pub(crate) struct Linked {
    link: Rc<Link>,
    pool: Rc<PoolState>,
    server: ServerIndex,
    /// How long the request waited for it.
    pub(crate) waits: Waits,
    /// When the request was sent, where the time of its answer matters.
    pub(crate) asked: Option<Instant>,
}

impl AsMut<Waits> for Linked {
    fn as_mut(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

/// A stream of a connection that many requests share.
pub(crate) struct Shared<'a>(pub(crate) &'a Worker);

impl Way for Shared<'_> {
    type Connection = Linked;

    fn kept(&self, pool: &Rc<PoolState>, server: ServerIndex, _: Instant) -> Option<Linked> {
        pool.linked(server)
    }

    async fn made(
        &self,
        pool: &Rc<PoolState>,
        server: ServerIndex,
        watch: &Watch,
    ) -> Result<Linked, Outcome> {
        pool.link(self.0, server, watch).await
    }
}

impl Linked {
    /// A handle to send the request with.
    pub(crate) fn requests(&self) -> SendRequest<Bytes> {
        self.link.requests.borrow().clone()
    }

    /// The server said that it takes no more requests on this connection.
    pub(crate) fn spend(&self) {
        self.link.stage.set(Stage::Spent);
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.link.active.set(self.link.active.get() - 1);
        self.link.used.set(self.pool.clock.now());
        self.pool.links[self.server.position()].changed.notify_waiters();
    }
}

impl PoolState {
    /// A place on the connection with the fewest requests, when one has room.
    pub(super) fn linked(self: &Rc<Self>, server: ServerIndex) -> Option<Linked> {
        let links = self.links[server.position()].links.borrow();
        let open = links.iter().filter(|link| link.has_room());
        let link = Rc::clone(open.min_by_key(|link| link.active.get())?);
        link.active.set(link.active.get() + 1);
        Some(Linked { link, pool: Rc::clone(self), server, waits: Waits::default(), asked: None })
    }

    /// A place on a connection that is made, or on the first that has room again.
    pub(super) async fn link(
        self: &Rc<Self>,
        worker: &Worker,
        server: ServerIndex,
        watch: &Watch,
    ) -> Result<Linked, Outcome> {
        let known = &self.links[server.position()];
        watch.set(Phase::Busy, deadline(self.clock.now(), self.connect));
        let mut late = Outcome::Failed(Failure::ConnectTimeout);
        loop {
            known.links.borrow_mut().retain(|link| link.stage.get() != Stage::Spent);
            if let Some(linked) = self.linked(server) {
                return Ok(linked);
            }
            // Who comes while a connection is made waits for it, rather than that each makes one.
            if !known.is_opening() && known.links.borrow().len() < MAX_LINKS {
                known.dialing.set(known.dialing.get() + 1);
                let made = self.dial_link(worker, server, watch).await;
                known.dialing.set(known.dialing.get() - 1);
                if let Ok(link) = &made {
                    known.links.borrow_mut().push(Rc::clone(link));
                }
                known.changed.notify_waiters();
                match made {
                    Ok(_) => continue,
                    // There are connections, if no further one: the first that has room will do.
                    Err(outcome @ Outcome::Local(LocalCause::SourcePorts))
                        if known.links.borrow().iter().any(|link| link.stage.get() == Stage::Open) =>
                    {
                        late = outcome;
                    }
                    Err(outcome) => return Err(outcome),
                }
            }
            let changed = known.changed.notified();
            watch.guard(changed).await.map_err(|_| late)?;
        }
    }

    async fn dial_link(
        &self,
        worker: &Worker,
        server: ServerIndex,
        watch: &Watch,
    ) -> Result<Rc<Link>, Outcome> {
        let socket = self.dial(server, watch, Reuse::Fresh).await?;
        let chosen = socket.session().map(|session| session.common().alpn_protocol() == Some(HTTP2));
        if chosen == Some(false) {
            // A server that speaks TLS must choose HTTP/2 in the handshake (RFC 9113 §3.2).
            let unshaken = Unshaken { reason: Reason::Protocol, words: NOT_CHOSEN.to_owned() };
            self.shared.servers[server.position()].tls_failed(&self.shared.name, &unshaken);
            return Err(Outcome::Failed(Failure::Handshake));
        }
        let line = Line::new(socket, self.clock, Vec::new(), None);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(LINK_WINDOW)
            .initial_max_send_streams(STREAMS_PER_LINK)
            .max_frame_size(settings::MAX_FRAME_BYTES)
            .max_header_list_size(settings::ANSWER_HEAD_BYTES)
            .header_table_size(settings::HEADER_TABLE_BYTES)
            .max_send_buffer_size(settings::SEND_BUFFER_BYTES)
            .max_concurrent_reset_streams(settings::RESET_STREAMS)
            .reset_stream_duration(settings::RESET_MEMORY);
        let shaken = builder.handshake::<_, Bytes>(Carrier(Rc::clone(&line))).await;
        let (requests, connection) = shaken.map_err(|_| Outcome::Failed(Failure::Closed))?;
        let now = self.clock.now();
        let link = Rc::new(Link {
            requests: RefCell::new(requests),
            active: Cell::new(0),
            stage: Cell::new(Stage::Opening),
            used: Cell::new(now),
        });
        let links = Rc::downgrade(&self.links[server.position()]);
        let driver = Driver { connection, line, link: Rc::downgrade(&link), links };
        tokio::task::spawn_local(driver.run(self.clock, worker.sweep.watch()));
        Ok(link)
    }

    /// Gives up connections that nobody needs.
    pub(super) fn tick_links(&self, now: Instant) {
        for known in &self.links {
            known.links.borrow_mut().retain(|link| link.is_needed(now));
        }
    }
}

/// What moves the bytes of a connection.
struct Driver {
    connection: Connection<Carrier<Socket>, Bytes>,
    line: Rc<Line<Socket>>,
    link: Weak<Link>,
    links: Weak<Links>,
}

impl Driver {
    /// Runs until the connection has ended.
    async fn run(mut self, clock: crate::clock::Clock, watch: Rc<Watch>) {
        let mut pings = self.connection.ping_pong();
        // What the server allows comes before its answer to the first PING (RFC 9113 §3.4).
        let mut awaited = ask(&mut pings);
        watch.set(Phase::Busy, clock.now() + PING_TIMEOUT);
        std::future::poll_fn(|context| {
            let ended = std::pin::Pin::new(&mut self.connection).poll(context).is_ready();
            let broken = matches!(self.line.flush(context), Poll::Ready(Err(_)));
            if ended || broken {
                return Poll::Ready(());
            }
            if let Some(pings) = &mut pings
                && pings.poll_pong(context).is_ready()
            {
                awaited = false;
                self.enter(Stage::Open);
                watch.set(Phase::Busy, clock.now() + PING_INTERVAL);
            }
            if watch.poll_expired(context).is_pending() {
                return Poll::Pending;
            }
            if awaited || !ask(&mut pings) {
                return Poll::Ready(());
            }
            awaited = true;
            watch.set(Phase::Busy, clock.now() + PING_TIMEOUT);
            let _ = watch.poll_expired(context);
            // The question is sent with the next poll.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.enter(Stage::Spent);
    }

    fn enter(&self, stage: Stage) {
        if let Some(link) = self.link.upgrade()
            && link.stage.get() != Stage::Spent
        {
            link.stage.set(stage);
        }
        if let Some(links) = self.links.upgrade() {
            links.changed.notify_waiters();
        }
    }
}

/// Asks whether the server is there; whether that could be asked.
fn ask(pings: &mut Option<PingPong>) -> bool {
    pings.as_mut().is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok())
}
