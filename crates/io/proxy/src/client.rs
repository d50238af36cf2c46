//! A client's connection, whatever is spoken on it.
//!
//! Owns: what every protocol needs of a connection: its socket, its deadline, where it came from. Leaves to others:
//! what is read from it (`http1`, `tcp`). Invariant: a connection is counted from its first moment to its last.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use evenkeel_http1::{Peer, Scheme};

use crate::{
    access_log::{self, Whom},
    http1::{forward, request::Request},
    listening::Listening,
    net::{reactor::Known, scratch::SCRATCH_BYTES, socket::Socket, sweep::Watch},
    pool::room::Room,
    sources::{Seated, SourceLimit, Sources},
    tls,
    worker::Worker,
};

/// A client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listening: Rc<Listening>,
    pub(crate) socket: Socket,
    pub(crate) watch: Rc<Watch>,
    from: SocketAddr,
    /// Where it is counted among the connections of its source.
    seat: Option<Arc<Sources>>,
    /// Who really connected, which is not who it stands for.
    speaker: IpAddr,
    /// The client's address without its port, for the server.
    pub(crate) address: Box<str>,
    /// How it is connected.
    pub(crate) scheme: Scheme,
    /// What came and is not used yet: part of a head, or pipelined requests.
    pub(crate) carry: Vec<u8>,
}

impl Client {
    /// A connection that was just accepted.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listening: Rc<Listening>,
        (stream, known): (TcpStream, Known),
        from: SocketAddr,
    ) -> Self {
        let watch = worker.sweep.watch();
        listening.opened();
        let address = from.ip().to_canonical().to_string().into();
        let scheme = if listening.settings().tls.is_some() { Scheme::Https } else { Scheme::Http };
        Self {
            worker,
            listening,
            socket: Socket::accepted(stream, known),
            watch,
            from,
            seat: None,
            speaker: from.ip(),
            address,
            scheme,
            carry: Vec::new(),
        }
    }

    /// The same client without what only a request needs.
    pub(crate) fn at_rest(mut self) -> Self {
        debug_assert!(self.carry.is_empty(), "who has sent something is not at rest");
        self.carry = Vec::new();
        self.watch = Rc::clone(&self.worker.no_watch);
        self
    }

    /// The same client with what a request needs.
    pub(crate) fn roused(mut self) -> Self {
        self.watch = self.worker.sweep.watch();
        self
    }

    /// The client's address.
    pub(crate) const fn ip(&self) -> IpAddr {
        self.from.ip()
    }

    /// Where it came from, or where the proxy in front says that it came from.
    pub(crate) const fn from(&self) -> SocketAddr {
        self.from
    }

    /// From now on it stands for `source`, as a proxy in front says.
    pub(crate) fn stands_for(&mut self, source: SocketAddr) {
        self.from = source;
        self.address = source.ip().to_canonical().to_string().into();
    }

    /// Takes a seat among the connections of its source, where those are limited; whether there was one.
    pub(crate) fn sit_down(&mut self, limit: Option<&SourceLimit>) -> Place {
        match limit.map_or(Seated::Uncounted, |limit| limit.seat(self.ip())) {
            Seated::Counted(sources) => self.seat = Some(sources),
            Seated::Uncounted => {}
            Seated::No => return Place::None,
        }
        Place::Found
    }

    /// Most bytes of a request's head; always leaves room in the scratch buffer for what follows it.
    pub(crate) fn head_limit(&self) -> usize {
        let limit = self.listening.settings().limits.request_head_bytes.0;
        usize::try_from(limit).unwrap_or(usize::MAX).min(SCRATCH_BYTES - 1)
    }

    /// How it is connected, as routes and cookies have it.
    pub(crate) const fn route_scheme(&self) -> evenkeel_route::Scheme {
        match self.scheme {
            Scheme::Http => evenkeel_route::Scheme::Http,
            Scheme::Https => evenkeel_route::Scheme::Https,
        }
    }

    /// What is believed of what it says of others: the word is that of who connected, whomever it stands for.
    pub(crate) fn peer(&self) -> Peer {
        forward::peer(&self.listening.settings().forward, self.speaker)
    }

    /// Keeps the beginning of a request that is refused, by which the answer is made out.
    pub(crate) fn keep_refused(&mut self, bytes: &[u8]) {
        /// An empty line, HEAD and a space.
        const ENOUGH: usize = 8;
        self.carry.clear();
        self.carry.extend_from_slice(&bytes[..bytes.len().min(ENOUGH)]);
    }

    /// Waiting for a receiver that may take nothing for `idle`, under the connection's own deadline.
    pub(crate) fn room(&self, idle: Duration) -> Room<'_> {
        Room { watch: &self.watch, clock: self.worker.clock, idle, lease: None }
    }

    /// Tells of a request's end, or a connection's: as a span where it is traced, and in the access log when there is one.
    pub(crate) fn log(&self, event: &access_log::Event<'_>) {
        if let Some(request) = event.request
            && let Some(traced) = &request.traced
        {
            traced.ended(self, request, event);
        }
        let settings = self.listening.settings();
        if let Some(log) = &settings.access_log {
            let session = self.socket.session();
            let tls = session.as_ref().and_then(|session| tls::words(session.common()));
            let routed = event.request.and_then(|request| request.ruled.as_ref()?.pool.as_ref());
            let pool = routed.unwrap_or(&settings.pool).shared.name.as_str();
            log.write(
                event,
                Whom {
                    listener: self.listening.name(),
                    pool: event.pool.unwrap_or(pool),
                    client: self.from,
                    protocol: settings.mode.as_str(),
                    tls,
                },
            );
        }
    }

    /// Whether nothing is known to have come behind the request.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.carry.is_empty() && self.socket.is_caught_up()
    }

    /// Whether the connection may carry another request after this one.
    pub(crate) fn may_stay(&self, request: &Request) -> bool {
        request.keep_alive && request.content.is_done() && !self.listening.is_draining()
    }
}

/// Whether there is room for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// There was.
    Found,
    /// There is none.
    None,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(sources) = self.seat.take() {
            sources.leave(self.ip());
        }
        self.listening.closed();
    }
}
