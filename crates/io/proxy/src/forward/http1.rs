//! A server that speaks HTTP/1.1.
//!
//! Owns: sending it a request and reading its answer, as strictly as `http1::exchange` does. Invariant: a connection is
//! kept only when its answer was framed, ended, and left nothing behind (I9).

use std::{cell::Cell, pin::Pin, task::Poll};

use bytes::Bytes;
use evenkeel_balance::{Failure, Tried};
use evenkeel_http1::{Onward, Parsed, ResponseHead, parse_response, write_response};
use evenkeel_http2::Asked;

use crate::{
    forward::{
        Exchange, Progress, Served, both,
        coded::Coded,
        flow::{self, Answering, Closed, Ending, Source},
        midway,
        socket::{Frames, SocketSink, SocketSource},
        websocket,
    },
    http1::{
        content::Content,
        exchange::{Broken, closed},
        hedge,
        request::{ClientFault, Request},
    },
    http2::fields,
    net::{
        scratch::{self, SCRATCH_BYTES, Scratch},
        socket::{Read, Socket},
        sweep::Phase,
    },
    pool::{Lease, Server, deadline},
    route::{
        self,
        compress::{After, Filter, Travel},
    },
};

/// Read at once while the head of an answer is awaited: a head and one frame of content, for what comes with the head
/// goes to the client's stream without asking for room.
const FIRST_READ_BYTES: usize = 16 * 1024;

/// When the bytes came that are to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrived {
    /// They are held.
    Before,
    /// They are to be read.
    Now,
}

/// What a look at the server's bytes gave.
enum Step {
    Wait,
    /// The head of the answer was sent on.
    Begun {
        status: u16,
        content: Content,
        keep: bool,
        sent: u64,
        /// What the content passes on its way, when its route compresses it.
        filter: Option<Box<Filter>>,
    },
}

/// Sends the request and brings the answer back.
pub(super) async fn converse<U: Source, D: Answering>(
    exchange: &mut Exchange<'_, U, D>,
    (lease, server): (&mut Lease, &mut Server),
    tried: &Tried,
) -> Result<Served, Broken> {
    let Exchange { client, watch, request, up, down, asked, .. } = exchange;
    let written = server.socket.write(&request.bytes).map_err(|_| closed(server))?;
    let unwritten = request.bytes[written..].to_vec();
    if up.is_none()
        && unwritten.is_empty()
        && let Some(after) = hedge::after(request, lease)
    {
        let patience = request.server_head(&client.listening.settings().deadlines);
        watch.set(Phase::Busy, deadline(client.worker.clock.now(), patience));
        let by = (&***watch, tried);
        // Boxed, for few requests are hedged.
        let began = Box::pin(hedge::begin(client, request, (&mut *lease, &mut *server), by, after));
        unless_gone(down, began).await?;
    }
    let has_content = up.is_some() || !unwritten.is_empty();
    let progress = Progress::new((client, lease), watch, request, (*asked, has_content));
    let Server { socket, reused, held, .. } = server;
    let reader = Reader { progress: &progress, socket, reused: *reused, request, asked: *asked };
    if progress.uploaded.get() {
        progress.expect_head();
        return reader.answer(held, down).await;
    }
    progress.begin_upload();
    let mut sink = SocketSink::new(socket, frames(request, *asked), unwritten);
    let upload = async {
        let Some(up) = up else { return flow::flush(&mut sink, progress.patience_up().sink).await };
        if *asked == Asked::WebSocket {
            flow::flush(&mut sink, progress.patience_up().sink).await?;
            progress.pass_gate().await;
        }
        flow::pump(up, &mut sink, || progress.patience_up()).await.map(drop)
    };
    // Boxed, for most requests have no content and their tasks need no room for it.
    Box::pin(both(upload, reader.answer(held, down), &progress)).await.map(|served| {
        // What the server did not read of the request it would take for the next one.
        Served { keep: served.keep && progress.uploaded.get(), ..served }
    })
}

/// Waits, unless the client goes before.
async fn unless_gone<D: Answering>(
    down: &mut D,
    mut awaited: Pin<Box<impl Future<Output = Result<(), Broken>>>>,
) -> Result<(), Broken> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = awaited.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        down.poll_gone(context).map(|()| Err(Broken::Client(ClientFault::Gone)))
    })
    .await
}

/// How the content of a request is written.
fn frames(request: &Request, asked: Asked) -> Frames {
    match (asked, &request.content) {
        (Asked::WebSocket, _) => Frames::Tunnel,
        (Asked::Request, Content::Chunked(_)) => Frames::Chunks,
        (Asked::Request, Content::Done | Content::Length(_) | Content::UntilClose) => Frames::Plain,
    }
}

/// Reads the answer.
struct Reader<'a> {
    progress: &'a Progress<'a>,
    socket: &'a Socket,
    /// Whether the connection carried a request before.
    reused: bool,
    request: &'a Request,
    asked: Asked,
}

impl Reader<'_> {
    async fn answer<D: Answering>(&self, held: &mut Vec<u8>, down: &mut D) -> Result<Served, Broken> {
        let client = self.progress.client;
        // What a race for the answer has left is looked at first.
        let mut unread = !held.is_empty();
        loop {
            let arrived = if std::mem::take(&mut unread) {
                Arrived::Before
            } else {
                self.readable(down).await?;
                Arrived::Now
            };
            let step = scratch::with(|scratch| self.step((held, arrived), down, scratch))?;
            let Step::Begun { status, content, mut keep, mut sent, filter } = step else { continue };
            let at = client.worker.clock.now();
            self.progress.head_has_come();
            if !content.is_done() {
                let received = Cell::new(0);
                let mut source = SocketSource::new(self.socket, content, u64::MAX, &received);
                let patience = || self.progress.patience_down();
                // Boxed, for most answers come whole with their heads.
                let moved = match filter {
                    None => Box::pin(flow::pump(&mut source, down, patience)).await,
                    Some(filter) => {
                        Box::pin(flow::pump(&mut Coded::new(&mut source, filter), down, patience)).await
                    }
                };
                sent += moved.map_err(midway)?;
                keep &= !source.has_surplus();
            }
            return Ok(Served { status, keep, sent, at });
        }
    }

    /// Waits for more of the answer.
    async fn readable<D: Answering>(&self, down: &mut D) -> Result<(), Broken> {
        std::future::poll_fn(|context| {
            if self.socket.poll_readable(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if down.poll_gone(context).is_ready() {
                return Poll::Ready(Err(Broken::Client(ClientFault::Gone)));
            }
            self.progress.answer.poll_expired(context).map(|_| Err(Broken::Server(Failure::AnswerTimeout)))
        })
        .await
    }

    /// Reads from the server, and sends on what has become clear, without waiting.
    fn step<D: Answering>(
        &self,
        (held, arrived): (&mut Vec<u8>, Arrived),
        down: &mut D,
        scratch: &mut Scratch,
    ) -> Result<Step, Broken> {
        let Scratch { input, output } = scratch;
        let mut have = held.len();
        input[..have].copy_from_slice(held);
        let room = (have + FIRST_READ_BYTES).min(SCRATCH_BYTES);
        if arrived == Arrived::Now {
            match self.socket.read(&mut input[have..room]) {
                Ok(Read::Bytes(length)) => have += length,
                Ok(Read::Wait) => return Ok(Step::Wait),
                Ok(Read::End) | Err(_) if self.reused && have == 0 => return Err(Broken::Raced),
                Ok(Read::End) | Err(_) => return Err(Broken::Server(Failure::Closed)),
            }
        }
        let mut bytes = &input[..have];
        let limit = self.progress.client.listening.settings().limits.response_head_bytes.0;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(SCRATCH_BYTES - 1);
        loop {
            let head = match parse_response(bytes, limit, self.request.method) {
                Ok(Parsed::Head(head)) => head,
                Ok(Parsed::Partial) => {
                    *held = bytes.to_vec();
                    return Ok(Step::Wait);
                }
                Err(error) => {
                    tracing::debug!(%error, "bad answer");
                    return Err(Broken::Server(Failure::BadAnswer));
                }
            };
            output.clear();
            if !head.is_interim() {
                held.clear();
                return self.begin(&head, bytes, down, output);
            }
            write_response(&head, bytes, Onward::Stay, &self.progress.client.worker.date(), output);
            down.interim(head.status, output).map_err(|Closed| Broken::Client(ClientFault::Gone))?;
            bytes = &bytes[head.length..];
        }
    }

    /// Sends on the head of the last answer with as much content as came with it.
    fn begin<D: Answering>(
        &self,
        head: &ResponseHead,
        bytes: &[u8],
        down: &mut D,
        out: &mut Vec<u8>,
    ) -> Result<Step, Broken> {
        let gone = |Closed| Broken::Unread;
        let rest = &bytes[head.length..];
        match (self.asked, head.status) {
            (Asked::WebSocket, 101) if head.upgrade => {
                let date = self.progress.client.worker.date();
                websocket::write_accepted(self.request, (head, bytes), &date, out);
                let status = down.open_tunnel(out).map_err(gone)?;
                self.progress.tunnel_stands();
                if !rest.is_empty() {
                    down.push(Bytes::copy_from_slice(rest), Ending::More).map_err(gone)?;
                }
                let sent = rest.len() as u64;
                let content = Content::UntilClose;
                return Ok(Step::Begun { status, content, keep: false, sent, filter: None });
            }
            // Success would say that the tunnel stands.
            (Asked::WebSocket, 101 | 200..300) | (Asked::Request, 101) => {
                return Err(Broken::Server(Failure::BadAnswer));
            }
            (Asked::WebSocket | Asked::Request, _) => {}
        }
        if self.request.asks_again(head.status) {
            return Err(Broken::Unwanted(head.status));
        }
        let date = self.progress.client.worker.date();
        let (onward, travel) = (down.onward(head), (Travel::Frames, &date));
        let mut filter = route::answer::write_head(self.request, (head, bytes), onward, travel, out);
        let mut content = Content::of(head.framing, head.trailers);
        let mut plain = Vec::new();
        let bad = |_| Broken::Server(Failure::BadAnswer);
        let (taken, section) = content.take_apart(rest, &mut plain).map_err(bad)?;
        let trailers = fields::trailers(&section);
        let keep = head.keep_alive && taken == rest.len();
        if let Some(filter) = &mut filter {
            let after = if content.is_done() { After::End } else { After::Pause };
            let mut coded = Vec::new();
            filter.push(&plain, after, &mut coded).map_err(|_| Broken::Unread)?;
            plain = coded;
        }
        let sent = (out.len() + plain.len()) as u64;
        let ending = if content.is_done() && trailers.is_none() { Ending::Last } else { Ending::More };
        if plain.is_empty() && ending == Ending::Last {
            down.begin(head.status, head.framing, out, Ending::Last).map_err(gone)?;
        } else {
            down.begin(head.status, head.framing, out, Ending::More).map_err(gone)?;
            if !plain.is_empty() {
                down.push(Bytes::from(plain), ending).map_err(gone)?;
            }
            if trailers.is_some() {
                down.finish(trailers).map_err(gone)?;
            }
        }
        Ok(Step::Begun { status: head.status, content, keep, sent, filter })
    }
}
