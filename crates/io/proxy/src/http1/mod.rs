//! HTTP/1.1 with clients: one request after another until somebody closes.
//!
//! Owns: the wait for requests and the order of answers. Leaves to others: an exchange with a server (`exchange`).
//! Invariant: a request is read only when the answer to the one before has left, so answers keep the order of
//! requests.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod hedge;
pub(crate) mod request;
pub(crate) mod transfer;

use std::rc::Rc;

use evenkeel_http1::RequestError;
use evenkeel_units::Instant;

use crate::{
    access_log,
    client::Client,
    http2,
    lot::{MAX_WAITING, REST_AFTER, Wait},
    net::sweep::Phase,
    pool::deadline,
};
use answer::Own;
use exchange::After;
use request::{ClientFault, Request, Taken};

/// What became of the wait for a request.
enum Next {
    /// It came.
    Request(Request),
    /// The preface of HTTP/2 came.
    Http2,
    /// Nothing came, and the client may be waited for without a task.
    Rest,
    /// The connection ends between two requests.
    End,
}

/// Serves a client that was just accepted, until it rests or its connection ends.
pub(crate) fn begin(client: Client) -> impl Future<Output = ()> {
    let deadlines = client.listening.settings().deadlines;
    let until = deadline(client.worker.clock.now(), deadlines.client_head);
    serve(client, Wait::First(until))
}

/// Serves a client until it rests or its connection ends.
pub(crate) async fn serve(mut client: Client, mut wait: Wait) {
    let mut now = client.worker.clock.now();
    loop {
        match next(&mut client, wait, now).await {
            Ok(Next::Request(request)) => match exchange::run(&mut client, request).await {
                After::Next(then) => {
                    now = then;
                    wait = another(&client, now);
                }
                After::Close => return,
            },
            Ok(Next::Rest) => {
                let worker = Rc::clone(&client.worker);
                match worker.lot.rest(client, wait) {
                    Some(back) => client = back,
                    None => return,
                }
            }
            Ok(Next::Http2) if matches!(wait, Wait::First(_)) => {
                return Box::pin(http2::serve(client)).await;
            }
            // A connection that has carried requests of HTTP/1.1 stays with it.
            Ok(Next::Http2) => {
                return Box::pin(refuse(&client, ClientFault::Head(RequestError::Version))).await;
            }
            Ok(Next::End) => return,
            Err(fault) => return Box::pin(refuse(&client, fault)).await,
        }
    }
}

/// The wait for another request after the answer that left at `now`.
fn another(client: &Client, now: Instant) -> Wait {
    if client.listening.is_draining() {
        // The next look at the watch ends the wait, but not before what has come already was read.
        Wait::Next(now)
    } else {
        Wait::Next(deadline(now, client.listening.settings().deadlines.keep_alive_idle))
    }
}

async fn refuse(client: &Client, fault: ClientFault) {
    let Some(status) = fault.status() else { return };
    let reason = fault.reason();
    // Even of a request that is refused the method is most often clear, and an answer to HEAD has no content.
    let head_only = client.carry.trim_ascii_start().starts_with(b"HEAD ");
    let id = answer::send(client, Own { status, reason: &reason, head_only, request: None }).await;
    client.log(&access_log::Event::refused(&id, None, status, &reason, std::time::Duration::ZERO));
}

/// The next request, for which the wait began at `now`.
async fn next(client: &mut Client, wait: Wait, now: Instant) -> Result<Next, ClientFault> {
    if client.carry.is_empty() {
        watch_silence(client, wait, now);
    } else {
        // Bytes that came with the request before are looked at before more is read.
        if let Taken::Request(request) = request::take(client, false)? {
            return Ok(Next::Request(request));
        }
        watch_head(client, now);
    }
    loop {
        let silent = client.carry.is_empty();
        let worker = &client.worker;
        if silent && worker.waiting.get() >= MAX_WAITING && client.socket.is_caught_up() {
            return Ok(Next::Rest);
        }
        worker.waiting.set(worker.waiting.get() + 1);
        let arrived = client.socket.readable(&client.watch).await;
        client.worker.waiting.set(client.worker.waiting.get() - 1);
        if arrived.is_err() {
            // A connection that never sent a byte is closed without a word, like one that fell silent.
            return match silent {
                true if may_rest(client, wait) => Ok(Next::Rest),
                true => Ok(Next::End),
                false => Err(ClientFault::Timeout),
            };
        }
        match request::take(client, true)? {
            Taken::Request(request) => return Ok(Next::Request(request)),
            Taken::Http2 => return Ok(Next::Http2),
            Taken::End => return Ok(Next::End),
            Taken::Partial if silent && !client.carry.is_empty() => match wait {
                Wait::First(until) => client.watch.set(Phase::Busy, until),
                Wait::Next(_) => watch_head(client, client.worker.clock.now()),
            },
            Taken::Partial => {}
        }
    }
}

/// Whether there is still time to wait for a client that has sent nothing.
fn may_rest(client: &Client, wait: Wait) -> bool {
    let ends = matches!(wait, Wait::Next(_)) && client.listening.is_draining();
    !ends && wait.until() > client.worker.clock.now()
}

/// While nothing has come the task waits only for a while.
fn watch_silence(client: &Client, wait: Wait, now: Instant) {
    let phase = match wait {
        Wait::First(_) => Phase::Busy,
        Wait::Next(_) => Phase::Idle,
    };
    client.watch.set(phase, wait.until().min(now + REST_AFTER));
}

/// A head that has begun must be whole in time.
fn watch_head(client: &Client, now: Instant) {
    let deadlines = client.listening.settings().deadlines;
    client.watch.set(Phase::Busy, deadline(now, deadlines.client_head));
}
