//! Copies of requests for another pool, whose answers are thrown away.
//!
//! Invariants: the client's request waits for nothing here; only a request that is whole in memory is copied, so a copy is
//! bounded by the scratch buffer; so many copies are under way and no more, and what is beyond them is left out.

use std::{cell::Cell, rc::Rc, time::Duration};

use evenkeel_balance::{Failure, Key, Outcome};
use evenkeel_config::balancer::route::Mirror as Told;
use evenkeel_http1::{Method, Parsed, parse_response};

use crate::{
    http1::{content::Content, request::Request},
    net::{
        scratch::{self, SCRATCH_BYTES},
        socket::Read,
        sweep::{Phase, Watch},
    },
    pool::{PoolState, Reuse, Server, Tries},
    worker::Worker,
};

/// A route's mirror on one worker.
pub(crate) struct Mirror {
    pool: Rc<PoolState>,
    share: u16,
    most: u32,
    deadline: Duration,
    /// Thousandths of a copy that are due.
    due: Cell<u16>,
    under_way: Rc<Cell<u32>>,
}

impl Mirror {
    pub(crate) fn new(told: &Told, pool: Rc<PoolState>) -> Self {
        Self {
            pool,
            share: told.share.into(),
            most: told.in_flight.get(),
            deadline: told.deadline,
            due: Cell::new(0),
            under_way: Rc::default(),
        }
    }

    /// Sends a copy of a request, when one is due, there is room for it, and all of it is here.
    pub(crate) fn copy(&self, worker: &Rc<Worker>, request: &Request) {
        let due = self.due.get() + self.share;
        self.due.set(due % 1000);
        let full = self.under_way.get() >= self.most;
        if due < 1000 || full || !request.is_whole() || request.upgrade {
            return;
        }
        self.under_way.set(self.under_way.get() + 1);
        let copy = Copy {
            worker: Rc::clone(worker),
            pool: Rc::clone(&self.pool),
            method: request.method,
            bytes: request.bytes.clone(),
            // The server that a cookie leads to is one of the other pool.
            key: request.key.moved(|_| None),
            under_way: Rc::clone(&self.under_way),
        };
        drop(tokio::task::spawn_local(copy.run(self.deadline)));
    }
}

/// A copy on its way.
struct Copy {
    worker: Rc<Worker>,
    pool: Rc<PoolState>,
    method: Method,
    bytes: Vec<u8>,
    key: Key,
    under_way: Rc<Cell<u32>>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.under_way.set(self.under_way.get() - 1);
    }
}

impl Copy {
    async fn run(self, deadline: Duration) {
        let watch = self.worker.sweep.watch();
        let until = self.worker.clock.now() + deadline;
        watch.bound(Some(until));
        let mut tries = Tries::NONE;
        let Ok((lease, mut server)) =
            self.pool.obtain(None, (&mut tries, self.key), &watch, &Reuse::Allowed).await
        else {
            return;
        };
        watch.set(Phase::Busy, until);
        let answered = self.converse(&mut server, &watch).await;
        let now = self.worker.clock.now();
        match answered {
            Ok((status, keep)) => lease.end(now, Outcome::of_status(status), keep.then_some(server.socket)),
            Err(failure) => lease.end(now, Outcome::Failed(failure), None),
        }
    }

    /// The status of the answer, and whether the connection may be kept.
    async fn converse(&self, server: &mut Server, watch: &Watch) -> Result<(u16, bool), Failure> {
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            match server.socket.write(rest).map_err(|_| Failure::Closed)? {
                0 => server.socket.writable(watch).await.map_err(|_| Failure::AnswerTimeout)?,
                written => rest = &rest[written..],
            }
        }
        let mut held = Vec::new();
        // What would go on, if anyone read the answer.
        let mut unread = Vec::new();
        let mut ended = false;
        let (status, mut content, mut keep) = loop {
            match parse_response(&held, SCRATCH_BYTES - 1, self.method).map_err(|_| Failure::BadAnswer)? {
                Parsed::Head(head) if head.is_interim() => drop(held.drain(..head.length)),
                Parsed::Head(head) => {
                    let mut content = Content::of(head.framing, head.trailers);
                    let rest = &held[head.length..];
                    let taken = content.take(rest, &mut unread).map_err(|_| Failure::BadAnswer)?.taken;
                    break (head.status, content, head.keep_alive && taken == rest.len());
                }
                Parsed::Partial if ended => return Err(Failure::Closed),
                Parsed::Partial => {
                    ended = self.read(server, watch, |bytes| held.extend_from_slice(bytes)).await?;
                }
            }
        };
        while !content.is_done() {
            let mut good = true;
            let ended = self
                .read(server, watch, |bytes| match content.take(bytes, &mut unread) {
                    Ok(taken) => keep &= taken.taken == bytes.len(),
                    Err(_) => good = false,
                })
                .await?;
            unread.clear();
            if ended && matches!(content, Content::UntilClose) {
                return Ok((status, false));
            }
            if ended || !good {
                return Err(Failure::BadAnswer);
            }
        }
        Ok((status, keep))
    }

    /// Waits for bytes and gives them to `take`; whether the server has closed.
    async fn read(&self, server: &Server, watch: &Watch, take: impl FnOnce(&[u8])) -> Result<bool, Failure> {
        server.socket.readable(watch).await.map_err(|_| Failure::AnswerTimeout)?;
        scratch::with(|scratch| match server.socket.read(&mut scratch.input) {
            Ok(Read::Bytes(length)) => {
                take(&scratch.input[..length]);
                Ok(false)
            }
            Ok(Read::Wait) => Ok(false),
            Ok(Read::End) => Ok(true),
            Err(_) => Err(Failure::Closed),
        })
    }
}
