//! Where a request has been without success, and what is told of that when it was all.
//!
//! Owns: the last failure and why nobody else was asked after it, in words for clients, logs and metrics. Leaves to
//! others: whether there is another try (`core/balance`). Invariant: what is told is the last server's failure, the same
//! whatever is spoken with clients and servers; that nobody was left to ask is never told in its place.

use std::borrow::Cow;

use evenkeel_balance::{Failure, Key, LocalCause, Outcome, Retry, ServerIndex, Tried};
use evenkeel_units::Instant;

use super::{Lease, PoolState};
use crate::shared::Count;

/// How a try at a server came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No connection came about.
    Connect(Outcome),
    /// It failed when it had been asked.
    Exchange(Failure),
    /// It closed a kept connection without a word, which says nothing of it.
    Raced,
    /// It answered with a status that the request's route takes for none.
    Unwanted(u16),
}

impl Miss {
    /// What it says of the server.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Connect(outcome) => outcome,
            Self::Exchange(failure) => Outcome::Failed(failure),
            Self::Raced => Outcome::ClientGone,
            Self::Unwanted(status) => Outcome::of_status(status),
        }
    }

    /// The cause in a word.
    const fn cause(self) -> Cause {
        match self {
            Self::Connect(Outcome::Failed(failure)) | Self::Exchange(failure) => Cause::Failure(failure),
            Self::Connect(Outcome::Local(cause)) => Cause::Local(cause),
            Self::Connect(Outcome::Served | Outcome::Overtaken | Outcome::ClientGone) => {
                Cause::Failure(Failure::Closed)
            }
            Self::Raced => Cause::Failure(Failure::Closed),
            Self::Unwanted(_) => Cause::Failure(Failure::Status),
        }
    }

    /// The status and the reason that the client is told.
    const fn told(self) -> (u16, &'static str) {
        match self {
            Self::Connect(Outcome::Failed(failure)) => unconnected(failure),
            Self::Connect(Outcome::Local(cause)) => (503, local(cause)),
            Self::Connect(Outcome::Served | Outcome::Overtaken | Outcome::ClientGone) => {
                unconnected(Failure::Closed)
            }
            Self::Exchange(failure) => apology(failure),
            Self::Raced => apology(Failure::Closed),
            Self::Unwanted(status) => (status, "the server's answer was not wanted"),
        }
    }
}

const fn unconnected(failure: Failure) -> (u16, &'static str) {
    match failure {
        Failure::Refused => (502, "the server refused the connection"),
        Failure::Unreachable => (502, "there is no way to the server"),
        Failure::ConnectTimeout => (504, "no connection to the server in time"),
        Failure::Handshake => (502, "no TLS session with the server came about"),
        Failure::Closed | Failure::AnswerTimeout | Failure::BadAnswer | Failure::Status => {
            (502, "no connection to the server")
        }
    }
}

/// What a client is told when a server failed it.
const fn apology(failure: Failure) -> (u16, &'static str) {
    match failure {
        Failure::AnswerTimeout => (504, "the server did not answer in time"),
        Failure::BadAnswer => (502, "the server's answer was not HTTP"),
        Failure::Refused
        | Failure::Unreachable
        | Failure::ConnectTimeout
        | Failure::Handshake
        | Failure::Closed
        | Failure::Status => (502, "the server closed the connection without an answer"),
    }
}

const fn local(cause: LocalCause) -> &'static str {
    match cause {
        LocalCause::SourcePorts => "the balancer has no source port left towards the server",
        LocalCause::Descriptors => "the balancer has no file descriptor left",
        LocalCause::Memory => "the balancer has no memory left for a connection",
        LocalCause::Stopping => "the balancer is stopping",
    }
}

/// Why nobody else was asked after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// It has been tried as often as a request may be.
    Attempts,
    /// Too many requests of the pool have been tried again.
    Budget,
    /// No other server is left.
    Servers,
    /// Every other server has as much as it may have, and waiting for one took too long.
    Queue,
    /// Doing it twice might do harm, or not all of it is there any more.
    Unrepeatable,
}

impl Spent {
    pub(crate) const ALL: [Self; 5] =
        [Self::Attempts, Self::Budget, Self::Servers, Self::Queue, Self::Unrepeatable];

    /// A word for metrics and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Servers => "servers",
            Self::Queue => "queue",
            Self::Unrepeatable => "unrepeatable",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Attempts => "it was tried as often as a request may be",
            Self::Budget => "the pool's budget for retries is spent",
            Self::Servers => "no other server is left to ask",
            Self::Queue => "no other server had room in time",
            Self::Unrepeatable => "the request may not be repeated",
        }
    }
}

/// What kept a request from being answered by a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Failure(Failure),
    Local(LocalCause),
    Queue,
    Nobody,
}

/// How many causes there are.
const CAUSES: usize = Failure::ALL.len() + LocalCause::ALL.len() + 2;

impl Cause {
    /// Every cause.
    fn all() -> impl Iterator<Item = Self> {
        let failures = Failure::ALL.into_iter().map(Self::Failure);
        failures.chain(LocalCause::ALL.into_iter().map(Self::Local)).chain([Self::Queue, Self::Nobody])
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Failure(failure) => failure.as_str(),
            Self::Local(cause) => cause.as_str(),
            Self::Queue => "queue",
            Self::Nobody => "no_server",
        }
    }
}

/// Requests of one pool that no server answered, as one worker counted them.
#[derive(Debug, Default)]
pub(crate) struct UnservedTally {
    by_cause: [Count; CAUSES],
    /// As [`Spent::ALL`].
    by_end: [Count; Spent::ALL.len()],
}

impl UnservedTally {
    fn count(&self, unserved: Unserved) {
        let cause = unserved.cause();
        if let Some(at) = Cause::all().position(|known| known == cause) {
            self.by_cause[at].up();
        }
        if let Unserved::Failed(_, spent) = unserved
            && let Some(at) = Spent::ALL.iter().position(|&known| known == spent)
        {
            self.by_end[at].up();
        }
    }

    /// Each cause with its count over all workers.
    pub(crate) fn causes(tallies: &[Self]) -> impl Iterator<Item = (&'static str, u64)> {
        let sum = |at: usize| tallies.iter().map(|tally| tally.by_cause[at].value()).sum();
        Cause::all().map(Cause::as_str).enumerate().map(move |(at, word)| (word, sum(at)))
    }

    /// Each reason for which nobody else was asked, with its count over all workers.
    pub(crate) fn ends(tallies: &[Self]) -> impl Iterator<Item = (&'static str, u64)> {
        let sum = |at: usize| tallies.iter().map(|tally| tally.by_end[at].value()).sum();
        Spent::ALL.into_iter().enumerate().map(move |(at, spent)| (spent.as_str(), sum(at)))
    }
}

/// Why there is no answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// The queue is full, or the wait in it was too long; no server was asked.
    Queue,
    /// No server may be asked at all.
    Nobody,
    /// The last server that was asked failed so, and nobody else was asked after it.
    Failed(Miss, Spent),
}

impl Unserved {
    const fn cause(self) -> Cause {
        match self {
            Self::Queue => Cause::Queue,
            Self::Nobody => Cause::Nobody,
            Self::Failed(miss, _) => miss.cause(),
        }
    }

    /// The status and the reason that the client is told.
    pub(crate) fn told(self) -> (u16, Cow<'static, str>) {
        match self {
            Self::Queue => (503, Cow::Borrowed("every server has as much as it may have")),
            Self::Nobody => (503, Cow::Borrowed("no server is left to ask")),
            Self::Failed(miss, Spent::Unrepeatable) => {
                let (status, reason) = miss.told();
                (status, Cow::Borrowed(reason))
            }
            Self::Failed(miss, spent) => {
                let (status, reason) = miss.told();
                (status, Cow::Owned(format!("{reason}; {}", spent.sentence())))
            }
        }
    }
}

/// What the access log tells of a request that no server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Story {
    /// The last server that was asked.
    pub(crate) server: Option<Box<str>>,
    /// The cause, in a word.
    pub(crate) cause: &'static str,
    /// Why nobody else was asked, in a word.
    pub(crate) retries_ended: Option<&'static str>,
    /// Servers that were asked.
    pub(crate) tries: u8,
}

/// Where a request has been.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) tried: Tried,
    last: Option<(ServerIndex, Miss)>,
}

impl Tries {
    /// Nowhere yet.
    pub(crate) const NONE: Self = Self { tried: Tried::NONE, last: None };

    /// A server was asked in vain.
    pub(super) fn add(&mut self, server: ServerIndex, miss: Miss) {
        self.tried.add(server);
        self.last = Some((server, miss));
    }

    /// A server was to be asked, but the box lacked what that takes; it may still be asked.
    pub(super) const fn lack(&mut self, server: ServerIndex, outcome: Outcome) {
        self.last = Some((server, Miss::Connect(outcome)));
    }

    /// What `unserved` is for who has been elsewhere before: what that server said is worth more than that none is left.
    pub(super) fn remember(&self, unserved: Unserved) -> Unserved {
        match (unserved, self.last) {
            (Unserved::Queue, Some((_, miss))) => Unserved::Failed(miss, Spent::Queue),
            (Unserved::Nobody, Some((_, miss))) => Unserved::Failed(miss, Spent::Servers),
            (unserved @ (Unserved::Queue | Unserved::Nobody | Unserved::Failed(..)), _) => unserved,
        }
    }

    /// Counts a request that no server answers, and what is told of it.
    pub(crate) fn give_up(&self, pool: &PoolState, unserved: Unserved) -> Box<Story> {
        pool.shared.unserved[pool.worker].count(unserved);
        let server = self.last.map(|(server, _)| pool.shared.servers[server.position()].name.as_str().into());
        let retries_ended = match unserved {
            Unserved::Failed(_, spent) => Some(spent.as_str()),
            Unserved::Queue | Unserved::Nobody => None,
        };
        Box::new(Story { server, cause: unserved.cause().as_str(), retries_ended, tries: self.tried.count() })
    }
}

/// What leads a request to a server: where it has been, and its key.
pub(crate) type Led<'a> = (&'a mut Tries, Key);

impl PoolState {
    /// Takes a try at another server than `tried` from the budget.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn may_retry(&self, now: Instant, tried: &Tried) -> Result<(), Spent> {
        match self.balance.borrow_mut().retry(now, tried) {
            Retry::Granted => Ok(()),
            Retry::AttemptsSpent => Err(Spent::Attempts),
            Retry::BudgetSpent => Err(Spent::Budget),
        }
    }
}

impl Lease {
    /// Ends a try that came to nothing, and asks whether there may be another.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn fail_over(self, now: Instant, tries: &mut Tries, miss: Miss) -> Result<(), Unserved> {
        let (pool, server) = (std::rc::Rc::clone(&self.pool), self.server);
        self.end(now, miss.outcome(), None);
        tries.add(server, miss);
        pool.may_retry(now, &tries.tried).map_err(|spent| Unserved::Failed(miss, spent))?;
        pool.tally(server).retries.up();
        Ok(())
    }

    /// Ends a try that came to nothing, after which nobody else may be asked.
    pub(crate) fn fail(self, now: Instant, tries: &mut Tries, miss: Miss) -> Unserved {
        let server = self.server;
        self.end(now, miss.outcome(), None);
        tries.add(server, miss);
        Unserved::Failed(miss, Spent::Unrepeatable)
    }
}
