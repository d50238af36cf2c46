//! Content on a connection of HTTP/1.1.
//!
//! Invariants: what is read is at most what there is room for; content of unknown length is written in chunks.

use std::{
    cell::Cell,
    io::Write as _,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    forward::flow::{Closed, Ending, Fault, Next, Sink, Source},
    http1::content::Content,
    http2::fields,
    net::{
        scratch::{self, SCRATCH_BYTES},
        socket::{Read, Socket},
    },
};

/// Content read at once: one frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;

/// Content that comes from a server or a client of HTTP/1.1.
pub(crate) struct SocketSource<'a> {
    socket: &'a Socket,
    content: Content,
    /// What was read before.
    early: Vec<u8>,
    touched: bool,
    /// What came behind the end of the content.
    surplus: Vec<u8>,
    /// Trailer lines that were not given yet.
    trailers: Vec<u8>,
    received: &'a Cell<u64>,
    limit: u64,
}

impl<'a> SocketSource<'a> {
    /// At most `limit` bytes in chunks; counts what was received.
    pub(crate) const fn new(
        socket: &'a Socket,
        content: Content,
        limit: u64,
        received: &'a Cell<u64>,
    ) -> Self {
        Self {
            socket,
            content,
            early: Vec::new(),
            touched: false,
            surplus: Vec::new(),
            trailers: Vec::new(),
            received,
            limit,
        }
    }

    /// Takes `early` first, which was read before.
    pub(crate) fn after(mut self, early: Vec<u8>) -> Self {
        self.early = early;
        self
    }

    /// Whether all content has come.
    pub(crate) const fn is_finished(&self) -> bool {
        self.content.is_done()
    }

    /// What was read and is no part of the content.
    pub(crate) fn into_surplus(mut self) -> Vec<u8> {
        self.surplus.append(&mut self.early);
        self.surplus
    }

    /// Whether something came behind the end of the content.
    pub(crate) const fn has_surplus(&self) -> bool {
        !self.surplus.is_empty()
    }

    fn take_in(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<Option<Bytes>, Fault> {
        let (taken, out) = if matches!(self.content, Content::Chunked(_)) {
            let (taken, trailers) = self.content.take_apart(bytes, plain).map_err(Fault::Malformed)?;
            self.trailers = trailers;
            if matches!(self.content, Content::Chunked(_)) && self.content.announced() > self.limit {
                return Err(Fault::TooLarge);
            }
            (taken, &plain[..])
        } else {
            // Nothing is edited in content that is no chunks.
            let taken = self.content.take(bytes, plain).map_err(Fault::Malformed)?.taken;
            (taken, &bytes[..taken])
        };
        self.surplus.extend_from_slice(&bytes[taken..]);
        self.received.set(self.received.get() + taken as u64);
        Ok((!out.is_empty()).then(|| Bytes::copy_from_slice(out)))
    }
}

impl Source for SocketSource<'_> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        if self.content.is_done() {
            let section = std::mem::take(&mut self.trailers);
            return Poll::Ready(Ok(Next::End(fields::trailers(&section))));
        }
        if self.early.is_empty() {
            ready!(self.socket.poll_readable(context));
        }
        Poll::Ready(Ok(Next::Content(PIECE_BYTES)))
    }

    fn take(&mut self, room: usize) -> Result<Option<Bytes>, Fault> {
        self.touched = true;
        if !self.early.is_empty() {
            let later = self.early.split_off(room.min(self.early.len()));
            let early = std::mem::replace(&mut self.early, later);
            return scratch::with(|scratch| self.take_in(&early, &mut scratch.output));
        }
        scratch::with(|scratch| match self.socket.read(&mut scratch.input[..room.min(SCRATCH_BYTES)]) {
            Ok(Read::Bytes(length)) => self.take_in(&scratch.input[..length], &mut scratch.output),
            Ok(Read::Wait) => Ok(None),
            Ok(Read::End) if matches!(self.content, Content::UntilClose) => {
                self.content = Content::Done;
                Ok(None)
            }
            Ok(Read::End) | Err(_) => Err(Fault::Closed),
        })
    }

    fn is_over(&self) -> bool {
        self.content.is_done() && self.trailers.is_empty()
    }

    fn is_untouched(&self) -> bool {
        !self.touched
    }
}

/// How content is written to a connection of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As it is: its length was told, or it ends with the connection.
    Plain,
    /// In chunks.
    Chunks,
    /// As it is, and its end is the end of what we send.
    Tunnel,
}

/// Content that goes to a server or a client of HTTP/1.1.
pub(crate) struct SocketSink<'a> {
    socket: &'a Socket,
    frames: Frames,
    unwritten: Vec<u8>,
}

impl<'a> SocketSink<'a> {
    /// After a head of which `unwritten` is still to go.
    pub(crate) const fn new(socket: &'a Socket, frames: Frames, unwritten: Vec<u8>) -> Self {
        Self { socket, frames, unwritten }
    }

    /// From now on content is framed so.
    pub(crate) const fn set_frames(&mut self, frames: Frames) {
        self.frames = frames;
    }

    /// Writes what is not content.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let written =
            if self.unwritten.is_empty() { self.socket.write(bytes).map_err(|_| Closed)? } else { 0 };
        self.unwritten.extend_from_slice(&bytes[written..]);
        Ok(())
    }
}

impl Sink for SocketSink<'_> {
    fn poll_room(&mut self, context: &mut Context<'_>, _: usize) -> Poll<Result<usize, Closed>> {
        ready!(self.poll_flush(context))?;
        Poll::Ready(Ok(PIECE_BYTES))
    }

    fn release_room(&mut self) {}

    fn push(&mut self, bytes: Bytes, ending: Ending) -> Result<(), Closed> {
        match self.frames {
            Frames::Plain | Frames::Tunnel => self.write(&bytes)?,
            Frames::Chunks if bytes.is_empty() => {}
            Frames::Chunks => scratch::with(|scratch| {
                let out = &mut scratch.output;
                write!(out, "{:x}\r\n", bytes.len()).expect("a vector takes all that is written");
                out.extend_from_slice(&bytes);
                out.extend_from_slice(b"\r\n");
                self.write(out)
            })?,
        }
        if ending == Ending::Last { self.finish(None) } else { Ok(()) }
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed> {
        match self.frames {
            Frames::Plain => Ok(()),
            Frames::Tunnel => {
                self.socket.shut_write();
                Ok(())
            }
            Frames::Chunks => {
                let mut end = Vec::new();
                let trailers = trailers.unwrap_or_default();
                evenkeel_http2::write_trailers(fields::pairs(&trailers), &mut end).map_err(|_| Closed)?;
                self.write(&end)
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        while !self.unwritten.is_empty() {
            match self.socket.write(&self.unwritten).map_err(|_| Closed)? {
                0 => ready!(self.socket.poll_writable(context)),
                written => drop(self.unwritten.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
