//! One request and its answer, between a client and whichever server gives it.
//!
//! Owns: the order of steps, retries, and what the client is told when no server answers. Leaves to others:
//! moving content (`content`, `transfer`). Invariant: a request is sent again only while nothing of an answer
//! has reached the client, and only if nothing of it was sent or repeating it is harmless.

use std::rc::Rc;

use evenkeel_balance::{Failure, Outcome, Tried};
use evenkeel_config::balancer::Protocol;
use evenkeel_http1::{Method, Onward, Parsed, ResponseHead, parse_response, write_response};
use evenkeel_units::Instant;

use crate::{
    access_log,
    client::Client,
    forward::from_http1,
    http1::{
        answer::{self, Own},
        content::Content,
        hedge,
        request::{ClientFault, Request, Twice},
        transfer::{self, Paused, Rest},
    },
    net::{
        scratch::{self, SCRATCH_BYTES, Scratch},
        socket::Read,
        sweep::{Phase, Watch},
        tunnel::{self, Passed},
    },
    pool::{Kept, Lease, Miss, PoolState, Reuse, Server, Times, Tries, Unserved, deadline},
    proxied::Announcement,
    route::{self, compress::Travel},
};

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It may carry another request; when the answer to this one had left.
    Next(Instant),
    /// It ends.
    Close,
}

/// How an attempt went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The server failed before anything of its answer reached the client.
    Server(Failure),
    /// The server closed a kept connection without a byte of an answer: most likely both sides met in the
    /// moment in which it gave up waiting.
    Raced,
    /// The server answered with a status that its route takes for none.
    Unwanted(u16),
    /// The client broke a rule or went away before it had any of an answer.
    Client(ClientFault),
    /// The server failed in the middle of its answer.
    Midway(Failure),
    /// The client stopped reading its answer.
    Unread,
}

impl Broken {
    /// The status that the server gave, or what went wrong in a word.
    pub(crate) const fn told(self) -> (Option<u16>, Option<&'static str>) {
        match self {
            Self::Server(failure) | Self::Midway(failure) => (None, Some(failure.as_str())),
            Self::Raced => (None, Some("raced")),
            Self::Unwanted(status) => (Some(status), None),
            Self::Client(_) => (None, Some("client_left")),
            Self::Unread => (None, Some("client_stopped_reading")),
        }
    }
}

/// What a look at the server's bytes gave.
enum Step {
    /// More must come.
    Wait,
    /// An interim answer left; `Vec` is what of it is still to be written.
    Interim(Vec<u8>),
    /// The last answer's head left, and maybe more.
    Answer(Answer),
}

/// An answer under way.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) onward: Onward,
    pub(crate) rest: Rest,
    /// Whether the server's connection may be kept when all is done.
    pub(crate) keep: bool,
    /// Bytes for the client so far.
    pub(crate) sent: u64,
    /// When its head had come; only when there is an access log, or the pool learns from times.
    pub(crate) at: Option<Instant>,
}

/// Serves one request.
pub(crate) async fn run(client: &mut Client, mut request: Request) -> After {
    if request.ruled.is_some()
        && let Some(after) = Box::pin(settle(client, &mut request)).await
    {
        return after;
    }
    let pool = begin(client, &request, &client.watch);
    if pool.protocol == Protocol::Http2 {
        return Box::pin(from_http1::run(client, request, &pool)).await;
    }
    let mut tries = Tries::NONE;
    let announcement = pool.announces().map(|sent| Announcement::of(client, sent, request.id.as_deref()));
    let mut reuse = announcement.as_ref().map_or(Reuse::Allowed, Reuse::Announced);
    loop {
        let kept = match reuse {
            Reuse::Allowed => pool.kept(request.started, (&tries.tried, request.key), &reuse),
            Reuse::Fresh | Reuse::Announced(_) => Kept::Wait,
        };
        let (mut lease, mut server) = match kept {
            Kept::Connection(lease, server) => (lease, server),
            Kept::Place(_) | Kept::Wait => {
                let place = if let Kept::Place(lease) = kept { Some(lease) } else { None };
                match Box::pin(pool.obtain(place, (&mut tries, request.key), &client.watch, &reuse)).await {
                    Ok(found) => found,
                    Err(unserved) => {
                        return Box::pin(unserve(client, &mut request, (&pool, &tries), unserved)).await;
                    }
                }
            }
        };
        request.goes_to(client, &pool, &lease, &tries.tried);
        request.others_left = usize::from(tries.tried.count()) + 1 < pool.shared.servers.len();
        let broken = match converse(client, &mut request, (&mut lease, &mut server), &tries.tried).await {
            Ok(answer) => {
                let after = finish(client, &request, &answer, lease, server);
                if request.ends_early(answer.onward) {
                    Box::pin(answer::linger(client)).await;
                }
                return after;
            }
            Err(broken) => broken,
        };
        request.failed(client, broken.told());
        drop(server);
        let may_repeat = request.is_whole() && request.method.is_idempotent();
        if broken == Broken::Raced && may_repeat {
            pool.forget_kept(lease.server);
            reuse = Reuse::Fresh;
            pool.tally(lease.server).retries.up();
            continue;
        }
        let now = client.worker.clock.now();
        let unserved = match (broken.miss(), broken.repeatable(may_repeat)) {
            (Some(miss), true) => lease.fail_over(now, &mut tries, miss).err(),
            (Some(miss), false) => Some(lease.fail(now, &mut tries, miss)),
            (None, _) => {
                lease.end(now, blame(broken), None);
                return Box::pin(fail(client, &request, broken)).await;
            }
        };
        if let Some(unserved) = unserved {
            return Box::pin(unserve(client, &mut request, (&pool, &tries), unserved)).await;
        }
    }
}

/// Answers what needs no server, and sends the copy that a route may want of what does.
async fn settle(client: &mut Client, request: &mut Request) -> Option<After> {
    let ruled = request.ruled.as_deref_mut()?;
    if let Some(fixed) = ruled.settle(request.started).await {
        return Some(route::own::send(client, request, &fixed).await);
    }
    if let Some(ruled) = &request.ruled {
        ruled.mirror(&client.worker, request);
    }
    None
}

/// Whom a request is for; from here on its route's time runs, by `watch`.
pub(crate) fn begin(client: &Client, request: &Request, watch: &Watch) -> Rc<PoolState> {
    let listener = || Rc::clone(&client.listening.settings().pool);
    let Some(ruled) = &request.ruled else { return listener() };
    watch.bound(ruled.until);
    ruled.pool.as_ref().map_or_else(listener, Rc::clone)
}

impl Broken {
    /// What became of the try, where nothing of an answer has left and the client is still to be told.
    pub(crate) const fn miss(self) -> Option<Miss> {
        match self {
            Self::Server(failure) => Some(Miss::Exchange(failure)),
            Self::Raced => Some(Miss::Raced),
            Self::Unwanted(status) => Some(Miss::Unwanted(status)),
            Self::Client(_) | Self::Midway(_) | Self::Unread => None,
        }
    }

    /// Whether another server may be asked after it, for a request that may be repeated or not. An answer is only called
    /// unwanted where its route says that the request may be.
    pub(crate) const fn repeatable(self, may_repeat: bool) -> bool {
        match self {
            Self::Unwanted(_) => true,
            Self::Server(Failure::Closed) => may_repeat,
            Self::Server(_) | Self::Raced | Self::Client(_) | Self::Midway(_) | Self::Unread => false,
        }
    }
}

/// What a failed attempt says of the server.
pub(crate) const fn blame(broken: Broken) -> Outcome {
    match broken {
        Broken::Server(failure) | Broken::Midway(failure) => Outcome::Failed(failure),
        Broken::Unwanted(status) => Outcome::of_status(status),
        Broken::Raced | Broken::Client(_) | Broken::Unread => Outcome::ClientGone,
    }
}

/// Sends the request and brings the answer back.
async fn converse(
    client: &mut Client,
    request: &mut Request,
    (lease, server): (&mut Lease, &mut Server),
    tried: &Tried,
) -> Result<Answer, Broken> {
    match server.socket.write(&request.bytes) {
        Ok(written) if written == request.bytes.len() => {}
        Ok(written) => Box::pin(transfer::send_head(client, request, server, written)).await?,
        Err(_) => return Err(closed(server)),
    }
    if !request.content.is_done() {
        Box::pin(transfer::upload(client, request, (&*lease, server))).await?;
    }
    let settings = client.listening.settings();
    let at_once = server.reused && server.waits.queued.is_zero() && request.twice == Twice::Harmless;
    let now = if at_once { request.started } else { client.worker.clock.now() };
    client.watch.set(Phase::Busy, deadline(now, request.server_head(&settings.deadlines)));
    drop(settings);
    let mut hedge = None;
    if lease.times() == Times::Matter {
        server.asked = Some(now);
        hedge = hedge::after(request, lease);
    }
    loop {
        if server.hungry || server.held.is_empty() {
            match hedge.take() {
                None => {
                    let arrived = server.socket.readable(&client.watch).await;
                    arrived.map_err(|_| Broken::Server(Failure::AnswerTimeout))?;
                }
                Some(after) => {
                    let by = (&*client.watch, tried);
                    Box::pin(hedge::begin(client, request, (lease, server), by, after)).await?;
                }
            }
        }
        match scratch::with(|scratch| step(client, request, server, scratch))? {
            Step::Wait => {}
            Step::Interim(unwritten) => {
                Box::pin(transfer::interim(client, request, (&*lease, server), unwritten)).await?;
            }
            Step::Answer(mut answer) => {
                client.watch.bound(None);
                if !answer.rest.is_over() {
                    Box::pin(transfer::download(client, (&*lease, server), &mut answer)).await?;
                }
                if answer.onward == Onward::Upgrade {
                    let passed = Box::pin(upgraded(client, server)).await;
                    request.received += passed.received;
                    answer.sent += passed.sent;
                }
                return Ok(answer);
            }
        }
    }
}

/// The server's connection ended before its answer began.
pub(crate) fn closed(server: &Server) -> Broken {
    if server.reused && server.held.is_empty() { Broken::Raced } else { Broken::Server(Failure::Closed) }
}

/// Reads from the server, and sends on what has become clear, without waiting.
fn step(
    client: &mut Client,
    request: &mut Request,
    server: &mut Server,
    scratch: &mut Scratch,
) -> Result<Step, Broken> {
    let input = &mut scratch.input;
    let mut have = server.held.len();
    input[..have].copy_from_slice(&server.held);
    if server.hungry || have == 0 {
        match server.socket.read(&mut input[have..]) {
            Ok(Read::Bytes(length)) => have += length,
            Ok(Read::Wait) => return Ok(Step::Wait),
            Ok(Read::End) | Err(_) => return Err(closed(server)),
        }
    }
    let bytes = &input[..have];
    let limit = client.listening.settings().limits.response_head_bytes.0;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(SCRATCH_BYTES - 1);
    let head = match parse_response(bytes, limit, request.method) {
        Ok(Parsed::Head(head)) => head,
        Ok(Parsed::Partial) => {
            server.held = bytes.to_vec();
            server.hungry = true;
            return Ok(Step::Wait);
        }
        Err(error) => {
            tracing::debug!(%error, "bad answer");
            return Err(Broken::Server(Failure::BadAnswer));
        }
    };
    server.hungry = false;
    if head.is_interim() {
        server.held = bytes[head.length..].to_vec();
        return interim(client, request, &head, bytes, &mut scratch.output);
    }
    server.held = Vec::new();
    let clocked = request.line.is_some() || server.asked.is_some();
    let at = clocked.then(|| client.worker.clock.now());
    let answer = answer(client, request, &head, bytes, &mut scratch.output)?;
    Ok(Step::Answer(Answer { at, ..answer }))
}

fn interim(
    client: &Client,
    request: &Request,
    head: &ResponseHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<Step, Broken> {
    // A client of HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
    if !request.http10 {
        write_response(head, bytes, Onward::Stay, &client.worker.date(), out);
    }
    let written = client.socket.write(out).map_err(|_| Broken::Client(ClientFault::Gone))?;
    Ok(Step::Interim(out[written..].to_vec()))
}

/// Sends on the head of the last answer with as much content as came with it.
fn answer(
    client: &Client,
    request: &Request,
    head: &ResponseHead,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<Answer, Broken> {
    let bad = |_| Broken::Server(Failure::BadAnswer);
    if head.status == 101 && !(head.upgrade && request.upgrade) {
        return Err(Broken::Server(Failure::BadAnswer));
    }
    if request.asks_again(head.status) {
        return Err(Broken::Unwanted(head.status));
    }
    let onward = onward(client, request, head);
    let date = client.worker.date();
    let mut filter = route::answer::write_head(request, (head, bytes), onward, (Travel::Chunks, &date), out);
    let mut content = Content::of(head.framing, head.trailers);
    let rest = &bytes[head.length..];
    let taken = if let Some(filter) = &mut filter {
        transfer::take_filtered(&mut content, filter, (rest, Paused::Yes), out).map_err(unbegun)?
    } else if onward == Onward::Http10 {
        content.take_plain(rest, out).map_err(bad)?
    } else {
        content.take_into(rest, out).map_err(bad)?
    };
    let mut keep = head.keep_alive && request.content.is_done() && taken == rest.len();
    if onward == Onward::Upgrade {
        out.extend_from_slice(rest);
        keep = false;
    }
    let ends = matches!(onward, Onward::Close | Onward::Http10) && content.is_done();
    let written = match ends && !request.ends_early(onward) && client.is_caught_up() {
        true => client.socket.write_last(out),
        false => client.socket.write(out),
    };
    let written = written.map_err(|_| Broken::Unread)?;
    let unwritten = if written == out.len() { Vec::new() } else { out[written..].to_vec() };
    let rest = Rest { content, unwritten, filter };
    Ok(Answer { status: head.status, onward, rest, keep, sent: out.len() as u64, at: None })
}

/// Nothing of the answer has left yet.
const fn unbegun(broken: Broken) -> Broken {
    match broken {
        Broken::Midway(failure) => Broken::Server(failure),
        Broken::Server(_) | Broken::Raced | Broken::Unwanted(_) | Broken::Client(_) | Broken::Unread => {
            broken
        }
    }
}

fn onward(client: &Client, request: &Request, head: &ResponseHead) -> Onward {
    use evenkeel_http1::Framing;
    if head.status == 101 {
        return Onward::Upgrade;
    }
    // Even an answer without content may not speak of chunks to HTTP/1.0 (RFC 9112 §6.1).
    if request.http10 && head.has_coding {
        return Onward::Http10;
    }
    match client.may_stay(request) && head.framing != Framing::UntilClose {
        true if request.http10 => Onward::StayHttp10,
        true => Onward::Stay,
        false => Onward::Close,
    }
}

fn finish(client: &mut Client, request: &Request, answer: &Answer, lease: Lease, server: Server) -> After {
    let now = client.worker.clock.now();
    let tally = client.listening.tally();
    tally.answered(answer.status);
    tally.took.record(now.since(request.started));
    if request.line.is_some() {
        log_answer(client, request, answer, (&lease, &server), now);
    }
    let outcome = Outcome::of_status(answer.status);
    if let (Outcome::Served, Some(at), Some(asked)) = (outcome, answer.at, server.asked) {
        lease.answered(at, asked);
    }
    server.socket.says(request.says());
    lease.end(now, outcome, answer.keep.then_some(server.socket));
    match answer.onward {
        Onward::Stay | Onward::StayHttp10 => After::Next(now),
        Onward::Close | Onward::Http10 | Onward::Upgrade => After::Close,
    }
}

fn log_answer(
    client: &Client,
    request: &Request,
    answer: &Answer,
    (lease, server): (&Lease, &Server),
    now: Instant,
) {
    let id = request.name(&client.worker);
    client.log(&access_log::Event {
        id: &id,
        request: Some(request),
        status: Some(answer.status),
        sent_bytes: answer.sent,
        received_bytes: request.received,
        pool: None,
        tries: request.tries.get(),
        server: Some(lease.name()),
        end: access_log::DONE,
        story: None,
        queued: server.waits.queued,
        connected: server.waits.connected,
        answered: answer.at.map(|at| at.since(request.started)),
        total: now.since(request.started),
    });
}

/// Tells the client that no server answers, and why.
async fn unserve(
    client: &Client,
    request: &mut Request,
    (pool, tries): (&PoolState, &Tries),
    unserved: Unserved,
) -> After {
    request.story = Some(tries.give_up(pool, unserved));
    let (status, reason) = unserved.told();
    own(client, request, status, &reason).await
}

async fn fail(client: &Client, request: &Request, broken: Broken) -> After {
    match broken {
        Broken::Client(fault) => match fault.status() {
            Some(status) => own(client, request, status, &fault.reason()).await,
            None => log_broken(client, request, CLIENT_LEFT),
        },
        Broken::Midway(_) => {
            client.socket.reset_on_close();
            log_broken(client, request, SERVER_BROKE_OFF)
        }
        // What is told of the others is told as for any request that no server answers.
        Broken::Unread | Broken::Server(_) | Broken::Raced | Broken::Unwanted(_) => {
            log_broken(client, request, CLIENT_STOPPED)
        }
    }
}

/// How requests end that get no whole answer, for the access log.
pub(crate) const CLIENT_LEFT: &str = "the client left before it was answered";
pub(crate) const CLIENT_STOPPED: &str = "the client stopped reading its answer";
pub(crate) const SERVER_BROKE_OFF: &str = "the server broke off in the middle of its answer";

fn log_broken(client: &Client, request: &Request, end: &str) -> After {
    let total = client.worker.clock.now().since(request.started);
    client.log(&access_log::Event::broken(Some(request), end, total));
    After::Close
}

/// Carries a connection on after its upgrade to a WebSocket; what has passed.
async fn upgraded(client: &mut Client, server: &mut Server) -> Passed {
    let idle = client.listening.settings().deadlines.tunnel_idle;
    let carried = std::mem::take(&mut client.carry);
    // Frames that came right behind the request: few, and the server has just begun to read.
    if !server.socket.write(&carried).is_ok_and(|written| written == carried.len()) {
        return Passed::default();
    }
    let sockets = (&client.socket, &server.socket);
    let (_, passed) = tunnel::run(&client.worker, sockets, &client.watch, idle).await;
    Passed { received: passed.received + carried.len() as u64, ..passed }
}

/// What a client is told: that its route's time was over, where that is the cause.
pub(crate) fn in_time<'r>(
    client: &Client,
    request: &Request,
    status: u16,
    reason: &'r str,
) -> (u16, &'r str) {
    let late = status >= 500 && request.is_late(client.worker.clock.now());
    if late { (504, "the route's time was over") } else { (status, reason) }
}

pub(crate) async fn own(client: &Client, request: &Request, status: u16, reason: &str) -> After {
    client.watch.bound(None);
    let (status, reason) = in_time(client, request, status, reason);
    let own = Own { status, reason, head_only: request.method == Method::Head, request: Some(request) };
    let id = answer::send(client, own).await;
    let total = client.worker.clock.now().since(request.started);
    client.listening.tally().took.record(total);
    client.log(&access_log::Event::refused(&id, Some(request), status, reason, total));
    After::Close
}
