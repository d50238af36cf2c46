//! A listener as one worker sees it, and what is done with its clients.
//!
//! Owns: the settings that its clients are served under, and its counters. Leaves to others: sockets (`accept`).
//! Invariant: a reload replaces the settings as a whole; a request sees one of the two, never a mixture.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use evenkeel_config::balancer::{Deadlines, Forward, Http2, Limits, Mode, ProxyProtocol, Udp};
use tokio::sync::Notify;

use crate::{
    access_log::AccessLog,
    acme::challenges::Challenges,
    pool::PoolState,
    route::{Routes, errors::ErrorPages},
    shared::{ListenerShared, ListenerTally},
    sources::SourceLimit,
    tls::{front::Front, identity::CertificateFields, passing::Passing},
    trace::Tracer,
    worker::Worker,
};

/// What is done with the clients of a listener; a reload puts another in its place.
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) http2: Http2,
    pub(crate) pool: Rc<PoolState>,
    pub(crate) tls: Option<Arc<Front>>,
    /// What is done with the fields of a client's certificate.
    pub(crate) certificate_fields: CertificateFields,
    /// Answers to authorities that ask whether names are ours, where requests come in the clear.
    pub(crate) challenges: Vec<Arc<Challenges>>,
    /// Whether servers of some pool are told which names clients of TLS ask for.
    pub(crate) tells_names: bool,
    /// Other pools, by the name that a TLS client asks for.
    pub(crate) passing: Option<Passing>,
    pub(crate) limits: Limits,
    /// How many connections each source may have; `None` for any number.
    pub(crate) source_limit: Option<Arc<SourceLimit>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) udp: Option<Udp>,
    pub(crate) proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub(crate) access_log: Option<AccessLog>,
    /// `None` where requests are not traced.
    pub(crate) tracer: Option<Rc<Tracer>>,
    /// What our own errors look like.
    pub(crate) errors: Arc<ErrorPages>,
    /// `None` when every request goes to the pool as it is.
    pub(crate) routes: Option<Routes>,
    pub(crate) forward: Arc<Forward>,
}

/// A listener as one worker sees it.
pub(crate) struct Listening {
    pub(crate) shared: Arc<ListenerShared>,
    worker: Rc<Worker>,
    settings: RefCell<Rc<Settings>>,
    draining: Cell<bool>,
    stop: Notify,
}

impl Listening {
    /// A listener that begins with `settings`.
    pub(crate) fn new(worker: Rc<Worker>, shared: Arc<ListenerShared>, settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            shared,
            worker,
            settings: RefCell::new(Rc::new(settings)),
            draining: Cell::new(false),
            stop: Notify::new(),
        })
    }

    /// What is done with its clients now.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// From the next request on its clients go this way.
    pub(crate) fn replace_settings(&self, settings: Settings) {
        *self.settings.borrow_mut() = Rc::new(settings);
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// What this worker counts at it.
    pub(crate) fn tally(&self) -> &ListenerTally {
        &self.shared.tallies[self.worker.index]
    }

    /// Takes no more clients, and lets those that are there finish.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.stop.notify_one();
    }

    /// Waits for the order to take no more clients.
    pub(crate) async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// Whether its clients should leave.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// A client came.
    pub(crate) fn opened(&self) {
        self.tally().accepted.up();
        self.tally().active.up();
        self.worker.client_came();
    }

    /// A client went.
    pub(crate) fn closed(&self) {
        self.tally().active.down();
        self.worker.client_went();
    }
}
