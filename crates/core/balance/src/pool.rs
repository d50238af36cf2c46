//! A pool as one worker sees it: who is next.
//!
//! Owns: who may be picked at all (health, the bound on ejection, failing open, standing by), and the order in which
//! a worker tells the pool what happens: `pick`, `start`, `finish`. Leaves to others (`choice`): whom the policy
//! prefers. Invariants: ejection never takes more of the pool than the configuration allows; while no server is
//! usable, those that are not drained are tried all the same.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use evenkeel_config::{Name, Weight, balancer};
use evenkeel_units::Instant;

use crate::{
    Change, Key, Layout, Outcome, RetryBudget, ServerIndex, ServerStatus, Standing, Taken, Tried, Verdict,
    change::Changes,
    draw::Draw,
    ewma::Ewma,
    hedge::{Elsewhere, Hedging},
    lane::{self, First, Lane},
    learned::{Learned, Typical},
    random::Random,
    server::Server,
    standby::{self, Supply},
    tournament::Tournament,
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
    pub(crate) layout: Arc<Layout>,
    servers: Vec<Server>,
    /// For each server what a pick looks at; kept by [`Self::refresh`].
    pub(crate) lanes: Vec<Lane>,
    /// The lanes in order of who is next; kept with every change to one of them.
    pub(crate) tournament: Tournament,
    first: First,
    /// Which turn it is, see [`Lane`].
    turn: u64,
    /// Only filled where the policy draws.
    pub(crate) draw: Draw,
    pub(crate) random: Random,
    /// How long each server's answers take.
    pub(crate) latencies: Vec<Ewma>,
    /// Requests in flight at all servers.
    pub(crate) flying: u64,
    /// The weight of all that may be picked.
    pub(crate) admitted_weight: u64,
    /// How much each server is given at once.
    limits: Vec<Learned>,
    typical: Typical,
    hedging: Hedging,
    opening: Opening,
    /// The last rank that is taken.
    taken: u8,
    /// When time alone changes something next.
    next_event: Option<Instant>,
    budget: RetryBudget,
    changes: Changes,
}

impl Pool {
    /// A pool in which every server is usable.
    #[must_use]
    pub fn new(layout: &Arc<Layout>, worker: Worker, now: Instant) -> Self {
        let settings = &layout.settings;
        let limit = worker.part(settings.limits.connections_per_server);
        let servers: Vec<_> = settings.servers.iter().map(|told| Server::new(told.weight)).collect();
        let count = servers.len();
        // Each worker begins with another server.
        let begin = usize::try_from(worker.random % count.max(1) as u64).unwrap_or(0);
        let order = |position: usize| ((position + count - begin) % count, count);
        let lane = |(position, server): (usize, &Server)| {
            Lane::new(server.weight(now, settings.slow_start), limit, order(position))
        };
        let mut pool = Self {
            lanes: servers.iter().enumerate().map(lane).collect(),
            tournament: Tournament::new(count),
            first: match settings.policy {
                balancer::Policy::RoundRobin => First::Turn,
                balancer::Policy::LeastLoaded
                | balancer::Policy::PeakEwma
                | balancer::Policy::PowerOfTwo
                | balancer::Policy::ConsistentHash(_) => First::Load,
            },
            turn: 0,
            draw: Draw::new(count),
            random: Random::new(worker.random),
            latencies: vec![Ewma::UNKNOWN; count],
            flying: 0,
            admitted_weight: 0,
            limits: vec![Learned::new(limit); count],
            typical: Typical::UNKNOWN,
            hedging: Hedging::new(&settings.hedge),
            servers,
            opening: Opening::Usable,
            taken: 0,
            next_event: None,
            budget: RetryBudget::new(&settings.retry, now),
            changes: Changes::new(),
            layout: Arc::clone(layout),
        };
        pool.refresh(now);
        pool
    }

    /// A pool after a reload: servers with the name and address of one in `before` keep its health; new ones
    /// begin slowly beside those that have warmed up. What is in flight is counted here too, so whoever finishes it
    /// there must finish it here.
    #[must_use]
    pub fn replacing(before: &Self, layout: &Arc<Layout>, worker: Worker, now: Instant) -> Self {
        let mut pool = Self::new(layout, worker, now);
        for (position, told) in layout.settings.servers.iter().enumerate() {
            match before.position(&told.name, told) {
                Some(known) => {
                    pool.servers[position].adopt(&before.servers[known]);
                    pool.latencies[position] = before.latencies[known];
                    pool.flying += u64::from(pool.lanes[position].adopt(&before.lanes[known]));
                    pool.limits[position].adopt(&before.limits[known]);
                }
                None => pool.servers[position].begin_ramp(now),
            }
        }
        pool.typical = before.typical;
        pool.hedging.adopt(&before.hedging);
        pool.taken = before.taken.min(layout.last_rank);
        pool.budget = RetryBudget::replacing(&before.budget, &layout.settings.retry, now);
        pool.refresh(now);
        pool
    }

    fn position(&self, name: &Name, told: &balancer::Server) -> Option<usize> {
        let same = |server: &balancer::Server| server.name == *name && server.address == told.address;
        self.layout.settings.servers.iter().position(same)
    }

    /// The configuration of the pool.
    #[must_use]
    pub fn settings(&self) -> &balancer::Pool {
        &self.layout.settings
    }

    /// Whether a server that may be picked has room, as who waits in the queue would like to know.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.tournament.winner().is_some()
    }

    /// Works out a server's place among the others after something about it changed.
    pub(crate) fn place(&mut self, position: usize) {
        self.tournament.set(position, self.lanes[position].rank(self.first));
    }

    /// A request that has been to `tried` goes to `server`, just picked. Each start needs one [`Self::finish`].
    pub fn start(&mut self, server: ServerIndex, tried: &Tried) {
        self.turn = self.turn.max(self.lanes[server.position()].start(self.turn));
        self.flying += 1;
        self.place(server.position());
        if tried.count() == 0 {
            self.budget.arrived();
            self.hedging.arrived();
        }
        if lane::is_late(self.turn) {
            self.lanes.iter_mut().for_each(|lane| lane.move_back(self.turn));
            self.turn = 0;
            (0..self.lanes.len()).for_each(|position| self.place(position));
        }
    }

    /// What was started at `server` has ended: the server has room for another.
    pub fn finish(&mut self, now: Instant, server: ServerIndex, outcome: Outcome) {
        self.lanes[server.position()].finish();
        self.flying = self.flying.saturating_sub(1);
        self.place(server.position());
        self.judge(now, server, outcome);
    }

    /// What was started at `server` does not count for now: the server has nothing to do for it. Not to be finished before
    /// [`Self::step_in`].
    pub fn step_aside(&mut self, server: ServerIndex) {
        self.lanes[server.position()].finish();
        self.flying = self.flying.saturating_sub(1);
        self.place(server.position());
    }

    /// What stepped aside counts again, over the limit if need be.
    pub fn step_in(&mut self, server: ServerIndex) {
        self.lanes[server.position()].resume();
        self.flying += 1;
        self.place(server.position());
    }

    /// A request that `server` has in flight was answered after `took`, or is given up after it, so that its answer
    /// would have taken at least as long.
    pub fn answered(&mut self, now: Instant, server: ServerIndex, took: Duration) {
        let position = server.position();
        self.latencies[position].observe(now, took);
        self.typical.observe(took);
        self.hedging.answered(took);
        let active = self.lanes[position].active();
        if self.limits[position].observe(now, took, active, &self.typical).is_some() {
            let limit = self.limit(position);
            self.lanes[position].set_limit(limit);
            self.place(position);
        }
    }

    /// How much a server is given at once.
    fn limit(&self, position: usize) -> NonZeroU32 {
        match self.layout.settings.limits.learned {
            balancer::Learned::On => self.limits[position].limit(),
            balancer::Learned::Off => self.limits[position].most(),
        }
    }

    /// After which time a request that was just sent asks for a second server; `None` when it need not.
    #[must_use]
    pub fn hedge_after(&self) -> Option<Duration> {
        self.hedging.after()
    }

    /// A second server for a request that `at` has had for `waited`, where `tried` has all that it has been to; takes
    /// from the budget of hedges. It needs a [`Self::start`] and a [`Self::finish`] like any other.
    ///
    /// # Errors
    /// For how long the request should have waited before it asks again; `None` when it should not ask any more.
    pub fn hedge(
        &mut self,
        now: Instant,
        (at, waited): (ServerIndex, Duration),
        tried: &Tried,
        key: Key,
    ) -> Result<ServerIndex, Option<Duration>> {
        // Who would wait for a place elsewhere gains nothing by it.
        let Pick::Server(other) = self.pick(now, tried, key) else { return Err(None) };
        let load = |server: ServerIndex| self.lanes[server.position()].load();
        let elsewhere = if load(other) <= load(at) / 2 { Elsewhere::Idle } else { Elsewhere::Busy };
        self.hedging.take(waited, elsewhere).map_err(Some)?;
        Ok(other)
    }

    /// Learns from an outcome without ending anything, as when a server fails in the middle of an exchange
    /// whose connection is still to be closed.
    pub fn judge(&mut self, now: Instant, server: ServerIndex, outcome: Outcome) {
        let known = &mut self.servers[server.position()];
        match outcome {
            Outcome::Served => known.served(now, &self.layout.settings.ejection),
            Outcome::Failed(_) => {
                if known.failed(&self.layout.settings.ejection) {
                    self.eject(now, server);
                }
            }
            // Nothing is known of the server.
            Outcome::ClientGone | Outcome::Overtaken | Outcome::Local(_) => {}
        }
    }

    /// Leaves the server out, unless too many are already or its checks have done so.
    fn eject(&mut self, now: Instant, server: ServerIndex) {
        self.advance(now);
        let out = self.servers.iter().filter(|server| server.is_out()).count() as u64;
        let allowed = self.layout.settings.ejection.max_share.of(self.servers.len() as u64);
        let known = &mut self.servers[server.position()];
        if out >= allowed || known.is_out() {
            return;
        }
        let until = known.eject(now, &self.layout.settings.ejection);
        self.changes.push(Change::Ejected { server, until });
        self.refresh(now);
    }

    /// Whether a request that has been to `tried`, the last one included, may be tried again.
    pub fn retry(&mut self, now: Instant, tried: &Tried) -> Retry {
        if tried.count() > self.layout.settings.retry.attempts {
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

    /// Gives the server another weight than the configuration does, until the next reload.
    pub fn set_weight(&mut self, now: Instant, server: ServerIndex, weight: Weight) {
        self.servers[server.position()].set_weight(weight);
        self.refresh(now);
    }

    /// Lets the server finish what it has and gives it nothing more.
    pub fn drain(&mut self, now: Instant, server: ServerIndex) {
        self.servers[server.position()].drain();
        self.refresh(now);
    }

    /// Whether a server drains and nothing else is wrong with it.
    pub(crate) fn drains_well(&self, position: usize) -> bool {
        self.servers.get(position).is_some_and(Server::drains_well)
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
        let slow_start = self.layout.settings.slow_start;
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
        self.taken = self.taken_now(now);
        self.admitted_weight = 0;
        for position in 0..self.servers.len() {
            let server = &self.servers[position];
            let ranked = opening != Opening::Usable || self.layout.ranks[position] <= self.taken;
            let admitted = ranked && opening.admits(server.standing());
            let weight = server.weight(now, slow_start);
            self.lanes[position].set(weight, admitted, self.turn);
            let limit = self.limit(position);
            self.lanes[position].set_limit(limit);
            if admitted {
                self.admitted_weight += u64::from(weight);
            }
            self.place(position);
        }
        self.fill_draw();
    }

    /// Makes the table from which the policy draws.
    fn fill_draw(&mut self) {
        match self.layout.settings.policy {
            balancer::Policy::PeakEwma | balancer::Policy::PowerOfTwo => {
                let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_admitted());
                self.draw.set(lanes.map(|(position, lane)| (position, lane.weight())));
            }
            balancer::Policy::RoundRobin
            | balancer::Policy::LeastLoaded
            | balancer::Policy::ConsistentHash(_) => {}
        }
    }

    /// Down to which rank servers are taken.
    fn taken_now(&self, now: Instant) -> u8 {
        let slow_start = self.layout.settings.slow_start;
        standby::last_taken(&self.layout.settings.failover, self.taken, self.layout.last_rank, |rank| {
            let mut supply = Supply::default();
            for (server, _) in self.servers.iter().zip(&self.layout.ranks).filter(|(_, at)| **at == rank) {
                supply.whole += u64::from(server.full_weight());
                if server.standing() == Standing::Usable {
                    supply.usable += u64::from(server.weight(now, slow_start));
                }
            }
            supply
        })
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

    /// Down to which rank, by priority and zone, servers are taken; 0 is the first.
    #[must_use]
    pub const fn rank_taken(&self) -> u8 {
        self.taken
    }

    /// Each server with its state, in the order of the configuration.
    pub fn servers(&self, now: Instant) -> impl Iterator<Item = (&balancer::Server, ServerStatus)> {
        let status = move |(position, told): (usize, _)| {
            let (server, lane): (&Server, &Lane) = (&self.servers[position], &self.lanes[position]);
            let status = server.status(now, self.layout.settings.slow_start, lane.active());
            let status = ServerStatus {
                rank: self.layout.ranks[position],
                taken: if lane.is_admitted() { Taken::Yes } else { Taken::No },
                latency: self.latencies[position].value(now),
                limit: lane.limit(),
                ..status
            };
            (told, status)
        };
        self.layout.settings.servers.iter().enumerate().map(status)
    }

    /// The place of every server, in the order of the configuration.
    pub fn indexes(&self) -> impl Iterator<Item = ServerIndex> + use<> {
        (0..self.servers.len()).map(ServerIndex::new)
    }
}
