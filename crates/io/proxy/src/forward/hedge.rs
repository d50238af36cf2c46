//! A request at two servers of HTTP/2 at once, because the first one takes long: whoever answers first is heard.
//!
//! Owns: the race, as `http1::hedge` does for servers of HTTP/1.1. Leaves to others: when a second server is worth it
//! (`core/balance`), and what comes after the first head (`http2`). Invariants: only requests that are safe and without
//! content are sent twice; only one of the two answers reaches the client; the stream of the other is reset with CANCEL
//! (RFC 9113 §8.1), its connection stays, and its being slow is not held against it as a failure.

use std::{future::poll_fn, mem, pin::pin, rc::Rc, task::Poll, time::Duration};

use evenkeel_balance::{Failure, Outcome, Tried};
use evenkeel_http2::Asked;
use evenkeel_units::Instant;

use super::{
    Failed,
    flow::Answering,
    http2::{Head, Told, next_head, poll_head, send},
};
use crate::{
    client::Client,
    http1::{
        exchange::{Broken, blame},
        request::{ClientFault, Request},
    },
    net::sweep::{Phase, Watch},
    pool::{Lease, deadline, links::Linked},
};

/// A request that may be sent to a second server.
pub(super) struct Hedged<'a> {
    pub(super) client: &'a Client,
    pub(super) request: &'a Request,
    /// The deadline of the first answer.
    pub(super) watch: &'a Watch,
    pub(super) tried: &'a Tried,
    pub(super) scheme: &'static str,
}

/// How a race ended.
enum Winner {
    /// The first server answered.
    First(Head),
    /// The second did; how the first had failed, if it had.
    Second(Lease, Linked, Told, Head, Option<Failed>),
    /// Both failed, or the client has gone; how the first did.
    Neither(Failed),
}

impl Hedged<'_> {
    /// Waits for the head of an answer of the server that was asked or, from `after` on, of a second one, which then takes
    /// its place; `None` when there is nothing to win by asking a second one, and the first is to be waited for.
    pub(super) async fn begin<D: Answering>(
        &self,
        (lease, linked, told): (&mut Lease, &mut Linked, &mut Told),
        down: &mut D,
        mut after: Duration,
    ) -> Result<Option<Head>, Failed> {
        let clock = self.client.worker.clock;
        let asked = linked.asked.unwrap_or(self.request.started);
        let second = loop {
            let left = after.saturating_sub(clock.now().since(asked));
            let came = tokio::time::timeout(left, next_head(&mut told.response, down, (linked, self.watch)));
            if let Ok(came) = came.await {
                return came.map(Some);
            }
            let now = clock.now();
            match lease.hedge((now, now.since(asked)), self.tried, self.request.key) {
                Ok(second) => break second,
                Err(Some(again)) => after = again,
                Err(None) => return Ok(None),
            }
        };
        match self.race((linked, told), down, second).await {
            Winner::First(head) => Ok(Some(head)),
            Winner::Neither(failed) => Err(failed),
            Winner::Second(other_lease, other_linked, other_told, head, first) => {
                self.request.answered_by(&other_lease);
                let lost = mem::replace(lease, other_lease);
                *linked = other_linked;
                *told = other_told;
                let now = clock.now();
                match first {
                    Some(failed) => lost.end(now, outcome(failed), None),
                    None => lost.overtaken(now, asked),
                }
                Ok(Some(head))
            }
        }
    }

    async fn race<D: Answering>(
        &self,
        (linked, told): (&Linked, &mut Told),
        down: &mut D,
        second: Lease,
    ) -> Winner {
        let watch = self.client.worker.sweep.watch();
        let mut other = pin!(self.ask(second, &watch));
        let (mut lost, mut given_up) = (None, false);
        poll_fn(|context| {
            if lost.is_none()
                && let Poll::Ready(came) = poll_head(&mut told.response, linked, context)
            {
                match came {
                    Ok(head) => return Poll::Ready(Winner::First(head)),
                    Err(failed) => lost = Some(failed),
                }
            }
            if !given_up && let Poll::Ready(came) = other.as_mut().poll(context) {
                match came {
                    Some((lease, linked, told, head)) => {
                        return Poll::Ready(Winner::Second(lease, linked, told, head, lost));
                    }
                    None => given_up = true,
                }
            }
            if down.poll_gone(context).is_ready() {
                return Poll::Ready(Winner::Neither(Broken::Client(ClientFault::Gone).into()));
            }
            if lost.is_none() && self.watch.poll_expired(context).is_ready() {
                lost = Some(Broken::Server(Failure::AnswerTimeout).into());
            }
            match lost {
                Some(failed) if given_up => Poll::Ready(Winner::Neither(failed)),
                Some(_) | None => Poll::Pending,
            }
        })
        .await
    }

    /// Sends the request to the second server and waits for the head of its answer; `None` when it failed, for which it has
    /// been judged then.
    async fn ask(&self, mut lease: Lease, watch: &Rc<Watch>) -> Option<(Lease, Linked, Told, Head)> {
        let worker = &self.client.worker;
        let mut linked = match lease.stream(worker, watch).await {
            Ok(linked) => linked,
            Err(outcome) => {
                lease.outcome = outcome;
                return None;
            }
        };
        let mut told = send(&linked, self.request, (self.scheme, Asked::Request), true).await.ok()?;
        self.request.tries.set(self.request.tries.get().saturating_add(1));
        let now: Instant = worker.clock.now();
        linked.asked = Some(now);
        let patience = self.client.listening.settings().deadlines.server_head;
        watch.set(Phase::Busy, deadline(now, patience));
        let head = poll_fn(|context| {
            if let Poll::Ready(came) = poll_head(&mut told.response, &linked, context) {
                return Poll::Ready(came);
            }
            watch.poll_expired(context).map(|_| Err(Broken::Server(Failure::AnswerTimeout).into()))
        });
        match head.await {
            Ok(head) => Some((lease, linked, told, head)),
            Err(failed) => {
                lease.outcome = outcome(failed);
                None
            }
        }
    }
}

/// What a failure in a race says of the server.
const fn outcome(failed: Failed) -> Outcome {
    match failed {
        Failed::Broken(broken) => match blame(broken) {
            Outcome::ClientGone => Outcome::Overtaken,
            other => other,
        },
        Failed::Refused => Outcome::Failed(Failure::Closed),
        // It did not look at the request.
        Failed::Unprocessed | Failed::Unsayable | Failed::NoWebSockets => Outcome::Overtaken,
    }
}
