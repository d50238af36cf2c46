//! Content on its way between any two sides.
//!
//! Owns: where content comes from, where it goes, and moving it with back-pressure: nothing is taken from a source
//! before the sink has room for it. Leaves to others: heads. Invariants: what waits on the way is at most one piece; a
//! stream holds room in its connection's window only while there is content for it, so a quiet stream starves no other.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use evenkeel_http1::{ChunkError, Framing, Onward, ResponseHead};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use crate::{
    http2::{fields, settings::SEND_BUFFER_BYTES},
    net::sweep::Expired,
    pool::room::Room,
    route::compress::Travel,
};

/// The other side takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Whether more follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// More may follow.
    More,
    /// That was all.
    Last,
}

/// What a source is about to give.
pub(crate) enum Next {
    /// Content, most likely so many bytes.
    Content(usize),
    /// Nothing more, but maybe trailer fields.
    End(Option<HeaderMap>),
}

/// Why a source gives nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It closed or reset before its end.
    Closed,
    /// What came is not framed as it must be.
    Malformed(ChunkError),
    /// More came than is allowed.
    TooLarge,
}

/// Where content comes from.
pub(crate) trait Source {
    /// Waits for content.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Fault>>;

    /// Takes at most `room` bytes; `None` when there are none after all.
    fn take(&mut self, room: usize) -> Result<Option<Bytes>, Fault>;

    /// Whether it is known already that nothing more comes, trailer fields included.
    fn is_over(&self) -> bool;

    /// Whether nothing was taken yet, so that another try can begin anew.
    fn is_untouched(&self) -> bool;
}

impl<S: Source> Source for &mut S {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        (**self).poll_ready(context)
    }

    fn take(&mut self, room: usize) -> Result<Option<Bytes>, Fault> {
        (**self).take(room)
    }

    fn is_over(&self) -> bool {
        (**self).is_over()
    }

    fn is_untouched(&self) -> bool {
        (**self).is_untouched()
    }
}

/// Where content goes.
pub(crate) trait Sink {
    /// Waits for room; how much there is, at least 1.
    fn poll_room(&mut self, context: &mut Context<'_>, want: usize) -> Poll<Result<usize, Closed>>;

    /// Lets others have the room that was waited for.
    fn release_room(&mut self);

    /// Gives content for which there is room, or the little that came with a head.
    fn push(&mut self, bytes: Bytes, ending: Ending) -> Result<(), Closed>;

    /// Says that it was all.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed>;

    /// Waits until all has left.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closed>>;

    /// Ready when the other side has gone.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// Where an answer goes: to a client.
pub(crate) trait Answering: Sink {
    /// How the client's connection goes on after an answer.
    fn onward(&self, head: &ResponseHead) -> Onward;

    /// How content goes on that is compressed on its way.
    fn travel(&self) -> Travel;

    /// Sends an interim answer on.
    fn interim(&mut self, status: u16, text: &[u8]) -> Result<(), Closed>;

    /// Sends the head of the answer on; `text` is how it is written for the client.
    fn begin(&mut self, status: u16, framing: Framing, text: &[u8], ending: Ending) -> Result<(), Closed>;

    /// Tells the client that its WebSocket stands; `text` is the head that it has in common with HTTP/2. With which status
    /// it was told.
    fn open_tunnel(&mut self, text: &[u8]) -> Result<u16, Closed>;

    /// Whether the head of the answer has been sent.
    fn has_begun(&self) -> bool;
}

/// How content stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The source failed.
    Source(Fault),
    /// Nothing came for too long.
    SourceIdle,
    /// The sink failed.
    Sink,
    /// Nothing was taken for too long.
    SinkIdle,
}

/// How each side is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub(crate) source: Room<'a>,
    pub(crate) sink: Room<'a>,
}

/// Moves all content, then the end; the bytes that were moved.
pub(crate) async fn pump<'a>(
    source: &mut impl Source,
    sink: &mut impl Sink,
    patience: impl Fn() -> Patience<'a>,
) -> Result<u64, Stopped> {
    let mut moved = 0;
    loop {
        let silence = patience().source;
        let next = silence.wait(|context| {
            if let Poll::Ready(next) = source.poll_ready(context) {
                return Poll::Ready(next.map_err(Stopped::Source));
            }
            sink.poll_gone(context).map(|()| Err(Stopped::Sink))
        });
        let want = match next.await.map_err(|Expired| Stopped::SourceIdle)?? {
            Next::Content(want) => want,
            Next::End(trailers) => {
                sink.finish(trailers).map_err(|Closed| Stopped::Sink)?;
                return flush(sink, patience().sink).await.map(|()| moved);
            }
        };
        let room = wait(|context| sink.poll_room(context, want), patience().sink).await?;
        match source.take(room).map_err(Stopped::Source)? {
            Some(bytes) => {
                moved += bytes.len() as u64;
                let ending = if source.is_over() { Ending::Last } else { Ending::More };
                sink.push(bytes, ending).map_err(|Closed| Stopped::Sink)?;
                if ending == Ending::Last {
                    return flush(sink, patience().sink).await.map(|()| moved);
                }
            }
            None => sink.release_room(),
        }
    }
}

/// Waits until all that a sink was given has left.
pub(crate) async fn flush(sink: &mut impl Sink, room: Room<'_>) -> Result<(), Stopped> {
    wait(|context| sink.poll_flush(context), room).await
}

/// Waits for a sink.
async fn wait<T>(
    poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Closed>>,
    room: Room<'_>,
) -> Result<T, Stopped> {
    let done = room.wait(poll).await.map_err(|Expired| Stopped::SinkIdle)?;
    done.map_err(|Closed| Stopped::Sink)
}

/// Content that comes on a stream of HTTP/2.
pub(crate) struct StreamSource {
    stream: RecvStream,
    held: Bytes,
    came: u64,
    touched: bool,
    limit: u64,
}

impl StreamSource {
    /// At most `limit` bytes.
    pub(crate) fn new(stream: RecvStream, limit: u64) -> Self {
        Self { stream, held: Bytes::new(), came: 0, touched: false, limit }
    }
}

impl Source for StreamSource {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        while self.held.is_empty() {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(bytes)) => {
                    self.came += bytes.len() as u64;
                    if self.came > self.limit {
                        return Poll::Ready(Err(Fault::TooLarge));
                    }
                    self.held = bytes;
                }
                Some(Err(_)) => return Poll::Ready(Err(Fault::Closed)),
                None => {
                    let trailers = ready!(self.stream.poll_trailers(context)).map_err(|_| Fault::Closed)?;
                    let passing = trailers.map_or(Ok(None), fields::passing);
                    return Poll::Ready(
                        passing.map(Next::End).map_err(|_| Fault::Malformed(ChunkError::Trailer)),
                    );
                }
            }
        }
        Poll::Ready(Ok(Next::Content(self.held.len())))
    }

    fn take(&mut self, room: usize) -> Result<Option<Bytes>, Fault> {
        self.touched = true;
        let bytes = self.held.split_to(room.min(self.held.len()));
        // Only now may the other side send as much again.
        self.stream.flow_control().release_capacity(bytes.len()).map_err(|_| Fault::Closed)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn is_over(&self) -> bool {
        self.held.is_empty() && self.stream.is_end_stream()
    }

    fn is_untouched(&self) -> bool {
        !self.touched
    }
}

/// Content that goes on a stream of HTTP/2.
pub(crate) struct StreamSink(SendStream<Bytes>);

impl StreamSink {
    /// The content of a message whose head was sent.
    pub(crate) const fn new(stream: SendStream<Bytes>) -> Self {
        Self(stream)
    }

    /// Ends the stream by force.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.0.send_reset(reason);
    }
}

impl Sink for StreamSink {
    fn poll_room(&mut self, context: &mut Context<'_>, want: usize) -> Poll<Result<usize, Closed>> {
        self.0.reserve_capacity(want.clamp(1, SEND_BUFFER_BYTES));
        while self.0.capacity() == 0 {
            match ready!(self.0.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Closed)),
            }
        }
        Poll::Ready(Ok(self.0.capacity()))
    }

    fn release_room(&mut self) {
        self.0.reserve_capacity(0);
    }

    fn push(&mut self, bytes: Bytes, ending: Ending) -> Result<(), Closed> {
        self.0.send_data(bytes, ending == Ending::Last).map_err(|_| Closed)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed> {
        match trailers {
            Some(trailers) => self.0.send_trailers(trailers).map_err(|_| Closed),
            None => self.0.send_data(Bytes::new(), true).map_err(|_| Closed),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_reset(context).map(drop)
    }
}
