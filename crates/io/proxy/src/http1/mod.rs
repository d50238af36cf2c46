//! HTTP/1.1 with clients: one request after another until somebody closes.
//!
//! Owns: the wait for requests and the order of answers. Leaves to others: an exchange with a server (`exchange`).
//! Invariant: a request is read only when the answer to the one before has left, so answers keep the order of
//! requests.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod exchange;
pub(crate) mod request;
pub(crate) mod transfer;

use evenkeel_http1::RequestError;
use evenkeel_units::Instant;

use crate::{access_log, client::Client, http2, net::sweep::Phase, pool::deadline};
use answer::Own;
use exchange::After;
use request::{ClientFault, Request, Taken};

/// Serves a client until its connection ends.
pub(crate) async fn serve(mut client: Client) {
    let mut first = true;
    let mut since = client.worker.clock.now();
    loop {
        let request = match next(&mut client, first, since).await {
            Ok(Come::Request(request)) => request,
            Ok(Come::Nothing) => return,
            Ok(Come::Http2) if first => return Box::pin(http2::serve(client)).await,
            // A connection that has carried requests of HTTP/1.1 stays with it.
            Ok(Come::Http2) => {
                return Box::pin(refuse(&client, ClientFault::Head(RequestError::Version))).await;
            }
            Err(fault) => return Box::pin(refuse(&client, fault)).await,
        };
        first = false;
        match exchange::run(&mut client, request).await {
            After::Next(now) => since = now,
            After::Close => return,
        }
    }
}

async fn refuse(client: &Client, fault: ClientFault) {
    let Some(status) = fault.status() else { return };
    let reason = fault.reason();
    let id = answer::send(client, Own { status, reason: &reason, head_only: false }).await;
    client.log(&access_log::Event::refused(&id, None, status, &reason, std::time::Duration::ZERO));
}

/// What a client sent next.
enum Come {
    Request(Request),
    /// Nothing: the connection ended between two requests.
    Nothing,
    /// The preface of HTTP/2.
    Http2,
}

/// The next request, for which the wait began at `since`.
async fn next(client: &mut Client, first: bool, since: Instant) -> Result<Come, ClientFault> {
    // Bytes that came with the request before are looked at before more is read.
    if !client.carry.is_empty()
        && let Taken::Request(request) = request::take(client, false)?
    {
        return Ok(Come::Request(request));
    }
    let mut begun = first || !client.carry.is_empty();
    wait_deadline(client, begun, since);
    loop {
        let nothing_came = client.carry.is_empty();
        if client.socket.readable(&client.watch).await.is_err() {
            // A connection that never sent a byte is closed without a word, like one that fell silent.
            return if nothing_came { Ok(Come::Nothing) } else { Err(ClientFault::Timeout) };
        }
        match request::take(client, true)? {
            Taken::Request(request) => return Ok(Come::Request(request)),
            Taken::Http2 => return Ok(Come::Http2),
            Taken::End => return Ok(Come::Nothing),
            Taken::Partial if !begun && !client.carry.is_empty() => {
                begun = true;
                wait_deadline(client, true, client.worker.clock.now());
            }
            Taken::Partial => {}
        }
    }
}

fn wait_deadline(client: &Client, begun: bool, now: Instant) {
    let settings = client.listening.settings();
    if begun {
        client.watch.set(Phase::Busy, deadline(now, settings.deadlines.client_head));
    } else if client.listening.is_draining() {
        // The next look at the watch ends the wait, but not before what has come already was read.
        client.watch.set(Phase::Idle, now);
    } else {
        client.watch.set(Phase::Idle, deadline(now, settings.deadlines.keep_alive_idle));
    }
}
