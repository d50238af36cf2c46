//! UDP mode: datagrams of a client and its server, kept together as a session.
//!
//! Owns: the sessions of one listener at one worker. The kernel gives all datagrams of a client's address and port to
//! the same worker (SO_REUSEPORT), so a session belongs to one. Leaves to others: which server (`pool`). Invariants: a
//! session stays with its server until that fails or is found to be down; sessions are bounded in number and in silence;
//! a datagram that cannot go on at once is dropped and counted, as the network would, and never waits in memory.

mod session;
mod socket;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::UdpSocket as StdSocket,
    rc::Rc,
    time::Duration,
};

use evenkeel_balance::{Outcome, Tried};
use evenkeel_units::Instant;
use tokio::sync::Notify;

use crate::{
    listening::Listening,
    net::scratch,
    pool::{Lease, connect_failure},
    shared::Dropped,
    worker::Worker,
};
use session::Session;
pub(crate) use socket::bind;
use socket::{Flow, ListenerSocket, ServerSocket};

/// Datagrams taken at once before others of the worker get their turn: 64 of 1,200 bytes are 0.2 ms.
const TURN: usize = 64;

/// How long a session may be silent once its listener drains: an answer that takes longer is lost anyway.
const SETTLE: Duration = Duration::from_secs(2);

/// The sessions of a listener at one worker.
struct Sessions {
    worker: Rc<Worker>,
    listening: Rc<Listening>,
    socket: ListenerSocket,
    by_flow: RefCell<HashMap<Flow, Rc<Session>>>,
    /// The last one has ended.
    empty: Notify,
    /// When all must have ended, once the listener drains.
    until: Cell<Option<Instant>>,
}

/// Serves the clients of a socket until its listener has drained.
pub(crate) async fn serve(worker: Rc<Worker>, listening: Rc<Listening>, socket: StdSocket) {
    let socket = match ListenerSocket::new(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(listener = listening.name(), %error, "a socket is of no use"),
    };
    let sessions = Rc::new(Sessions {
        worker,
        listening,
        socket,
        by_flow: RefCell::default(),
        empty: Notify::new(),
        until: Cell::new(None),
    });
    while !sessions.listening.is_draining() {
        tokio::select! {
            () = sessions.listening.stopped() => {}
            ready = sessions.socket.readable() => sessions.take(ready).await,
        }
    }
    sessions.drain().await;
}

impl Sessions {
    /// Takes what has come, up to a turn's worth.
    async fn take(self: &Rc<Self>, ready: io::Result<()>) {
        if let Err(error) = ready {
            tracing::warn!(listener = self.listening.name(), %error, "datagrams cannot be waited for");
            return tokio::time::sleep(SETTLE).await;
        }
        for _ in 0..TURN {
            let taken = scratch::with(|scratch| match self.socket.receive(&mut scratch.input) {
                Ok((length, flow)) => {
                    self.forward(&scratch.input[..length], flow);
                    true
                }
                // An error that a client's box sent back says nothing of the next datagram.
                Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            });
            if !taken {
                return;
            }
        }
        tokio::task::yield_now().await;
    }

    /// Sends a client's datagram on to its server.
    fn forward(self: &Rc<Self>, bytes: &[u8], flow: Flow) {
        let tally = self.listening.tally();
        tally.udp.received.up();
        tally.udp.received_bytes.add(bytes.len() as u64);
        let now = self.worker.clock.now();
        let known = self.by_flow.borrow().get(&flow).map(Rc::clone);
        let session = match known {
            Some(session) => session,
            None => match self.begin(flow, now) {
                Ok(session) => session,
                Err(why) => return tally.udp.dropped(why),
            },
        };
        if let Err(why) = session.forward(bytes, now) {
            tally.udp.dropped(why);
        }
    }

    /// Begins a session for a client that has none.
    fn begin(self: &Rc<Self>, flow: Flow, now: Instant) -> Result<Rc<Session>, Dropped> {
        let settings = self.listening.settings();
        let most = settings.udp.map_or(0, |udp| self.worker.part(udp.max_sessions));
        if self.listening.is_draining() || self.worker.is_full() || self.by_flow.borrow().len() >= most {
            return Err(Dropped::SessionLimit);
        }
        let place = self.find(&flow, &mut Tried::NONE.clone(), now).ok_or(Dropped::NoServer)?;
        let session = Session::new(Rc::clone(self), flow, place, now);
        self.by_flow.borrow_mut().insert(flow, Rc::clone(&session));
        self.listening.opened();
        tokio::task::spawn_local(session::carry(Rc::clone(&session)));
        Ok(session)
    }

    /// A place at a server that the session has not been to, with a socket to it.
    fn find(&self, flow: &Flow, tried: &mut Tried, now: Instant) -> Option<(Lease, ServerSocket)> {
        let pool = Rc::clone(&self.listening.settings().pool);
        let key = pool.source_key(flow.client.ip());
        loop {
            let lease = pool.place(now, tried, key)?;
            pool.tally(lease.server).connects.up();
            match ServerSocket::connect(lease.address()) {
                Ok(socket) => return Some((lease, socket)),
                Err(error) => {
                    let (outcome, server) = (connect_failure(&error), lease.server);
                    lease.end(now, outcome, None);
                    tried.add(server);
                    if matches!(outcome, Outcome::Local(_)) || pool.may_retry(now, tried).is_err() {
                        return None;
                    }
                }
            }
        }
    }

    /// A session has ended.
    fn end(&self, flow: &Flow) {
        if self.by_flow.borrow_mut().remove(flow).is_some() {
            self.listening.closed();
        }
        if self.by_flow.borrow().is_empty() {
            self.empty.notify_one();
        }
    }

    /// How long a session may be silent from now on.
    fn patience(&self, now: Instant) -> Duration {
        let settings = self.listening.settings();
        let idle = settings.udp.map_or(SETTLE, |udp| udp.idle);
        match self.until.get() {
            Some(until) => until.since(now).min(SETTLE),
            None => idle,
        }
    }

    /// Lets sessions settle: no new ones, those that are there until they fall silent, all at most for the drain's time.
    async fn drain(self: &Rc<Self>) {
        let now = self.worker.clock.now();
        let patience = self.listening.settings().deadlines.drain;
        self.until.set(Some(now + patience));
        self.by_flow.borrow().values().for_each(|session| session.touch(now));
        let settled = async {
            while !self.by_flow.borrow().is_empty() {
                tokio::select! {
                    () = self.empty.notified() => {}
                    ready = self.socket.readable() => self.take(ready).await,
                }
            }
        };
        if tokio::time::timeout(patience, settled).await.is_err() {
            let left: Vec<_> = self.by_flow.borrow().values().map(Rc::clone).collect();
            left.iter().for_each(|session| session.cut());
        }
    }
}
