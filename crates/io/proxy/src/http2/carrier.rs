//! A connection under HTTP/2: what the h2 crate reads from and writes to.
//!
//! Owns: putting the frames of many streams into one send, and letting the guard see what a client sends before
//! anything else does. Leaves to others: frames. Invariants: nothing is sent before [`Line::flush`], which whoever polls
//! the connection calls after it; at most [`MAX_UNSENT_BYTES`] and one frame wait; after a flood nothing more is read.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use evenkeel_http2::{Flood, Guard, Verdict};
use evenkeel_units::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    clock::Clock,
    http2::settings::MAX_UNSENT_BYTES,
    net::{
        scratch::{self, SCRATCH_BYTES},
        socket::{Read, Socket},
    },
};

/// Whoever has a socket.
pub(crate) trait HasSocket {
    /// The socket.
    fn socket(&self) -> &Socket;
}

impl HasSocket for Socket {
    fn socket(&self) -> &Socket {
        self
    }
}

/// What is written and not sent.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    /// How many of them were sent already.
    sent: usize,
}

/// A connection, shared by its streams.
pub(crate) struct Line<O> {
    pub(crate) owner: O,
    clock: Clock,
    /// What was read before the connection was known to speak HTTP/2.
    early: RefCell<Vec<u8>>,
    unsent: RefCell<Unsent>,
    /// Since when the other side has taken nothing.
    stalled: Cell<Option<Instant>>,
    guard: Option<RefCell<Guard>>,
    flood: Cell<Option<Flood>>,
}

impl<O: HasSocket> Line<O> {
    /// A connection on which `early` has come already; with a guard when the other side is a client.
    pub(crate) fn new(owner: O, clock: Clock, early: Vec<u8>, guard: Option<Guard>) -> Rc<Self> {
        Rc::new(Self {
            owner,
            clock,
            early: RefCell::new(early),
            unsent: RefCell::default(),
            stalled: Cell::new(None),
            guard: guard.map(RefCell::new),
            flood: Cell::new(None),
        })
    }

    /// The bound that the other side passed.
    pub(crate) const fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// Since when the other side has taken nothing of what there is for it.
    pub(crate) const fn stalled_since(&self) -> Option<Instant> {
        self.stalled.get()
    }

    /// Whether something was begun that must soon be whole.
    pub(crate) fn is_within_head(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.borrow().is_within_head())
    }

    /// Lets the guard know what was done with the client.
    pub(crate) fn tell_guard(&self, tell: impl FnOnce(&mut Guard)) {
        if let Some(guard) = &self.guard {
            tell(&mut guard.borrow_mut());
        }
    }

    /// A stream was reset because the client broke a rule on it.
    pub(crate) fn reset_by_us(&self) {
        self.tell_guard(|guard| {
            if let Verdict::Calm(flood) = guard.reset_by_us(self.clock.now()) {
                self.flood.set(Some(flood));
            }
        });
    }

    /// Sends what was written, as far as the other side takes it.
    pub(crate) fn flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut unsent = self.unsent.borrow_mut();
        while unsent.sent < unsent.bytes.len() {
            match self.owner.socket().write(&unsent.bytes[unsent.sent..])? {
                0 => {
                    if self.stalled.get().is_none() {
                        self.stalled.set(Some(self.clock.now()));
                    }
                    ready!(self.owner.socket().poll_writable(context));
                }
                sent => {
                    unsent.sent += sent;
                    self.stalled.set(None);
                }
            }
        }
        unsent.bytes.clear();
        unsent.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Gives the buffer back; for when nothing is under way.
    pub(crate) fn rest(&self) {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.bytes.is_empty() && unsent.bytes.capacity() > 0 {
            scratch::give(std::mem::take(&mut unsent.bytes));
        }
    }

    fn write(&self, context: &mut Context<'_>, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
        let waiting = {
            let unsent = self.unsent.borrow();
            unsent.bytes.len() - unsent.sent
        };
        if waiting >= MAX_UNSENT_BYTES {
            ready!(self.flush(context))?;
        }
        let mut unsent = self.unsent.borrow_mut();
        if unsent.bytes.capacity() == 0 {
            unsent.bytes = scratch::take();
        }
        pieces.iter().for_each(|piece| unsent.bytes.extend_from_slice(piece));
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.flood.get().is_some() {
            return Poll::Pending;
        }
        let early = std::mem::take(&mut *self.early.borrow_mut());
        if !early.is_empty() {
            let (now, later) = early.split_at(early.len().min(buffer.remaining()));
            *self.early.borrow_mut() = later.to_vec();
            return self.take_in(now, buffer);
        }
        let room = buffer.remaining().min(SCRATCH_BYTES);
        loop {
            let got = scratch::with(|scratch| match self.owner.socket().read(&mut scratch.input[..room]) {
                Ok(Read::Bytes(length)) => Some(self.take_in(&scratch.input[..length], buffer)),
                Ok(Read::End) => Some(Poll::Ready(Ok(()))),
                Ok(Read::Wait) => None,
                Err(error) => Some(Poll::Ready(Err(error))),
            });
            if let Some(got) = got {
                return got;
            }
            ready!(self.owner.socket().poll_readable(context));
        }
    }

    fn take_in(&self, bytes: &[u8], buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let scan = |guard: &RefCell<Guard>| guard.borrow_mut().scan(bytes, self.clock.now());
        if let Some(Verdict::Calm(flood)) = self.guard.as_ref().map(scan) {
            self.flood.set(Some(flood));
            return Poll::Pending;
        }
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

/// What the h2 crate is given of a line.
pub(crate) struct Carrier<O>(pub(crate) Rc<Line<O>>);

impl<O: HasSocket> AsyncRead for Carrier<O> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.read(context, buffer)
    }
}

impl<O: HasSocket> AsyncWrite for Carrier<O> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write(context, &[bytes])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match pieces {
            [] => Poll::Ready(Ok(0)),
            [only] => self.0.write(context, &[only]),
            [first, second, ..] => self.0.write(context, &[first, second]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Frames are sent all at once, by whoever polls the connection.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.flush(context))?;
        self.0.owner.socket().shut_write();
        Poll::Ready(Ok(()))
    }
}
