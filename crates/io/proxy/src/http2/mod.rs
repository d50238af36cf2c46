//! HTTP/2 with clients: a connection whose streams are requests (RFC 9113).
//!
//! Owns: the connection: its SETTINGS, its deadlines, its end. Leaves to others: one request (`stream`), what is a
//! flood (`core/http2`). Invariants: a connection on which nothing is under way is idle and ends at its deadline; at a
//! drain the client is told first which requests will still be answered (RFC 9113 §6.8), and those are.

pub(crate) mod carrier;
pub(crate) mod fields;
pub(crate) mod settings;
mod stream;

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use evenkeel_http2::Guard;
use evenkeel_units::Instant;
use h2::{Reason, server};

use crate::{
    client::Client,
    http1::answer,
    net::{
        socket::Socket,
        sweep::{Phase, Watch},
    },
    pool::deadline,
};
use carrier::{Carrier, HasSocket, Line};

impl HasSocket for Client {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// A client's connection, shared by its streams.
pub(crate) struct Shared {
    pub(crate) line: Rc<Line<Client>>,
    /// Requests under way.
    streams: Cell<u32>,
    /// Since when there are none.
    idle_since: Cell<Instant>,
    /// Watches of requests that have ended, for the next ones.
    watches: RefCell<Vec<Rc<Watch>>>,
}

impl Shared {
    pub(crate) fn client(&self) -> &Client {
        &self.line.owner
    }

    fn begin(&self) -> Rc<Watch> {
        self.streams.set(self.streams.get() + 1);
        let spare = self.watches.borrow_mut().pop();
        spare.unwrap_or_else(|| self.client().worker.sweep.watch())
    }

    fn end(&self, watch: Rc<Watch>) {
        watch.rest();
        self.watches.borrow_mut().push(watch);
        self.streams.set(self.streams.get() - 1);
        if self.streams.get() == 0 {
            self.idle_since.set(self.client().worker.clock.now());
        }
    }
}

/// A connection as its task sees it.
struct Connection {
    h2: server::Connection<Carrier<Client>, Bytes>,
    shared: Rc<Shared>,
    /// Since when something was begun that must soon be whole.
    begun: Option<Instant>,
    goodbye: Goodbye,
}

/// How far the end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    /// Nobody speaks of it.
    None,
    /// The client was told that no more requests are taken.
    Drain,
    /// The client was told why no request at all is answered any more.
    Abrupt,
}

/// Serves a client that has sent the preface, or at least its beginning, until its connection ends.
pub(crate) async fn serve(mut client: Client) {
    let early = std::mem::take(&mut client.carry);
    let (clock, limits) = (client.worker.clock, client.listening.settings().limits);
    let head_bytes = u32::try_from(limits.request_head_bytes.0).unwrap_or(u32::MAX);
    let now = clock.now();
    let line = Line::new(client, clock, early, Some(Guard::new(head_bytes, now)));
    let shared = Rc::new(Shared {
        line: Rc::clone(&line),
        streams: Cell::new(0),
        idle_since: Cell::new(now),
        watches: RefCell::default(),
    });
    let client = &line.owner;
    client.watch.set(Phase::Busy, deadline(now, client.listening.settings().deadlines.client_head));
    let mut handshake = std::pin::pin!(builder(head_bytes).handshake::<_, Bytes>(Carrier(Rc::clone(&line))));
    let shaken = std::future::poll_fn(|context| {
        let shaken = handshake.as_mut().poll(context);
        // What does not leave now leaves with the first poll of the connection.
        let _ = line.flush(context);
        match shaken {
            Poll::Ready(shaken) => Poll::Ready(shaken.ok()),
            Poll::Pending if line.flood().is_some() => Poll::Ready(None),
            Poll::Pending => client.watch.poll_expired(context).map(|_| None),
        }
    });
    let Some(h2) = shaken.await else { return };
    let mut connection = Connection { h2, shared, begun: None, goodbye: Goodbye::None };
    let ended = std::future::poll_fn(|context| connection.poll(context)).await;
    if connection.goodbye == Goodbye::Abrupt || ended.is_err() {
        drop(connection);
        answer::linger(client).await;
    }
}

fn builder(head_bytes: u32) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(settings::MAX_STREAMS)
        .initial_window_size(settings::STREAM_WINDOW)
        .initial_connection_window_size(settings::CONNECTION_WINDOW)
        .max_frame_size(settings::MAX_FRAME_BYTES)
        .max_header_list_size(head_bytes)
        .header_table_size(settings::HEADER_TABLE_BYTES)
        .max_send_buffer_size(settings::SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(settings::RESET_STREAMS)
        .reset_stream_duration(settings::RESET_MEMORY)
        .max_local_error_reset_streams(Some(settings::MAX_BROKEN_STREAMS))
        .enable_connect_protocol();
    builder
}

impl Connection {
    /// Does all that can be done; ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        loop {
            self.say_goodbye();
            match self.h2.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => stream::begin(&self.shared, request, respond),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a client's HTTP/2 connection broke");
                    let _ = self.shared.line.flush(context);
                    return Poll::Ready(Err(()));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if self.goodbye != Goodbye::Abrupt && self.shared.line.flood().is_some() => {}
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = self.shared.line.flush(context) {
            return Poll::Ready(Err(()));
        }
        if self.shared.streams.get() == 0 {
            self.shared.line.rest();
        }
        self.wait(context)
    }

    /// Tells the client that the connection is about to end, when it is.
    fn say_goodbye(&mut self) {
        if let Some(flood) = self.shared.line.flood()
            && self.goodbye != Goodbye::Abrupt
        {
            self.goodbye = Goodbye::Abrupt;
            let listener = self.shared.client().listening.name();
            tracing::warn!(listener, client = %self.shared.client().address, flood = flood.as_str(), "a flood of frames");
            self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        } else if self.goodbye == Goodbye::None && self.shared.client().listening.is_draining() {
            self.goodbye = Goodbye::Drain;
            self.h2.graceful_shutdown();
        }
    }

    /// Waits under the deadline of what the connection as a whole waits for.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let client = self.shared.client();
        let deadlines = client.listening.settings().deadlines;
        if !self.shared.line.is_within_head() {
            self.begun = None;
        } else if self.begun.is_none() {
            self.begun = Some(client.worker.clock.now());
        }
        let until = if let Some(since) = self.shared.line.stalled_since() {
            Some(deadline(since, deadlines.client_write_idle))
        } else if let Some(since) = self.begun {
            Some(deadline(since, deadlines.client_head))
        } else if self.shared.streams.get() == 0 {
            Some(deadline(self.shared.idle_since.get(), deadlines.keep_alive_idle))
        } else {
            None
        };
        // Setting a deadline forgets that one has passed.
        let fired = client.watch.poll_expired(context).is_ready();
        client.watch.set(Phase::Idle, until.unwrap_or(Instant::from_nanos(u64::MAX)));
        if !fired {
            return Poll::Pending;
        }
        if until.is_some_and(|until| client.worker.clock.now() >= until) {
            return self.give_up(context);
        }
        // A drain began, here or at another listener.
        let _ = client.watch.poll_expired(context);
        if self.goodbye == Goodbye::None && client.listening.is_draining() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Ends a connection on which the client was silent, or took nothing, for too long.
    fn give_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        if self.shared.line.stalled_since().is_some() {
            self.shared.client().socket.reset_on_close();
            return Poll::Ready(Ok(()));
        }
        self.h2.abrupt_shutdown(Reason::NO_ERROR);
        let _: Poll<Result<(), h2::Error>> = self.h2.poll_closed(context);
        let _: Poll<io::Result<()>> = self.shared.line.flush(context);
        Poll::Ready(Ok(()))
    }
}
