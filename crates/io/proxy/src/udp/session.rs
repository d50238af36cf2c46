//! A session: the datagrams of one client with one server.
//!
//! Owns: who its server is and how long it lasts. Invariants: when a server says that its port is closed, or is found to
//! be down, the session moves to another one; what the server sent is never sent to anybody but the session's client.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use evenkeel_balance::{Failure, Outcome, Tried};
use evenkeel_units::Instant;
use tokio::sync::Notify;

use super::{Flow, Sessions, socket::ServerSocket};
use crate::{
    access_log::{DONE, Event, Whom},
    net::{
        scratch,
        sweep::{Phase, Watch},
    },
    pool::{Lease, connect_failure, deadline},
    shared::Dropped,
};

/// A session.
pub(super) struct Session {
    sessions: Rc<Sessions>,
    flow: Flow,
    watch: Rc<Watch>,
    lease: RefCell<Option<Lease>>,
    socket: RefCell<Rc<ServerSocket>>,
    /// Whether its server has answered.
    answered: Cell<bool>,
    /// The servers that have failed it since one answered.
    tried: Cell<Tried>,
    moved: Notify,
    began: Instant,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
    /// Servers that it was with.
    servers: Cell<u8>,
}

impl Session {
    pub(super) fn new(
        sessions: Rc<Sessions>,
        flow: Flow,
        (lease, socket): (Lease, ServerSocket),
        now: Instant,
    ) -> Rc<Self> {
        let watch = sessions.worker.sweep.watch();
        let session = Self {
            sessions,
            flow,
            watch,
            lease: RefCell::new(Some(lease)),
            socket: RefCell::new(Rc::new(socket)),
            answered: Cell::new(false),
            tried: Cell::new(Tried::NONE),
            moved: Notify::new(),
            began: now,
            received_bytes: Cell::new(0),
            sent_bytes: Cell::new(0),
            servers: Cell::new(1),
        };
        session.touch(now);
        Rc::new(session)
    }

    /// From now on it may be silent for as long as sessions may.
    pub(super) fn touch(&self, now: Instant) {
        self.watch.set(Phase::Busy, deadline(now, self.sessions.patience(now)));
    }

    /// Ends it at once.
    pub(super) fn cut(&self) {
        self.close(Outcome::ClientGone, "the listener drained");
        self.moved.notify_one();
    }

    /// Sends the client's datagram to the server.
    pub(super) fn forward(&self, bytes: &[u8], now: Instant) -> Result<(), Dropped> {
        self.touch(now);
        if self.lease.borrow().as_ref().is_some_and(Lease::is_down) {
            // Where there is no other one, the server that is there is tried all the same.
            self.leave(Outcome::ClientGone, now);
        }
        loop {
            let socket = Rc::clone(&self.socket.borrow());
            match socket.send(bytes) {
                Ok(()) => {
                    self.received_bytes.set(self.received_bytes.get() + bytes.len() as u64);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Dropped::ServerRoom),
                Err(error) if is_too_long(&error) => return Err(Dropped::TooLong),
                Err(error) if self.fail(&error, now) => {}
                Err(_) => return Err(Dropped::NoServer),
            }
        }
    }

    /// The server failed: the session moves, or ends where there is no other server; whether it moved.
    fn fail(&self, error: &io::Error, now: Instant) -> bool {
        let outcome = match connect_failure(error) {
            // A datagram has no connection that could be closed: whatever else the network says, there is no way.
            Outcome::Failed(Failure::Closed) => Outcome::Failed(Failure::Unreachable),
            other => other,
        };
        let moved = self.leave(outcome, now);
        if !moved {
            self.close(outcome, "the server failed, and no other could be asked");
            self.moved.notify_one();
        }
        moved
    }

    /// Goes over to another server, when there is one.
    fn leave(&self, outcome: Outcome, now: Instant) -> bool {
        let mut tried = self.tried.get();
        if let Some(lease) = self.lease.borrow().as_ref() {
            tried.add(lease.server);
        }
        let Some((lease, socket)) = self.sessions.find(&self.flow, &mut tried, now) else { return false };
        self.tried.set(tried);
        self.answered.set(false);
        self.servers.set(self.servers.get().saturating_add(1));
        self.sessions.listening.tally().udp.moved.up();
        *self.socket.borrow_mut() = Rc::new(socket);
        let before = self.lease.borrow_mut().replace(lease);
        before.into_iter().for_each(|lease| lease.end(now, outcome, None));
        self.moved.notify_one();
        true
    }

    /// Sends on what the server has sent; whether there may be more.
    fn bring(&self, socket: &ServerSocket) -> bool {
        scratch::with(|scratch| {
            let length = match socket.receive(&mut scratch.input) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    let now = self.sessions.worker.clock.now();
                    self.fail(&error, now);
                    return false;
                }
            };
            self.answered.set(true);
            self.tried.set(Tried::NONE);
            self.touch(self.sessions.worker.clock.now());
            let tally = &self.sessions.listening.tally().udp;
            match self.sessions.socket.send(&scratch.input[..length], &self.flow) {
                Ok(()) => {
                    tally.sent.up();
                    tally.sent_bytes.add(length as u64);
                    self.sent_bytes.set(self.sent_bytes.get() + length as u64);
                }
                Err(error) if is_too_long(&error) => tally.dropped(Dropped::TooLong),
                // No room, or the client's box has said that nobody listens there any more.
                Err(_) => tally.dropped(Dropped::ClientRoom),
            }
            true
        })
    }

    fn close(&self, outcome: Outcome, end: &str) {
        let lease = self.lease.borrow_mut().take();
        if let Some(lease) = lease {
            let now = self.sessions.worker.clock.now();
            self.log(&lease, end, now);
            lease.end(now, outcome, None);
        }
        self.sessions.end(&self.flow);
    }
}

impl Session {
    fn log(&self, lease: &Lease, end: &str, now: Instant) {
        let settings = self.sessions.listening.settings();
        let Some(log) = &settings.access_log else { return };
        let event = Event {
            server: Some(lease.name()),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
            tries: self.servers.get(),
            ..Event::broken(None, end, now.since(self.began))
        };
        let whom = Whom {
            listener: self.sessions.listening.name(),
            pool: &settings.pool.shared.name,
            client: self.flow.client,
            protocol: settings.mode.as_str(),
            tls: None,
        };
        log.write(&event, whom);
    }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Datagrams brought back at once before others get their turn.
const TURN: usize = 64;

/// Brings back what servers send, until the session ends.
pub(super) async fn carry(session: Rc<Session>) {
    while session.lease.borrow().is_some() {
        let socket = Rc::clone(&session.socket.borrow());
        let readable = tokio::select! {
            ready = session.watch.guard(socket.readable()) => ready,
            () = session.moved.notified() => continue,
        };
        match readable {
            Ok(Ok(())) => {
                let more = (0..TURN).all(|_| session.bring(&socket));
                if more {
                    tokio::task::yield_now().await;
                }
            }
            Ok(Err(_)) => return session.close(Outcome::ClientGone, "the server's socket broke"),
            Err(_) if session.answered.get() => return session.close(Outcome::Served, DONE),
            Err(_) => return session.close(Outcome::ClientGone, "the server did not answer"),
        }
    }
}
