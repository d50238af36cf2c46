//! A pool as one worker sees it: who is next.
//!
//! Owns: the policies, the bound on ejection, failing open, and the order in which a worker tells the pool
//! what happens: `pick`, `start`, `finish`. Invariants: a pick allocates nothing and never names a server
//! that is full, that drains or that the request has tried; ejection never takes more of the pool than
//! the configuration allows; while no server is usable, those that are not drained are tried all the same.

use alloc::vec::Vec;
use core::num::{NonZeroU32, NonZeroUsize};

use evenkeel_config::{Name, balancer};
use evenkeel_units::Instant;

use crate::{
    Change, Outcome, RetryBudget, ServerIndex, ServerStatus, Standing, Tried, Verdict, change::Changes,
    server::Server,
};

/// With fewer usable servers than this the pool fails open.
///
/// One: while a single server works it takes what it can and the rest waits in the queue, for sending
/// requests to servers that are known to be dead helps nobody. With none, the checks may be what is wrong.
pub const FAIL_OPEN_BELOW: usize = 1;

/// A worker's part of a pool's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// How many workers share the limits evenly; each part is rounded up.
    pub count: NonZeroUsize,
    /// Sets workers apart, so that they do not all begin with the same server.
    pub random: u64,
}

impl Worker {
    /// A worker's part of a limit, at least 1.
    #[must_use]
    pub fn part(&self, limit: NonZeroU32) -> NonZeroU32 {
        let workers = u32::try_from(self.count.get()).unwrap_or(u32::MAX);
        NonZeroU32::new(limit.get().div_ceil(workers)).unwrap_or(NonZeroU32::MIN)
    }
}

/// What a pick found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pick {
    /// This server is next.
    Server(ServerIndex),
    /// Every server that would do has as much as it may have: wait for one of them.
    Full,
    /// No server would do: each is tried already or drains.
    Nobody,
}

/// Which servers may be picked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// Those that are usable.
    Usable,
    /// None is usable: those whose checks pass, though they failed requests.
    CheckedUp,
    /// Nor does any check pass: all that are not drained.
    All,
}

impl Opening {
    const fn admits(self, standing: Standing) -> bool {
        match standing {
            Standing::Usable => true,
            Standing::Ejected => matches!(self, Self::CheckedUp | Self::All),
            Standing::Down => matches!(self, Self::All),
            Standing::Draining => false,
        }
    }
}

/// Whether a request that failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Yes; the try is taken out of the budget.
    Granted,
    /// It has been tried as often as a request may be.
    AttemptsSpent,
    /// Too many other requests have been tried again.
    BudgetSpent,
}

/// Requests in flight for a weight; ordered without dividing.
#[derive(Debug, Clone, Copy)]
struct Load {
    active: u64,
    weight: u64,
}

impl Load {
    fn cmp(self, other: Self) -> core::cmp::Ordering {
        (self.active * other.weight).cmp(&(other.active * self.weight))
    }
}

/// What a look at all servers found.
enum Survey {
    Least(Load),
    Full,
    Nobody,
}

/// A pool as one worker sees it.
#[derive(Debug, Clone)]
pub struct Pool {
    settings: balancer::Pool,
    servers: Vec<Server>,
    opening: Opening,
    /// Who was picked last and not started: it keeps its turn, so that who looks twice takes one.
    unstarted: Option<ServerIndex>,
    /// When time alone changes something next.
    next_event: Option<Instant>,
    budget: RetryBudget,
    changes: Changes,
}

impl Pool {
    /// A pool in which every server is usable.
    #[must_use]
    pub fn new(settings: &balancer::Pool, worker: Worker, now: Instant) -> Self {
        let limit = worker.part(settings.limits.connections_per_server);
        let server = |server: &balancer::Server| Server::new(server.weight.as_u16(), limit);
        let mut pool = Self {
            servers: settings.servers.iter().map(server).collect(),
            opening: Opening::Usable,
            unstarted: None,
            next_event: None,
            budget: RetryBudget::new(&settings.retry, now),
            changes: Changes::new(),
            settings: settings.clone(),
        };
        let skipped = worker.random % pool.servers.len() as u64;
        for _ in 0..skipped {
            let _ = pool.pick(now, &Tried::NONE);
            pool.unstarted = None;
        }
        pool
    }

    /// A pool after a reload: servers with the name and address of one in `before` keep its health; new ones
    /// begin slowly beside those that have warmed up. What is in flight stays with `before`.
    #[must_use]
    pub fn replacing(before: &Self, settings: &balancer::Pool, worker: Worker, now: Instant) -> Self {
        let mut pool = Self::new(settings, worker, now);
        for (server, told) in pool.servers.iter_mut().zip(&settings.servers) {
            match before.position(&told.name, told) {
                Some(position) => server.adopt(&before.servers[position]),
                None => server.begin_ramp(now),
            }
        }
        pool.budget = RetryBudget::replacing(&before.budget, &settings.retry, now);
        pool.refresh(now);
        pool
    }

    fn position(&self, name: &Name, told: &balancer::Server) -> Option<usize> {
        self.settings.servers.iter().position(|server| server.name == *name && server.address == told.address)
    }

    /// The configuration of the pool.
    #[must_use]
    pub const fn settings(&self) -> &balancer::Pool {
        &self.settings
    }

    /// The next server for a request that has been to `tried`. Allocates nothing.
    ///
    /// Picking again without [`Self::start`] gives the same server while it is as good as any.
    pub fn pick(&mut self, now: Instant, tried: &Tried) -> Pick {
        self.advance(now);
        let least = match self.survey(now, tried) {
            Survey::Least(least) => least,
            Survey::Full => return Pick::Full,
            Survey::Nobody => return Pick::Nobody,
        };
        let keeps = |index: &ServerIndex| self.is_equal(index.position(), now, tried, least);
        if let Some(index) = self.unstarted.filter(keeps) {
            return Pick::Server(index);
        }
        self.take_turn(now, tried, least)
    }

    /// Whether a server that may be picked has room, as who waits in the queue would like to know.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.servers.iter().any(|server| self.opening.admits(server.standing()) && server.has_room())
    }

    fn survey(&self, now: Instant, tried: &Tried) -> Survey {
        let mut found = Survey::Nobody;
        for (position, server) in self.servers.iter().enumerate() {
            if !self.would_do(position, server, tried) {
                continue;
            }
            found = match found {
                found if !server.has_room() => match found {
                    Survey::Least(least) => Survey::Least(least),
                    Survey::Full | Survey::Nobody => Survey::Full,
                },
                Survey::Least(least) if self.load(server, now).cmp(least).is_ge() => Survey::Least(least),
                Survey::Least(_) | Survey::Full | Survey::Nobody => Survey::Least(self.load(server, now)),
            };
        }
        found
    }

    /// Among the least loaded, the one whose weighted turn it is (smooth weighted round-robin: each gains its
    /// weight, the one with most is taken and pays what all have gained).
    fn take_turn(&mut self, now: Instant, tried: &Tried, least: Load) -> Pick {
        let (mut total, mut best): (i64, Option<(i64, usize)>) = (0, None);
        for position in 0..self.servers.len() {
            if !self.is_equal(position, now, tried, least) {
                continue;
            }
            let server = &mut self.servers[position];
            let weight = i64::try_from(server.weight(now, self.settings.slow_start)).unwrap_or(i64::MAX);
            server.credit += weight;
            total += weight;
            if best.is_none_or(|(credit, _)| server.credit > credit) {
                best = Some((server.credit, position));
            }
        }
        let Some((_, position)) = best else { return Pick::Nobody };
        self.servers[position].credit -= total;
        let index = ServerIndex::new(position);
        self.unstarted = Some(index);
        Pick::Server(index)
    }

    /// Whether the server would do, has room and no more load than the least loaded.
    fn is_equal(&self, position: usize, now: Instant, tried: &Tried, least: Load) -> bool {
        let server = &self.servers[position];
        self.would_do(position, server, tried)
            && server.has_room()
            && self.load(server, now).cmp(least).is_eq()
    }

    fn would_do(&self, position: usize, server: &Server, tried: &Tried) -> bool {
        self.opening.admits(server.standing()) && !tried.contains(ServerIndex::new(position))
    }

    /// The load that the policy looks at: to round-robin all are equal.
    fn load(&self, server: &Server, now: Instant) -> Load {
        match self.settings.policy {
            balancer::Policy::RoundRobin => Load { active: 0, weight: 1 },
            balancer::Policy::LeastLoaded => Load {
                active: u64::from(server.active()),
                weight: server.weight(now, self.settings.slow_start),
            },
        }
    }

    /// A request that has been to `tried` goes to `server`, just picked. Each start needs one [`Self::finish`].
    pub fn start(&mut self, server: ServerIndex, tried: &Tried) {
        self.servers[server.position()].start();
        self.unstarted = None;
        if tried.count() == 0 {
            self.budget.arrived();
        }
    }

    /// What was started at `server` has ended: the server has room for another.
    pub fn finish(&mut self, now: Instant, server: ServerIndex, outcome: Outcome) {
        self.servers[server.position()].finish();
        self.judge(now, server, outcome);
    }

    /// Learns from an outcome without ending anything, as when a server fails in the middle of an exchange
    /// whose connection is still to be closed.
    pub fn judge(&mut self, now: Instant, server: ServerIndex, outcome: Outcome) {
        let known = &mut self.servers[server.position()];
        match outcome {
            Outcome::Served => known.served(now, &self.settings.ejection),
            Outcome::Failed(_) => {
                if known.failed(&self.settings.ejection) {
                    self.eject(now, server);
                }
            }
            // Nothing is known of the server.
            Outcome::ClientGone | Outcome::Local(_) => {}
        }
    }

    /// Leaves the server out, unless too many are already or its checks have done so.
    fn eject(&mut self, now: Instant, server: ServerIndex) {
        self.advance(now);
        let out = self.servers.iter().filter(|server| server.is_out()).count() as u64;
        let allowed = self.settings.ejection.max_share.of(self.servers.len() as u64);
        let known = &mut self.servers[server.position()];
        if out >= allowed || known.is_out() {
            return;
        }
        let until = known.eject(now, &self.settings.ejection);
        self.changes.push(Change::Ejected { server, until });
        self.refresh(now);
    }

    /// Whether a request that has been to `tried`, the last one included, may be tried again.
    pub fn retry(&mut self, now: Instant, tried: &Tried) -> Retry {
        if tried.count() > self.settings.retry.attempts {
            return Retry::AttemptsSpent;
        }
        if self.budget.take(now) { Retry::Granted } else { Retry::BudgetSpent }
    }

    /// Takes in what active checks say of a server.
    pub fn check(&mut self, now: Instant, server: ServerIndex, verdict: Verdict) {
        let known = &mut self.servers[server.position()];
        if !known.set_verdict(verdict) {
            return;
        }
        self.changes.push(match verdict {
            Verdict::Up => {
                known.begin_ramp(now);
                Change::Up { server }
            }
            Verdict::Down => Change::Down { server },
        });
        self.refresh(now);
    }

    /// Lets the server finish what it has and gives it nothing more.
    pub fn drain(&mut self, now: Instant, server: ServerIndex) {
        self.servers[server.position()].drain();
        self.refresh(now);
    }

    /// Ends the drain of a server; it begins again slowly.
    pub fn resume(&mut self, now: Instant, server: ServerIndex) {
        if self.servers[server.position()].resume() {
            self.servers[server.position()].begin_ramp(now);
            self.refresh(now);
        }
    }

    /// Lets time do its work: servers return, ramps end. `pick` does this too; a pool without requests should
    /// be told the time about once a second, so that its status is true.
    pub fn advance(&mut self, now: Instant) {
        if self.next_event.is_some_and(|event| event <= now) {
            self.refresh(now);
        }
    }

    /// Works out everything that depends on all servers and on time.
    fn refresh(&mut self, now: Instant) {
        let slow_start = self.settings.slow_start;
        let mut next: Option<Instant> = None;
        for (position, server) in self.servers.iter_mut().enumerate() {
            if server.try_return(now) {
                server.begin_ramp(now);
                self.changes.push(Change::Returned { server: ServerIndex::new(position) });
            }
            let events = [server.until(), server.ramp_end(now, slow_start)];
            next = events.into_iter().flatten().chain(next).min();
        }
        self.next_event = next;
        let opening = self.opening_now();
        if opening != self.opening {
            self.opening = opening;
            self.changes.push(Change::Opening(opening));
        }
    }

    fn opening_now(&self) -> Opening {
        let with = |standing| self.servers.iter().filter(|server| server.standing() == standing).count();
        if with(Standing::Usable) >= FAIL_OPEN_BELOW {
            Opening::Usable
        } else if with(Standing::Ejected) > 0 {
            Opening::CheckedUp
        } else {
            Opening::All
        }
    }

    /// Which servers may be picked at all.
    #[must_use]
    pub const fn opening(&self) -> Opening {
        self.opening
    }

    /// The next thing that changed by itself, oldest first.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.poll()
    }

    /// Each server with its state, in the order of the configuration.
    pub fn servers(&self, now: Instant) -> impl Iterator<Item = (&balancer::Server, ServerStatus)> {
        let status = move |server: &Server| server.status(now, self.settings.slow_start);
        self.settings.servers.iter().zip(self.servers.iter().map(status))
    }

    /// The place of every server, in the order of the configuration.
    pub fn indexes(&self) -> impl Iterator<Item = ServerIndex> + use<> {
        (0..self.servers.len()).map(ServerIndex::new)
    }
}
