//! Requests that have HTTP/2 on a side, from a client to whichever server answers.
//!
//! Owns: the order of steps, retries, and what the client is told when no server answers, as `http1::exchange` does for
//! HTTP/1.1 on both sides. Leaves to others: how either side is spoken with (`flow`, `http1`). Invariants: a request is
//! sent again only while nothing of an answer has reached the client, and only if the server did not work on it or
//! repeating it is harmless; both directions move at once, neither faster than the slower side.

mod coded;
pub(crate) mod flow;
pub(crate) mod from_http1;
mod hedge;
mod http1;
mod http2;
pub(crate) mod socket;
pub(crate) mod websocket;

use std::{
    borrow::Cow,
    cell::Cell,
    future::Future,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use evenkeel_balance::{Failure, Outcome};
use evenkeel_config::balancer::Protocol;
use evenkeel_http2::Asked;
use evenkeel_units::Instant;

use crate::{
    access_log,
    client::Client,
    http1::{
        exchange::{Broken, CLIENT_LEFT, CLIENT_STOPPED, SERVER_BROKE_OFF, begin, blame},
        request::{ClientFault, Request},
    },
    net::{
        socket::Socket,
        sweep::{Phase, Watch},
    },
    pool::{
        Kept, Lease, PoolState, Reuse, Server, Times, Tries, Unserved, Waits, Way, deadline, links::Shared,
        room::Room,
    },
    proxied::Announcement,
    route::own::Fixed,
};
use flow::{Answering, Fault, Patience, Source, Stopped};

/// A request, where its content comes from, and where its answer goes.
pub(crate) struct Exchange<'a, U, D> {
    pub(crate) client: &'a Client,
    /// The deadline of the answer.
    pub(crate) watch: &'a Rc<Watch>,
    pub(crate) request: Request,
    /// `None` for a request without content, or all of whose content is with its head.
    pub(crate) up: Option<U>,
    pub(crate) down: D,
    pub(crate) asked: Asked,
}

/// What became of a request.
pub(crate) enum Ended {
    /// A server's answer reached the client, whole.
    Served,
    /// The client is still to be told what its route answers by itself.
    Ruled(Fixed),
    /// The client is still to be told this status for this reason.
    Refused(u16, Cow<'static, str>),
    /// An answer began and is not whole, which the client must be able to see.
    Cut,
    /// Nobody is there to be told anything.
    Gone,
}

/// An answer that reached the client.
struct Served {
    status: u16,
    /// Whether the server's connection may be kept.
    keep: bool,
    sent: u64,
    /// When its head had come.
    at: Instant,
}

/// Which server gave an answer, and what came before that.
struct Servant {
    lease: Lease,
    waits: Waits,
    /// When it was asked, where how long it takes matters.
    asked: Option<Instant>,
    keep: Option<Socket>,
}

/// How an attempt at a server of HTTP/2 went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// As with HTTP/1.1.
    Broken(Broken),
    /// The server is about to close the connection, and did not look at the request.
    Unprocessed,
    /// The server did not want to work on the request now.
    Refused,
    /// The request cannot be said in HTTP/2.
    Unsayable,
    /// The server takes no WebSockets over HTTP/2 (RFC 8441 §3).
    NoWebSockets,
}

impl Failed {
    /// The status that the server gave, or what went wrong in a word.
    const fn told(self) -> (Option<u16>, Option<&'static str>) {
        match self {
            Self::Broken(broken) => broken.told(),
            Self::Unprocessed => (None, Some("not_processed")),
            Self::Refused => (None, Some("refused_stream")),
            Self::Unsayable => (None, Some("not_sayable")),
            Self::NoWebSockets => (None, Some("no_websockets")),
        }
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Connections that may close under one request without its having been looked at, before the server has failed: one
/// that restarts closes each of its connections once.
const MOST_UNPROCESSED: u8 = 3;

/// What a client is told when no server takes its WebSocket.
const NO_WEBSOCKETS: &str = "the server takes no WebSockets over HTTP/2";

/// What a request's route answers without a server, if anything.
async fn settle(request: &mut Request) -> Option<Fixed> {
    let ruled = request.ruled.as_mut()?;
    Box::pin(ruled.settle(request.started)).await
}

/// Serves one request.
pub(crate) async fn run<U: Source, D: Answering>(exchange: &mut Exchange<'_, U, D>) -> Ended {
    if let Some(fixed) = settle(&mut exchange.request).await {
        return Ended::Ruled(fixed);
    }
    if let Some(ruled) = &exchange.request.ruled {
        ruled.mirror(&exchange.client.worker, &exchange.request);
    }
    let pool = begin(exchange.client, &exchange.request, exchange.watch);
    match pool.protocol {
        Protocol::Http1 => over_http1(exchange, &pool).await,
        // Boxed, so that a stream's task has only the room that the other way takes.
        Protocol::Http2 => Box::pin(over_http2(exchange, &pool)).await,
    }
}

async fn over_http1<U: Source, D: Answering>(
    exchange: &mut Exchange<'_, U, D>,
    pool: &Rc<PoolState>,
) -> Ended {
    let mut tries = Tries::NONE;
    let announcement =
        pool.announces().map(|sent| Announcement::of(exchange.client, sent, exchange.request.id.as_deref()));
    let mut reuse = announcement.as_ref().map_or(Reuse::Allowed, Reuse::Announced);
    loop {
        let found = match reuse {
            Reuse::Allowed => take(exchange, pool, &mut tries, &reuse).await,
            Reuse::Fresh | Reuse::Announced(_) => {
                let led = (&mut tries, exchange.request.key);
                Box::pin(pool.obtain(None, led, exchange.watch, &reuse)).await
            }
        };
        let (mut lease, mut server) = match found {
            Ok(found) => found,
            Err(unserved) => return unserve(exchange, (pool, &tries), unserved),
        };
        // How long content takes to arrive says nothing of the server.
        let timed = lease.times() == Times::Matter && exchange.up.is_none();
        server.asked = timed.then(|| exchange.client.worker.clock.now());
        exchange.request.goes_to(exchange.client, pool, &lease, &tries.tried);
        exchange.request.others_left = usize::from(tries.tried.count()) + 1 < pool.shared.servers.len();
        let broken = match http1::converse(exchange, (&mut lease, &mut server), &tries.tried).await {
            Ok(served) => {
                let Server { socket, waits, asked, .. } = server;
                socket.says(exchange.request.says());
                let keep = served.keep.then_some(socket);
                return finish(exchange, &served, Servant { lease, waits, asked, keep });
            }
            Err(broken) => broken,
        };
        exchange.request.failed(exchange.client, broken.told());
        drop(server);
        let may_repeat = exchange.may_repeat();
        if broken == Broken::Raced && may_repeat {
            pool.forget_kept(lease.server);
            reuse = Reuse::Fresh;
            pool.tally(lease.server).retries.up();
            continue;
        }
        let again = Again { broken, repeatable: broken.repeatable(may_repeat) };
        if let Some(ended) = try_again(exchange, (pool, &mut tries), lease, again) {
            return ended;
        }
    }
}

/// A server and a connection to it, at once where there is one.
async fn take<W: Way, U, D>(
    exchange: &Exchange<'_, U, D>,
    pool: &Rc<PoolState>,
    tries: &mut Tries,
    way: &W,
) -> Result<(Lease, W::Connection), Unserved> {
    let key = exchange.request.key;
    let place = match pool.kept(exchange.request.started, (&tries.tried, key), way) {
        Kept::Connection(lease, connection) => return Ok((lease, connection)),
        Kept::Place(lease) => Some(lease),
        Kept::Wait => None,
    };
    Box::pin(pool.obtain(place, (tries, key), exchange.watch, way)).await
}

/// A try that failed.
struct Again {
    broken: Broken,
    /// Whether another server may be asked.
    repeatable: bool,
}

/// Ends a try that failed; what became of the request, unless another server is asked.
fn try_again<U, D: Answering>(
    exchange: &mut Exchange<'_, U, D>,
    (pool, tries): (&PoolState, &mut Tries),
    lease: Lease,
    Again { broken, repeatable }: Again,
) -> Option<Ended> {
    let now = exchange.client.worker.clock.now();
    // Who has the beginning of an answer can be told nothing more.
    let miss = if exchange.down.has_begun() { None } else { broken.miss() };
    let unserved = match (miss, repeatable) {
        (Some(miss), true) => lease.fail_over(now, tries, miss).err(),
        (Some(miss), false) => Some(lease.fail(now, tries, miss)),
        (None, _) => {
            lease.end(now, blame(broken), None);
            return Some(fail(exchange, broken));
        }
    };
    unserved.map(|unserved| unserve(exchange, (pool, tries), unserved))
}

pub(crate) async fn over_http2<U: Source, D: Answering>(
    exchange: &mut Exchange<'_, U, D>,
    pool: &Rc<PoolState>,
) -> Ended {
    let closed = Broken::Server(Failure::Closed);
    let mut tries = Tries::NONE;
    let (mut unprocessed, mut unable) = (0, false);
    loop {
        let way = Shared(&exchange.client.worker);
        let (mut lease, mut linked) = match take(exchange, pool, &mut tries, &way).await {
            Ok(found) => found,
            Err(_) if unable => return Ended::Refused(501, Cow::Borrowed(NO_WEBSOCKETS)),
            Err(unserved) => return unserve(exchange, (pool, &tries), unserved),
        };
        let timed = lease.times() == Times::Matter && exchange.up.is_none();
        linked.asked = timed.then(|| exchange.client.worker.clock.now());
        exchange.request.goes_to(exchange.client, pool, &lease, &tries.tried);
        exchange.request.others_left = usize::from(tries.tried.count()) + 1 < pool.shared.servers.len();
        let how = (pool.scheme(), &tries.tried);
        let failed = match http2::converse(exchange, (&mut lease, &mut linked), how).await {
            Ok(served) => {
                let (waits, asked) = (linked.waits, linked.asked);
                return finish(exchange, &served, Servant { lease, waits, asked, keep: None });
            }
            Err(failed) => failed,
        };
        exchange.request.failed(exchange.client, failed.told());
        drop(linked);
        let untouched = exchange.up.as_ref().is_none_or(Source::is_untouched);
        let again = match failed {
            Failed::Unprocessed if untouched && unprocessed < MOST_UNPROCESSED => {
                unprocessed += 1;
                pool.tally(lease.server).retries.up();
                lease.end(exchange.client.worker.clock.now(), Outcome::ClientGone, None);
                continue;
            }
            Failed::Unprocessed | Failed::Refused => Again { broken: closed, repeatable: untouched },
            Failed::Broken(broken) => Again { broken, repeatable: broken.repeatable(exchange.may_repeat()) },
            Failed::Unsayable => {
                lease.end(exchange.client.worker.clock.now(), Outcome::ClientGone, None);
                return Ended::Refused(400, Cow::Borrowed("the request cannot be said in HTTP/2"));
            }
            Failed::NoWebSockets => {
                // That is no failure, and another server may take them.
                unable = true;
                let now = exchange.client.worker.clock.now();
                tries.tried.add(lease.server);
                lease.end(now, Outcome::ClientGone, None);
                match pool.may_retry(now, &tries.tried) {
                    Ok(()) => continue,
                    Err(_) => return Ended::Refused(501, Cow::Borrowed(NO_WEBSOCKETS)),
                }
            }
        };
        if let Some(ended) = try_again(exchange, (pool, &mut tries), lease, again) {
            return ended;
        }
    }
}

impl<U, D> Exchange<'_, U, D> {
    /// Whether the request can be sent once more, and that does no harm.
    const fn may_repeat(&self) -> bool {
        self.up.is_none() && self.request.method.is_idempotent()
    }
}

fn finish<U, D>(exchange: &Exchange<'_, U, D>, served: &Served, servant: Servant) -> Ended {
    let client = exchange.client;
    let now = client.worker.clock.now();
    let tally = client.listening.tally();
    tally.answered(served.status);
    tally.took.record(now.since(exchange.request.started));
    if exchange.request.line.is_some() {
        client.log(&access_log::Event {
            id: &exchange.request.name(&client.worker),
            request: Some(&exchange.request),
            status: Some(served.status),
            sent_bytes: served.sent,
            received_bytes: exchange.request.received,
            pool: None,
            tries: exchange.request.tries.get(),
            server: Some(servant.lease.name()),
            end: access_log::DONE,
            story: None,
            queued: servant.waits.queued,
            connected: servant.waits.connected,
            answered: Some(served.at.since(exchange.request.started)),
            total: now.since(exchange.request.started),
        });
    }
    let outcome = Outcome::of_status(served.status);
    if let (Outcome::Served, Some(asked)) = (outcome, servant.asked) {
        servant.lease.answered(served.at, asked);
    }
    servant.lease.end(now, outcome, servant.keep);
    Ended::Served
}

/// Notes that no server answers, and why.
fn unserve<U, D>(
    exchange: &mut Exchange<'_, U, D>,
    (pool, tries): (&PoolState, &Tries),
    unserved: Unserved,
) -> Ended {
    exchange.request.story = Some(tries.give_up(pool, unserved));
    let (status, reason) = unserved.told();
    Ended::Refused(status, reason)
}

fn fail<U, D: Answering>(exchange: &Exchange<'_, U, D>, broken: Broken) -> Ended {
    if exchange.down.has_begun() {
        let by_client = matches!(broken, Broken::Unread | Broken::Client(_));
        log_broken(exchange, if by_client { CLIENT_STOPPED } else { SERVER_BROKE_OFF });
        return Ended::Cut;
    }
    match broken {
        Broken::Client(fault) => match fault.status() {
            Some(status) => Ended::Refused(status, Cow::Owned(fault.reason())),
            None => {
                log_broken(exchange, CLIENT_LEFT);
                Ended::Gone
            }
        },
        Broken::Midway(_) => Ended::Cut,
        Broken::Unread | Broken::Server(_) | Broken::Raced | Broken::Unwanted(_) => Ended::Gone,
    }
}

/// Notes how an answer ended that is not whole.
fn log_broken<U, D>(exchange: &Exchange<'_, U, D>, end: &str) {
    let client = exchange.client;
    let total = client.worker.clock.now().since(exchange.request.started);
    client.log(&access_log::Event::broken(Some(&exchange.request), end, total));
}

/// How far both directions of an exchange are, as far as one needs to know of the other.
struct Progress<'a> {
    client: &'a Client,
    /// The place of the server that answers.
    lease: &'a Lease,
    /// The deadline of the answer.
    answer: &'a Rc<Watch>,
    /// The deadline of the request's content; `None` when it has none.
    content: Option<Rc<Watch>>,
    /// How long the server may take to begin its answer.
    server_head: Duration,
    /// Whether all of the request has gone to the server.
    uploaded: Cell<bool>,
    /// Whether the head of the answer has come.
    head_came: Cell<bool>,
    gate: Cell<Gate>,
    /// Who waits for the gate to open.
    at_gate: Cell<Option<Waker>>,
}

/// Whether content may go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// It may.
    Open,
    /// Not before the server has switched to a WebSocket: one that does not switch would take it for the next request (I9).
    Shut,
}

impl<'a> Progress<'a> {
    fn new(
        (client, lease): (&'a Client, &'a Lease),
        answer: &'a Rc<Watch>,
        request: &Request,
        (asked, has_content): (Asked, bool),
    ) -> Self {
        let content = has_content.then(|| client.worker.sweep.watch());
        let server_head = request.server_head(&client.listening.settings().deadlines);
        Self {
            client,
            lease,
            answer,
            content,
            server_head,
            uploaded: Cell::new(!has_content),
            head_came: Cell::new(false),
            gate: Cell::new(if asked == Asked::WebSocket { Gate::Shut } else { Gate::Open }),
            at_gate: Cell::new(None),
        }
    }

    /// Content is about to go to the server, and the answer is waited for meanwhile.
    fn begin_upload(&self) {
        match self.gate.get() {
            // The wait for the answer begins when all has gone.
            Gate::Open => self.answer.rest(),
            Gate::Shut => self.expect_head(),
        }
    }

    /// Waits until content may go to the server.
    async fn pass_gate(&self) {
        std::future::poll_fn(|context| match self.gate.get() {
            Gate::Open => Poll::Ready(()),
            Gate::Shut => {
                self.at_gate.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await;
    }

    /// The server has switched to a WebSocket.
    fn tunnel_stands(&self) {
        self.gate.set(Gate::Open);
        if let Some(waiting) = self.at_gate.take() {
            waiting.wake();
        }
    }

    /// The wait for the answer's head begins when the request has gone.
    fn expect_head(&self) {
        self.answer.set(Phase::Busy, deadline(self.client.worker.clock.now(), self.server_head));
    }

    fn all_uploaded(&self) {
        self.uploaded.set(true);
        if !self.head_came.get() {
            self.expect_head();
        }
    }

    /// An answer that begins before the request has ended begins a conversation, in which either side may be silent for
    /// as long as in a tunnel.
    fn head_has_come(&self) {
        self.head_came.set(true);
        self.answer.bound(None);
        if let (Some(content), false) = (&self.content, self.uploaded.get()) {
            let silence = self.client.listening.settings().deadlines.tunnel_idle;
            content.set(Phase::Busy, deadline(self.client.worker.clock.now(), silence));
        }
    }

    fn is_conversation(&self) -> bool {
        self.head_came.get() && !self.uploaded.get()
    }

    fn patience_up(&self) -> Patience<'_> {
        let deadlines = self.client.listening.settings().deadlines;
        let watch = self.content.as_ref().unwrap_or(self.answer);
        let room = |idle| Room { watch, ..self.client.room(idle) };
        let source = if self.head_came.get() {
            room(deadlines.tunnel_idle)
        } else {
            Room { lease: Some(self.lease), ..room(deadlines.client_body_idle) }
        };
        Patience { source, sink: room(deadlines.server_body_idle) }
    }

    fn patience_down(&self) -> Patience<'_> {
        let deadlines = self.client.listening.settings().deadlines;
        let room = |idle| Room { watch: self.answer, ..self.client.room(idle) };
        let sink = room(deadlines.client_write_idle);
        if self.is_conversation() {
            // Its server goes on listening while the client reads nothing.
            return Patience { source: room(deadlines.tunnel_idle), sink };
        }
        Patience { source: room(deadlines.server_body_idle), sink: Room { lease: Some(self.lease), ..sink } }
    }
}

/// Runs both directions until the answer is whole or either side has failed.
async fn both<T, E: From<Broken>>(
    upload: impl Future<Output = Result<(), Stopped>>,
    answer: impl Future<Output = Result<T, E>>,
    progress: &Progress<'_>,
) -> Result<T, E> {
    let (mut upload, mut answer) = (pin!(upload), pin!(answer));
    std::future::poll_fn(|context| {
        if !progress.uploaded.get()
            && let Poll::Ready(ended) = upload.as_mut().poll(context)
        {
            let broken = match ended {
                // A server that takes no more may have answered before.
                Ok(()) | Err(Stopped::Sink) => {
                    progress.all_uploaded();
                    return answer.as_mut().poll(context);
                }
                Err(Stopped::Source(fault)) => Broken::Client(client_fault(fault)),
                Err(Stopped::SourceIdle) => Broken::Client(ClientFault::Timeout),
                Err(Stopped::SinkIdle) => Broken::Server(Failure::AnswerTimeout),
            };
            return Poll::Ready(Err(broken.into()));
        }
        answer.as_mut().poll(context)
    })
    .await
}

const fn client_fault(fault: Fault) -> ClientFault {
    match fault {
        Fault::Closed => ClientFault::Gone,
        Fault::Malformed(error) => ClientFault::Chunk(error),
        Fault::TooLarge => ClientFault::TooLarge,
    }
}

/// What a stop in the middle of an answer means.
const fn midway(stopped: Stopped) -> Broken {
    match stopped {
        Stopped::Source(Fault::Closed) => Broken::Midway(Failure::Closed),
        Stopped::Source(Fault::Malformed(_) | Fault::TooLarge) => Broken::Midway(Failure::BadAnswer),
        Stopped::SourceIdle => Broken::Midway(Failure::AnswerTimeout),
        Stopped::Sink | Stopped::SinkIdle => Broken::Unread,
    }
}
