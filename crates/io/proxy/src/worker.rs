//! A worker: one thread, one single-threaded runtime, its own sockets and its own view of every pool.
//!
//! Owns: what the connections of a thread share, and taking over a plan. Leaves to others: making plans
//! (`plan`). Invariant: workers share nothing that is written while a request is served.

use std::{
    cell::{Cell, RefCell},
    io,
    num::{NonZeroU32, NonZeroUsize},
    rc::{Rc, Weak},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use evenkeel_config::balancer::Listener;
use evenkeel_units::Instant;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, oneshot},
};

use crate::{
    accept,
    client::Client,
    clock::Clock,
    date::{self, DateText},
    http1,
    listening::{Listening, Settings},
    lot::{Lot, Wait},
    net::{
        reactor::Reactor,
        splice::Pipe,
        sweep::{SWEEP_INTERVAL, Sweep, Watch},
    },
    plan::{Entrance, Plan, PlannedListener},
    pool::{PoolState, ports},
    route::Routes,
    tls::{passing::Passing, turnstile::Turnstile},
    trace::Tracer,
    udp,
};

/// Pools are told the time on every fourth sweep: five times a second.
const SWEEPS_PER_TICK: u32 = 4;

/// Pipes kept for reuse: as many large bodies at once as a worker may well have.
const MAX_PIPES: usize = 64;

/// An order to a worker.
pub(crate) enum Order {
    /// Take over this plan, and say so when every new request is under it.
    Apply(Arc<Plan>, oneshot::Sender<()>),
    /// Take no more clients, and end when the last one has gone or this long has passed.
    Drain(Duration),
}

/// What the connections of one thread share.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) clock: Clock,
    pub(crate) sweep: Sweep,
    pub(crate) lot: Lot,
    /// What clients at rest have in the place of a watch.
    pub(crate) no_watch: Rc<Watch>,
    /// Tasks that wait for the first byte of a request.
    pub(crate) waiting: Cell<usize>,
    /// Where handshakes of clients wait for their turn.
    pub(crate) turnstile: Rc<Turnstile>,
    count: NonZeroUsize,
    seed: u64,
    ids: Cell<u64>,
    /// The name by which Via tells of this process.
    via: Box<str>,
    date: Cell<DateText>,
    pipes: RefCell<Vec<Pipe>>,
    tracer: RefCell<Option<Rc<Tracer>>>,
    listeners: RefCell<Vec<Rc<Listening>>>,
    /// Also those of earlier plans, while a request is under way there.
    pools: RefCell<Vec<Weak<PoolState>>>,
    clients: Cell<usize>,
    max_clients: Cell<usize>,
    changed: Notify,
}

/// How to reach a worker.
pub(crate) struct Handle {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts worker number `index` of `count`; `seed` sets workers apart.
///
/// # Errors
/// When the system grants no thread.
pub(crate) fn start(index: usize, count: NonZeroUsize, clock: Clock, seed: u64) -> io::Result<Handle> {
    let (orders, incoming) = mpsc::unbounded_channel();
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    // The runtime lives on its own thread; this one only proves that the system grants what it needs.
    drop(runtime?);
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(index, %error, "a worker could not start"),
        };
        let worker = Rc::new(Worker::new(index, count, clock, seed));
        runtime.block_on(worker.run(incoming));
    })?;
    Ok(Handle { orders, thread })
}

impl Worker {
    fn new(index: usize, count: NonZeroUsize, clock: Clock, seed: u64) -> Self {
        Self {
            index,
            clock,
            sweep: Sweep::default(),
            lot: Lot::default(),
            no_watch: Watch::idle(),
            turnstile: Turnstile::new(),
            waiting: Cell::new(0),
            count,
            seed,
            ids: Cell::new(0),
            // Unlike that of any other process that a request may meet, or a chain would look like a circle.
            via: format!("evenkeel-{:08x}", seed & 0xffff_ffff).into(),
            date: Cell::new(date::now()),
            pipes: RefCell::default(),
            tracer: RefCell::default(),
            listeners: RefCell::default(),
            pools: RefCell::default(),
            clients: Cell::new(0),
            max_clients: Cell::new(0),
            changed: Notify::new(),
        }
    }

    async fn run(self: Rc<Self>, mut orders: mpsc::UnboundedReceiver<Order>) {
        match Reactor::start() {
            Ok(reactor) => drop(tokio::task::spawn_local(self.clone().mind(reactor))),
            Err(error) => return tracing::error!(index = self.index, %error, "a worker could not start"),
        }
        tokio::task::spawn_local(Rc::clone(&self).keep_time());
        while let Some(order) = orders.recv().await {
            match order {
                Order::Apply(plan, done) => {
                    self.apply(&plan);
                    // Who asked may have given up waiting.
                    let _ = done.send(());
                }
                Order::Drain(patience) => return self.drain(patience).await,
            }
        }
    }

    async fn mind(self: Rc<Self>, mut reactor: Reactor) {
        let call = |key| {
            if let Some((client, wait)) = self.lot.take(key) {
                rouse(client, wait);
            }
        };
        loop {
            let Err(error) = reactor.turn(call).await else { continue };
            tracing::error!(index = self.index, %error, "a worker cannot see what its connections do");
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn keep_time(self: Rc<Self>) {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            for _ in 0..SWEEPS_PER_TICK {
                interval.tick().await;
                let now = self.clock.now();
                self.sweep.walk(now);
                self.lot.walk(now, rouse);
                self.date.set(date::now());
            }
            self.tick(self.clock.now());
        }
    }

    fn tick(&self, now: Instant) {
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.iter().filter_map(Weak::upgrade).for_each(|pool| pool.tick(now));
        ports::tick(now);
    }

    /// Takes over a plan: pools first, then listeners, then those that are no more.
    fn apply(self: &Rc<Self>, plan: &Plan) {
        let before: Vec<_> = self.pools.borrow().iter().filter_map(Weak::upgrade).collect();
        let part = evenkeel_balance::Worker { count: self.count, random: self.seed ^ self.index as u64 };
        let deadlines = plan.config.deadlines();
        let pool = |(layout, shared): (&Arc<evenkeel_balance::Layout>, &Arc<crate::shared::PoolShared>)| {
            let same_name = |pool: &&Rc<PoolState>| pool.shared.name == shared.name;
            let old = before.iter().rev().find(same_name);
            if let Some(old) = old.filter(|old| old.goes_on(shared, layout.settings(), deadlines)) {
                return Rc::clone(old);
            }
            let context = (self.clock, old.map(|pool| &**pool));
            let next = PoolState::new(layout, deadlines, Arc::clone(shared), (self.index, part), context);
            let next = Rc::new(next);
            before.iter().filter(same_name).for_each(|old| old.hand_over(&next));
            self.pools.borrow_mut().push(Rc::downgrade(&next));
            next
        };
        let pools: Vec<_> = plan.layouts.iter().zip(&plan.pools).map(pool).collect();
        pools.iter().zip(&plan.cookies.pools).for_each(|(pool, cookies)| pool.set_cookies(cookies.as_ref()));
        self.max_clients.set(self.part(plan.config.limits().max_clients));
        self.changed.notify_waiters();
        self.trace(plan);
        let mut routes = plan.routes.take(self.index, &plan.config, &pools).into_iter();
        let listeners = plan
            .listeners
            .iter()
            .zip(plan.config.listeners())
            .map(|both| self.listen(plan, both, &pools, routes.next().flatten()))
            .collect();
        for gone in self.listeners.replace(listeners) {
            if !plan.listeners.iter().any(|planned| Arc::ptr_eq(&planned.shared, &gone.shared)) {
                gone.drain();
            }
        }
    }

    /// Traces as the plan says from now on.
    fn trace(&self, plan: &Plan) {
        let mut tracer = self.tracer.borrow_mut();
        let exporter = plan.traces.exporter.as_ref();
        let known = tracer.take().filter(|known| exporter.is_some_and(|exporter| known.tells(exporter)));
        *tracer = known.or_else(|| exporter.map(|exporter| Rc::new(Tracer::new(exporter))));
    }

    fn listen(
        self: &Rc<Self>,
        plan: &Plan,
        (planned, listener): (&PlannedListener, &Listener),
        pools: &[Rc<PoolState>],
        routes: Option<Routes>,
    ) -> Rc<Listening> {
        let settings = Settings {
            mode: planned.mode,
            http2: planned.http2,
            pool: Rc::clone(&pools[planned.pool.position()]),
            tls: planned.tls.clone(),
            passing: Passing::new(listener, pools),
            certificate_fields: plan.certificate_fields(),
            tells_names: pools.iter().any(|pool| pool.tells_names()),
            challenges: if planned.tls.is_none() { plan.challenges() } else { Vec::new() },
            limits: *plan.config.limits(),
            deadlines: *plan.config.deadlines(),
            udp: planned.udp,
            proxy_protocol: planned.proxy_protocol.clone(),
            access_log: plan.access_log.clone(),
            tracer: self.tracer.borrow().clone(),
            errors: plan.routes.errors(),
            routes,
            forward: Arc::clone(&planned.forward),
        };
        let known = self.listeners.borrow();
        if let Some(known) = known.iter().find(|known| Arc::ptr_eq(&known.shared, &planned.shared)) {
            known.replace_settings(settings);
            return Rc::clone(known);
        }
        let listening = Listening::new(Rc::clone(self), Arc::clone(&planned.shared), settings);
        if let Some(socket) = planned.take_socket(self.index) {
            let (worker, listening) = (Rc::clone(self), Rc::clone(&listening));
            match socket {
                Entrance::Connections(socket) => {
                    drop(tokio::task::spawn_local(accept::accept(worker, listening, socket)));
                }
                Entrance::Datagrams(socket) => {
                    drop(tokio::task::spawn_local(udp::serve(worker, listening, socket)));
                }
            }
        }
        listening
    }

    /// Lets everything finish, for at most `patience`.
    async fn drain(&self, patience: Duration) {
        for listening in self.listeners.borrow().iter() {
            listening.drain();
        }
        // Lets the accept loops empty their queues before the clients are counted.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        self.end_idle();
        let left = async {
            while self.clients.get() > 0 {
                self.changed.notified().await;
            }
        };
        if tokio::time::timeout(patience, left).await.is_err() {
            tracing::warn!(
                worker = self.index,
                clients = self.clients.get(),
                "closed what did not finish in time"
            );
        }
    }

    /// The name by which Via tells of this process.
    pub(crate) fn via(&self) -> &str {
        &self.via
    }

    /// The date, at most a sweep old.
    pub(crate) fn date(&self) -> DateText {
        self.date.get()
    }

    /// A new request id: unlike all others of this process, and most likely of all others.
    pub(crate) fn next_id(&self) -> String {
        let count = self.ids.get();
        self.ids.set(count + 1);
        format!("{:012x}-{:x}-{count:x}", self.seed & 0xffff_ffff_ffff, self.index)
    }

    /// Ends every wait for a next request at listeners that drain.
    pub(crate) fn end_idle(&self) {
        self.sweep.end_idle();
        // Where there are many at rest, the sweeps to come see to the others.
        self.lot.walk(self.clock.now(), rouse);
    }

    /// A client came.
    pub(crate) fn client_came(&self) {
        self.clients.set(self.clients.get() + 1);
    }

    /// A client went.
    pub(crate) fn client_went(&self) {
        self.clients.set(self.clients.get() - 1);
        self.changed.notify_waiters();
    }

    /// This worker's part of a limit, rounded up.
    pub(crate) fn part(&self, limit: NonZeroU32) -> usize {
        usize::try_from(limit.get()).unwrap_or(usize::MAX).div_ceil(self.count.get())
    }

    /// Whether there are as many clients as there may be.
    pub(crate) const fn is_full(&self) -> bool {
        self.clients.get() >= self.max_clients.get()
    }

    /// Waits until there is room for another client.
    pub(crate) async fn has_room(&self) {
        while self.is_full() {
            self.changed.notified().await;
        }
    }

    /// An empty pipe.
    ///
    /// # Errors
    /// When the system grants none.
    pub(crate) fn take_pipe(&self) -> io::Result<Pipe> {
        self.pipes.borrow_mut().pop().map_or_else(Pipe::new, Ok)
    }

    /// Keeps a pipe for the next one who needs it, when it is empty.
    pub(crate) fn give_pipe(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipe.is_empty() && pipes.len() < MAX_PIPES {
            pipes.push(pipe);
        }
    }
}

/// Serves a client again that was at rest.
fn rouse(client: Client, wait: Wait) {
    tokio::task::spawn_local(http1::serve(client.roused(), wait));
}
