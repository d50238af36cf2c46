//! A client's connection: one request after another until somebody closes.
//!
//! Owns: the wait for requests and the order of answers. Leaves to others: an exchange with a server. Invariant:
//! a request is read only when the answer to the one before has left, so answers keep the order of requests.

use std::{net::SocketAddr, rc::Rc};

use evenkeel_http1::Method;
use evenkeel_units::Instant;
use tokio::net::TcpStream;

use crate::{
    accept::Listening,
    access_log,
    answer::{self, Own},
    exchange::{self, After},
    pool::deadline,
    request::{self, ClientFault, Request, Taken},
    scratch::SCRATCH_BYTES,
    socket::Socket,
    sweep::{Phase, Watch},
    worker::Worker,
};

/// A client's connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listening: Rc<Listening>,
    pub(crate) socket: Socket,
    pub(crate) watch: Rc<Watch>,
    from: SocketAddr,
    /// The client's address without its port, for the server.
    pub(crate) address: Box<str>,
    /// What came and is not used yet: part of a head, or pipelined requests.
    pub(crate) carry: Vec<u8>,
}

impl Client {
    /// A connection that was just accepted.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listening: Rc<Listening>,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Self {
        let watch = worker.sweep.watch();
        listening.opened();
        let address = from.ip().to_canonical().to_string().into();
        Self { worker, listening, socket: Socket::new(stream), watch, from, address, carry: Vec::new() }
    }

    /// Most bytes of a request's head; always leaves room in the scratch buffer for what follows it.
    pub(crate) fn head_limit(&self) -> usize {
        let limit = self.listening.route().limits.request_head_bytes.0;
        usize::try_from(limit).unwrap_or(usize::MAX).min(SCRATCH_BYTES - 1)
    }

    /// Writes to the access log, when there is one.
    pub(crate) fn log(&self, event: &access_log::Event<'_>) {
        let route = self.listening.route();
        if let Some(log) = &route.access_log {
            log.write(event, self.listening.name(), self.from, &route.pool.shared.name);
        }
    }

    /// Whether the connection may carry another request after this one.
    pub(crate) fn may_stay(&self, request: &Request) -> bool {
        request.keep_alive && request.content.is_done() && !self.listening.is_draining()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.listening.closed();
    }
}

/// Serves a client until its connection ends.
pub(crate) async fn serve(mut client: Client) {
    let mut first = true;
    let mut since = client.worker.clock.now();
    loop {
        let request = match next(&mut client, first, since).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(fault) => return Box::pin(refuse(&client, fault)).await,
        };
        first = false;
        match exchange::run(&mut client, request).await {
            After::Next(now) => since = now,
            After::Close => return,
        }
    }
}

async fn refuse(client: &Client, fault: ClientFault) {
    let Some(status) = fault.status() else { return };
    let reason = fault.reason();
    let id = answer::send(client, Own { status, reason: &reason, head_only: false }).await;
    client.log(&access_log::Event::refused(&id, None, status, &reason, std::time::Duration::ZERO));
}

/// The next request, for which the wait began at `since`; `None` when the connection ends between two.
async fn next(client: &mut Client, first: bool, since: Instant) -> Result<Option<Request>, ClientFault> {
    // Bytes that came with the request before are looked at before more is read.
    if !client.carry.is_empty()
        && let Taken::Request(request) = request::take(client, false)?
    {
        return Ok(Some(request));
    }
    let mut begun = first || !client.carry.is_empty();
    wait_deadline(client, begun, since);
    loop {
        let nothing_came = client.carry.is_empty();
        if client.socket.readable(&client.watch).await.is_err() {
            // A connection that never sent a byte is closed without a word, like one that fell silent.
            return if nothing_came { Ok(None) } else { Err(ClientFault::Timeout) };
        }
        match request::take(client, true)? {
            Taken::Request(request) => return Ok(Some(request)),
            Taken::End => return Ok(None),
            Taken::Partial if !begun && !client.carry.is_empty() => {
                begun = true;
                wait_deadline(client, true, client.worker.clock.now());
            }
            Taken::Partial => {}
        }
    }
}

fn wait_deadline(client: &Client, begun: bool, now: Instant) {
    let route = client.listening.route();
    if begun {
        client.watch.set(Phase::Busy, deadline(now, route.deadlines.client_head));
    } else if client.listening.is_draining() {
        // The next look at the watch ends the wait, but not before what has come already was read.
        client.watch.set(Phase::Idle, now);
    } else {
        client.watch.set(Phase::Idle, deadline(now, route.deadlines.keep_alive_idle));
    }
}

/// Whether the answer to `method` has no content.
pub(crate) fn is_head(method: Method) -> bool {
    method == Method::Head
}
