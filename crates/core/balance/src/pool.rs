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
    Change, Outcome, RetryBudget, ServerIndex, ServerStatus, Standing, Tried, Verdict,
    change::Changes,
    lane::{Lane, Load},
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

/// A pool as one worker sees it.
#[derive(Debug, Clone)]
pub struct Pool {
    settings: balancer::Pool,
    servers: Vec<Server>,
    /// For each server what a pick looks at; kept by [`Self::refresh`].
    lanes: Vec<Lane>,
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
        let servers: Vec<_> = settings.servers.iter().map(|told| Server::new(told.weight.as_u16())).collect();
        let lane = |server: &Server| Lane::new(server.weight(now, settings.slow_start), limit);
        let mut pool = Self {
            lanes: servers.iter().map(lane).collect(),
            servers,
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
    /// begin slowly beside those that have warmed up. What is in flight is counted here too, so whoever finishes it
    /// there must finish it here.
    #[must_use]
    pub fn replacing(before: &Self, settings: &balancer::Pool, worker: Worker, now: Instant) -> Self {
        let mut pool = Self::new(settings, worker, now);
        for ((server, lane), told) in pool.servers.iter_mut().zip(&mut pool.lanes).zip(&settings.servers) {
            match before.position(&told.name, told) {
                Some(position) => {
                    server.adopt(&before.servers[position]);
                    lane.adopt(&before.lanes[position]);
                }
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
        match self.settings.policy {
            balancer::Policy::RoundRobin => self.pick_by(tried, |_| Load::ALIKE),
            balancer::Policy::LeastLoaded => self.pick_by(tried, Lane::load),
        }
    }

    /// Whether a server that may be picked has room, as who waits in the queue would like to know.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_admitted() && lane.has_room())
    }

    fn pick_by(&mut self, tried: &Tried, load: impl Fn(&Lane) -> Load) -> Pick {
        let least = match self.least(tried, &load) {
            Ok(least) => least,
            Err(none) => return none,
        };
        let is_equal = |index: ServerIndex, lane: &Lane| {
            lane.is_admitted() && lane.has_room() && load(lane).equals(least) && !tried.contains(index)
        };
        let keeps = |index: &ServerIndex| is_equal(*index, &self.lanes[index.position()]);
        let next = self.unstarted.filter(keeps).or_else(|| take_turn(&mut self.lanes, is_equal));
        self.unstarted = next;
        next.map_or(Pick::Nobody, Pick::Server)
    }

    /// The least load of those that would do and have room, or what is to be said when there is none.
    fn least(&self, tried: &Tried, load: impl Fn(&Lane) -> Load) -> Result<Load, Pick> {
        let (mut least, mut none): (Option<Load>, Pick) = (None, Pick::Nobody);
        for (position, lane) in self.lanes.iter().enumerate() {
            if !lane.is_admitted() || tried.contains(ServerIndex::new(position)) {
                continue;
            }
            if !lane.has_room() {
                none = Pick::Full;
            } else if least.is_none_or(|least| load(lane).is_below(least)) {
                least = Some(load(lane));
            }
        }
        least.ok_or(none)
    }

    /// A request that has been to `tried` goes to `server`, just picked. Each start needs one [`Self::finish`].
    pub fn start(&mut self, server: ServerIndex, tried: &Tried) {
        self.lanes[server.position()].start();
        self.unstarted = None;
        if tried.count() == 0 {
            self.budget.arrived();
        }
    }

    /// What was started at `server` has ended: the server has room for another.
    pub fn finish(&mut self, now: Instant, server: ServerIndex, outcome: Outcome) {
        self.lanes[server.position()].finish();
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
            let events = [server.until(), server.next_step(now, slow_start)];
            next = events.into_iter().flatten().chain(next).min();
        }
        self.next_event = next;
        let opening = self.opening_now();
        if opening != self.opening {
            self.opening = opening;
            self.changes.push(Change::Opening(opening));
        }
        for (lane, server) in self.lanes.iter_mut().zip(&self.servers) {
            lane.set(server.weight(now, slow_start), opening.admits(server.standing()));
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
        let status = move |(server, lane): (&Server, &Lane)| {
            server.status(now, self.settings.slow_start, lane.active())
        };
        self.settings.servers.iter().zip(self.servers.iter().zip(&self.lanes).map(status))
    }

    /// The place of every server, in the order of the configuration.
    pub fn indexes(&self) -> impl Iterator<Item = ServerIndex> + use<> {
        (0..self.servers.len()).map(ServerIndex::new)
    }
}

/// Whose weighted turn it is among the lanes that `is_equal` lets through (smooth weighted round-robin: each
/// gains its weight, the one with most is taken and pays what all have gained).
fn take_turn(lanes: &mut [Lane], is_equal: impl Fn(ServerIndex, &Lane) -> bool) -> Option<ServerIndex> {
    let (mut total, mut best): (i64, Option<(i64, ServerIndex)>) = (0, None);
    for (position, lane) in lanes.iter_mut().enumerate() {
        let index = ServerIndex::new(position);
        if !is_equal(index, lane) {
            continue;
        }
        let (weight, credit) = lane.gain();
        total += weight;
        if best.is_none_or(|(most, _)| credit > most) {
            best = Some((credit, index));
        }
    }
    let (_, index) = best?;
    lanes[index.position()].pay(total);
    Some(index)
}
