//! Requests that have HTTP/2 on a side, from a client to whichever server answers.
//!
//! Owns: the order of steps, retries, and what the client is told when no server answers, as `http1::exchange` does for
//! HTTP/1.1 on both sides. Leaves to others: how either side is spoken with (`flow`, `http1`). Invariants: a request is
//! sent again only while nothing of an answer has reached the client, and only if the server did not work on it or
//! repeating it is harmless; both directions move at once, neither faster than the slower side.

mod coded;
pub(crate) mod flow;
mod http1;
pub(crate) mod socket;
pub(crate) mod websocket;

use std::{cell::Cell, future::Future, pin::pin, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use evenkeel_balance::{Failure, Outcome, Tried};
use evenkeel_http1::Method;
use evenkeel_http2::Asked;
use evenkeel_units::Instant;

use crate::{
    access_log,
    client::Client,
    http1::{
        answer::{self, Own},
        exchange::{
            Broken, CLIENT_LEFT, CLIENT_STOPPED, SERVER_BROKE_OFF, UNWANTED, apology, begin, blame, in_time,
            refusal,
        },
        request::{ClientFault, Request},
    },
    net::sweep::{Phase, Watch},
    pool::{Kept, Lease, Reuse, Server, Times, deadline},
    proxied::Announcement,
    route::{
        self,
        own::{Fixed, Stays},
    },
};
use flow::{Answering, Ending, Fault, Patience, Source, Stopped};

/// A request, where its content comes from, and where its answer goes.
pub(crate) struct Exchange<'a, U, D> {
    pub(crate) client: &'a Client,
    /// The deadline of the answer.
    pub(crate) watch: &'a Watch,
    pub(crate) request: Request,
    /// `None` for a request without content, or all of whose content is with its head.
    pub(crate) up: Option<U>,
    pub(crate) down: D,
    pub(crate) asked: Asked,
}

impl<U: Source, D> Exchange<'_, U, D> {
    /// Whether all of the request can be sent again.
    fn is_whole(&self) -> bool {
        self.up.is_none()
    }
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

/// What a request's route answers without a server, if anything.
async fn settle(request: &mut Request) -> Option<Fixed> {
    let ruled = request.ruled.as_mut()?;
    Box::pin(ruled.settle(request.started)).await
}

/// Serves one request.
pub(crate) async fn run<U: Source, D: Answering>(exchange: &mut Exchange<'_, U, D>) {
    if let Some(fixed) = settle(&mut exchange.request).await {
        return answer_by_route(exchange, &fixed);
    }
    if let Some(ruled) = &exchange.request.ruled {
        ruled.mirror(&exchange.client.worker, &exchange.request);
    }
    let pool = begin(exchange.client, &exchange.request, exchange.watch);
    let mut tried = Tried::NONE;
    let announcement = pool.announces().map(|version| Announcement::of(exchange.client, version));
    let mut reuse = announcement.as_ref().map_or(Reuse::Allowed, Reuse::Announced);
    loop {
        let kept = match reuse {
            Reuse::Allowed => pool.kept(exchange.request.started, &tried, exchange.request.key),
            Reuse::Fresh | Reuse::Announced(_) => Kept::Wait,
        };
        let (lease, mut server) = match kept {
            Kept::Connection(lease, server) => (lease, server),
            Kept::Place(_) | Kept::Wait => {
                let place = if let Kept::Place(lease) = kept { Some(lease) } else { None };
                let led = (&mut tried, exchange.request.key);
                match Box::pin(pool.obtain(place, led, exchange.watch, reuse)).await {
                    Ok(found) => found,
                    Err(unserved) => {
                        let (status, reason) = refusal(unserved);
                        return refuse(exchange, status, reason);
                    }
                }
            }
        };
        // How long content takes to arrive says nothing of the server.
        let timed = lease.times() == Times::Matter && exchange.is_whole();
        server.asked = timed.then(|| exchange.client.worker.clock.now());
        exchange.request.others_left = usize::from(tried.count()) + 1 < pool.shared.servers.len();
        let broken = match http1::converse(exchange, &mut server).await {
            Ok(served) => return finish(exchange, &served, lease, server),
            Err(broken) => broken,
        };
        drop(server);
        let may_repeat = exchange.is_whole() && exchange.request.method.is_idempotent();
        match broken {
            Broken::Raced if may_repeat => {
                pool.forget_kept(lease.server);
                reuse = Reuse::Fresh;
                pool.tally(lease.server).retries.up();
            }
            Broken::Unwanted(status) => {
                let index = lease.server;
                lease.end(exchange.client.worker.clock.now(), Outcome::of_status(status), None);
                tried.add(index);
                if !pool.may_retry(&tried) {
                    return fail(exchange, broken);
                }
                pool.tally(index).retries.up();
            }
            Broken::Server(Failure::Closed) if may_repeat => {
                let index = lease.server;
                lease.end(exchange.client.worker.clock.now(), Outcome::Failed(Failure::Closed), None);
                tried.add(index);
                if !pool.may_retry(&tried) {
                    return fail(exchange, broken);
                }
                pool.tally(index).retries.up();
            }
            Broken::Server(_) | Broken::Raced | Broken::Client(_) | Broken::Midway(_) | Broken::Unread => {
                lease.end(exchange.client.worker.clock.now(), blame(broken), None);
                return fail(exchange, broken);
            }
        }
    }
}

fn finish<U, D>(exchange: &Exchange<'_, U, D>, served: &Served, lease: Lease, server: Server) {
    let client = exchange.client;
    let now = client.worker.clock.now();
    let tally = client.listening.tally();
    tally.answered(served.status);
    tally.took.record(now.since(exchange.request.started));
    if exchange.request.line.is_some() {
        client.log(&access_log::Event {
            id: &client.worker.next_id(),
            request: Some(&exchange.request),
            status: Some(served.status),
            sent_bytes: served.sent,
            server: Some(lease.name()),
            end: access_log::DONE,
            queued: server.queued,
            connected: server.connected,
            answered: Some(served.at.since(exchange.request.started)),
            total: now.since(exchange.request.started),
        });
    }
    let outcome = Outcome::of_status(served.status);
    if let (Outcome::Served, Some(asked)) = (outcome, server.asked) {
        lease.answered(served.at, asked);
    }
    lease.end(now, outcome, served.keep.then_some(server.socket));
}

fn fail<U, D: Answering>(exchange: &mut Exchange<'_, U, D>, broken: Broken) {
    match broken {
        Broken::Server(failure) => {
            let (status, reason) = apology(failure);
            refuse(exchange, status, reason);
        }
        Broken::Raced => {
            let (status, reason) = apology(Failure::Closed);
            refuse(exchange, status, reason);
        }
        Broken::Unwanted(status) => refuse(exchange, status, UNWANTED),
        Broken::Client(fault) => match fault.status() {
            Some(status) => refuse(exchange, status, &fault.reason()),
            None => log_broken(exchange, CLIENT_LEFT),
        },
        Broken::Midway(_) => {
            exchange.down.cut();
            log_broken(exchange, SERVER_BROKE_OFF);
        }
        Broken::Unread => {
            exchange.down.cut();
            log_broken(exchange, CLIENT_STOPPED);
        }
    }
}

fn log_broken<U, D>(exchange: &Exchange<'_, U, D>, end: &str) {
    let client = exchange.client;
    let total = client.worker.clock.now().since(exchange.request.started);
    client.log(&access_log::Event::broken(Some(&exchange.request), end, total));
}

/// Answers the request ourselves, unless an answer has begun, which is cut then.
fn refuse<U, D: Answering>(exchange: &mut Exchange<'_, U, D>, status: u16, reason: &str) {
    if exchange.down.has_begun() {
        return exchange.down.cut();
    }
    let client = exchange.client;
    let (status, reason) = in_time(client, &exchange.request, status, reason);
    let own = Own {
        status,
        reason,
        head_only: exchange.request.method == Method::Head,
        request: Some(&exchange.request),
    };
    let id = send_own(client, &mut exchange.down, &own);
    let total = client.worker.clock.now().since(exchange.request.started);
    client.listening.tally().took.record(total);
    client.log(&access_log::Event::refused(&id, Some(&exchange.request), status, reason, total));
}

/// Answers a request as its route does by itself.
fn answer_by_route<U, D: Answering>(exchange: &mut Exchange<'_, U, D>, fixed: &Fixed) {
    let client = exchange.client;
    client.listening.tally().answered(fixed.status);
    let id = client.worker.next_id();
    let text = route::own::whole(client, &exchange.request, fixed, (Stays::Yes, &id));
    send_whole(&mut exchange.down, fixed.status, &text);
    let total = client.worker.clock.now().since(exchange.request.started);
    client.listening.tally().took.record(total);
    client.log(&access_log::Event::refused(&id, Some(&exchange.request), fixed.status, fixed.reason, total));
}

/// Sends an answer that is written out like one of HTTP/1.1.
fn send_whole(down: &mut impl Answering, status: u16, text: &[u8]) {
    let end = text.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(text.len());
    let (head, body) = (&text[..end], text.get(end + 4..).unwrap_or_default());
    // A client that has gone needs no answer.
    let _ = if body.is_empty() {
        down.begin(status, head, Ending::Last)
    } else {
        let body = Bytes::copy_from_slice(body);
        down.begin(status, head, Ending::More).and_then(|()| down.push(body, Ending::Last))
    };
}

/// Answers a request whose head was refused.
pub(crate) fn refuse_unread(client: &Client, down: &mut impl Answering, status: u16, reason: &str) {
    let id = send_own(client, down, &Own { status, reason, head_only: false, request: None });
    client.log(&access_log::Event::refused(&id, None, status, reason, Duration::ZERO));
}

/// Sends an answer of our own; its request id.
fn send_own(client: &Client, down: &mut impl Answering, own: &Own<'_>) -> String {
    let id = client.worker.next_id();
    let tally = client.listening.tally();
    tally.answered(own.status);
    tally.refused(own.status);
    send_whole(down, own.status, answer::text(own, &id, &client.listening.settings()).as_bytes());
    id
}

/// How far both directions of an exchange are, as far as one needs to know of the other.
struct Progress<'a> {
    client: &'a Client,
    /// The deadline of the answer.
    answer: &'a Watch,
    /// The deadline of the request's content; `None` when it has none.
    content: Option<Rc<Watch>>,
    /// How long the server may take to begin its answer.
    server_head: Duration,
    /// Whether all of the request has gone to the server.
    uploaded: Cell<bool>,
    /// Whether the head of the answer has come.
    head_came: Cell<bool>,
}

impl<'a> Progress<'a> {
    fn new(client: &'a Client, answer: &'a Watch, request: &Request, has_content: bool) -> Self {
        let content = has_content.then(|| client.worker.sweep.watch());
        let server_head = request.server_head(&client.listening.settings().deadlines);
        Self {
            client,
            answer,
            content,
            server_head,
            uploaded: Cell::new(!has_content),
            head_came: Cell::new(false),
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

    fn patience_up(&self) -> Patience {
        let deadlines = self.client.listening.settings().deadlines;
        let source = if self.head_came.get() { deadlines.tunnel_idle } else { deadlines.client_body_idle };
        Patience { source, sink: deadlines.server_body_idle }
    }

    fn patience_down(&self) -> Patience {
        let deadlines = self.client.listening.settings().deadlines;
        let source = if self.is_conversation() { deadlines.tunnel_idle } else { deadlines.server_body_idle };
        Patience { source, sink: deadlines.client_write_idle }
    }
}

/// Runs both directions until the answer is whole or either side has failed.
async fn both<T>(
    upload: impl Future<Output = Result<(), Stopped>>,
    answer: impl Future<Output = Result<T, Broken>>,
    progress: &Progress<'_>,
) -> Result<T, Broken> {
    let (mut upload, mut answer) = (pin!(upload), pin!(answer));
    std::future::poll_fn(|context| {
        if !progress.uploaded.get()
            && let Poll::Ready(ended) = upload.as_mut().poll(context)
        {
            match ended {
                // A server that takes no more may have answered before.
                Ok(()) | Err(Stopped::Sink) => progress.all_uploaded(),
                Err(Stopped::Source(fault)) => return Poll::Ready(Err(Broken::Client(client_fault(fault)))),
                Err(Stopped::SourceIdle) => return Poll::Ready(Err(Broken::Client(ClientFault::Timeout))),
                Err(Stopped::SinkIdle) => return Poll::Ready(Err(Broken::Server(Failure::AnswerTimeout))),
            }
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
