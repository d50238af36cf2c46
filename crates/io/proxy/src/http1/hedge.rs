//! A request at two servers at once, because the first one takes long: whoever answers first is heard.
//!
//! Owns: the race. Leaves to others: when a second server is worth it (`core/balance`). Invariants: only requests that
//! are safe (RFC 9110 §9.2.1) and without content are sent twice; only bytes of one of the two servers reach the client;
//! the connection of the other is closed, and its being slow is not held against it as a failure.

use std::{future::poll_fn, mem, pin::pin, rc::Rc, task::Poll, time::Duration};

use evenkeel_balance::{Failure, Outcome, Tried};
use evenkeel_units::Instant;

use crate::{
    client::Client,
    http1::{
        exchange::{Broken, blame, closed},
        request::{Request, Twice},
    },
    net::{scratch, socket::Read, sweep::Watch},
    pool::{Lease, Server},
};

/// After which time this request should be sent to a second server; `None` when it must not or need not.
pub(crate) fn after(request: &Request, lease: &Lease) -> Option<Duration> {
    match request.twice {
        Twice::Harmless => lease.hedge_after(),
        Twice::Never => None,
    }
}

/// Waits until the answer begins, at the server that was asked or, from `after` on, at a second one, which then takes its
/// place in `lease` and `server`.
pub(crate) async fn begin(
    client: &Client,
    request: &Request,
    (lease, server): (&mut Lease, &mut Server),
    (watch, tried): (&Watch, &Tried),
    mut after: Duration,
) -> Result<(), Broken> {
    let asked = server.asked.unwrap_or(request.started);
    let late = |_| Broken::Server(Failure::AnswerTimeout);
    let second = loop {
        let left = after.saturating_sub(client.worker.clock.now().since(asked));
        let arrived = tokio::time::timeout(left, server.socket.readable(watch)).await;
        if let Ok(arrived) = arrived {
            return arrived.map_err(late);
        }
        let now = client.worker.clock.now();
        match lease.hedge((now, now.since(asked)), tried, request.key) {
            Ok(second) => break second,
            Err(Some(again)) => after = again,
            Err(None) => return server.socket.readable(watch).await.map_err(late),
        }
    };
    let winner = race(client, request, (server, watch), second).await;
    let now = client.worker.clock.now();
    match winner {
        Winner::First => Ok(()),
        Winner::Neither(broken) => Err(broken),
        Winner::Second(other_lease, other_server, first) => {
            request.answered_by(&other_lease);
            let lost = mem::replace(lease, other_lease);
            *server = other_server;
            match first {
                Some(broken) => lost.end(now, blame(broken), None),
                None => lost.overtaken(now, asked),
            }
            Ok(())
        }
    }
}

/// How a race ended.
enum Winner {
    /// The first server answered.
    First,
    /// The second did; how the first had failed, if it had.
    Second(Lease, Server, Option<Broken>),
    /// Both failed; how the first did.
    Neither(Broken),
}

async fn race(
    client: &Client,
    request: &Request,
    (server, watch): (&mut Server, &Watch),
    second: Lease,
) -> Winner {
    let other_watch = client.worker.sweep.watch();
    let mut first = pin!(first_bytes(server, watch));
    let mut other = pin!(ask(client, request, second, &other_watch));
    let (mut lost, mut given_up) = (None, false);
    poll_fn(|context| {
        if lost.is_none()
            && let Poll::Ready(came) = first.as_mut().poll(context)
        {
            match came {
                Ok(()) => return Poll::Ready(Winner::First),
                Err(broken) => lost = Some(broken),
            }
        }
        if !given_up && let Poll::Ready(came) = other.as_mut().poll(context) {
            match came {
                Some((lease, server)) => return Poll::Ready(Winner::Second(lease, server, lost)),
                None => given_up = true,
            }
        }
        match lost {
            Some(broken) if given_up => Poll::Ready(Winner::Neither(broken)),
            Some(_) | None => Poll::Pending,
        }
    })
    .await
}

/// Sends the request to the second server and waits for the first bytes of its answer; `None` when it failed, for which
/// it has been judged then.
async fn ask(
    client: &Client,
    request: &Request,
    mut lease: Lease,
    watch: &Rc<Watch>,
) -> Option<(Lease, Server)> {
    let mut server = match lease.connection(watch).await {
        Ok(server) => server,
        Err(outcome) => {
            lease.outcome = outcome;
            return None;
        }
    };
    let sent = server.socket.write(&request.bytes);
    if !sent.is_ok_and(|written| written == request.bytes.len()) {
        // A kept connection that was closed meanwhile says nothing of the server, nor does a full one.
        return None;
    }
    request.tries.set(request.tries.get().saturating_add(1));
    let now: Instant = client.worker.clock.now();
    server.asked = Some(now);
    let patience = client.listening.settings().deadlines.server_head;
    watch.set(crate::net::sweep::Phase::Busy, crate::pool::deadline(now, patience));
    match first_bytes(&mut server, watch).await {
        Ok(()) => Some((lease, server)),
        Err(broken) => {
            lease.outcome = match blame(broken) {
                Outcome::ClientGone => Outcome::Overtaken,
                other => other,
            };
            None
        }
    }
}

/// Waits for bytes of the server's answer and holds them.
async fn first_bytes(server: &mut Server, watch: &Watch) -> Result<(), Broken> {
    loop {
        server.socket.readable(watch).await.map_err(|_| Broken::Server(Failure::AnswerTimeout))?;
        let read = scratch::with(|scratch| match server.socket.read(&mut scratch.input) {
            Ok(Read::Bytes(length)) => {
                server.held.extend_from_slice(&scratch.input[..length]);
                Ok(Read::Bytes(length))
            }
            other => other,
        });
        match read {
            Ok(Read::Bytes(_)) => return Ok(()),
            Ok(Read::Wait) => {}
            Ok(Read::End) | Err(_) => return Err(closed(server)),
        }
    }
}
