//! Content on its way, when it does not come and go in one piece.
//!
//! Owns: waiting for both sides, with back-pressure: no byte is read before the one before it was written.
//! Invariant: at most one scratch buffer's worth of a message is held, and only while its receiver is slow.

use evenkeel_balance::Failure;
use evenkeel_http1::Onward;

use crate::{
    client::Client,
    http1::{
        content::{Content, Taken},
        exchange::{Answer, Broken, closed},
        request::{ClientFault, Request},
    },
    net::{
        scratch,
        socket::{Either, Read, Socket, poll_either},
        splice::{self, Flow, Pipe, SPLICE_FROM},
        sweep::{Expired, Phase},
        turn::Turn,
        wire::Wire,
    },
    pool::{Lease, Server, deadline, room::Room},
    route::compress::{After, Filter},
    worker::Worker,
};

/// What of an answer is still to come or to go.
pub(crate) struct Rest {
    pub(crate) content: Content,
    pub(crate) unwritten: Vec<u8>,
    /// What the content passes on its way, when its route compresses it.
    pub(crate) filter: Option<Box<Filter>>,
}

impl Rest {
    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.content.is_done() && self.unwritten.is_empty()
    }

    /// What may go on inside the kernel: nothing that has to pass a filter.
    fn long_run<'a>(&self, from: &'a Socket, to: &'a Socket) -> Option<(u64, &'a Wire, &'a Wire)> {
        if self.filter.is_none() { long_run(&self.content, from, to) } else { None }
    }

    /// The server pauses, or has ended its content: lets out what the filter holds; how many bytes for the client.
    fn let_out(&mut self, after: After) -> Result<u64, Broken> {
        let before = self.unwritten.len();
        if let Some(filter) = &mut self.filter {
            filter.push(&[], after, &mut self.unwritten).map_err(no_memory)?;
        }
        Ok((self.unwritten.len() - before) as u64)
    }
}

/// Why bytes could not be written.
pub(crate) enum Unwritten {
    Expired,
    Failed,
}

/// Writes all of `bytes`; the deadline begins anew with each part that leaves.
pub(crate) async fn write_all(socket: &Socket, room: Room<'_>, mut bytes: &[u8]) -> Result<(), Unwritten> {
    while !bytes.is_empty() {
        match socket.write(bytes).map_err(|_| Unwritten::Failed)? {
            0 => {
                let ready = room.wait(|context| socket.poll_writable(context)).await;
                ready.map_err(|Expired| Unwritten::Expired)?;
            }
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Writes the part of a request's head that the server had no room for at first.
pub(crate) async fn send_head(
    client: &Client,
    request: &Request,
    server: &Server,
    written: usize,
) -> Result<(), Broken> {
    let idle = client.listening.settings().deadlines.server_body_idle;
    let room = client.room(idle);
    write_all(&server.socket, room, &request.bytes[written..]).await.map_err(|error| match error {
        Unwritten::Expired => Broken::Server(Failure::AnswerTimeout),
        Unwritten::Failed => closed(server),
    })
}

/// Writes the rest of an interim answer, then goes on with the request's content if there is more.
pub(crate) async fn interim(
    client: &mut Client,
    request: &mut Request,
    (lease, server): (&Lease, &mut Server),
    unwritten: Vec<u8>,
) -> Result<(), Broken> {
    let deadlines = client.listening.settings().deadlines;
    write_all(&client.socket, client.room(deadlines.client_write_idle), &unwritten)
        .await
        .map_err(|_| Broken::Client(ClientFault::Gone))?;
    if !request.content.is_done() && server.held.is_empty() {
        upload(client, request, (lease, server)).await?;
    }
    client.watch.set(Phase::Busy, deadline(client.worker.clock.now(), request.server_head(&deadlines)));
    Ok(())
}

/// Sends the rest of a request's content, until it is over or the server answers.
pub(crate) async fn upload(
    client: &mut Client,
    request: &mut Request,
    (lease, server): (&Lease, &mut Server),
) -> Result<(), Broken> {
    let deadlines = client.listening.settings().deadlines;
    let (mut pipe, mut turn) = (None, Turn::default());
    while !request.content.is_done() {
        let before = request.received;
        let room = Room { lease: Some(lease), ..client.room(deadlines.client_body_idle) };
        match room.wait(|context| poll_either(&client.socket, &server.socket, context)).await {
            Ok(Either::Second) => break,
            Ok(Either::First) => {}
            Err(Expired) => return Err(Broken::Client(ClientFault::Timeout)),
        }
        let sent = match long_run(&request.content, &client.socket, &server.socket) {
            Some((left, from, to)) => {
                let pipe =
                    pipe_in(&mut pipe, &client.worker).map_err(|_| Broken::Client(ClientFault::Gone))?;
                let flow = Flow { from, to, room: client.room(deadlines.server_body_idle) };
                let moved = pipe.step(&flow, left).await;
                moved.map_err(from_client).map(|moved| {
                    request.content.passed(moved);
                    request.received += moved;
                })
            }
            None => upload_piece(client, request, server, deadlines.server_body_idle).await,
        };
        match sent {
            Ok(()) => turn.moved(request.received - before).await,
            // The server closed or fell silent; what it may have said before that is read next.
            Err(Broken::Server(Failure::Closed)) => break,
            Err(broken) => return Err(broken),
        }
    }
    if let Some(pipe) = pipe {
        client.worker.give_pipe(pipe);
    }
    Ok(())
}

const fn from_client(stopped: splice::Stopped) -> Broken {
    match stopped {
        splice::Stopped::End | splice::Stopped::Read => Broken::Client(ClientFault::Gone),
        splice::Stopped::Write => Broken::Server(Failure::Closed),
        splice::Stopped::Expired => Broken::Server(Failure::AnswerTimeout),
    }
}

/// Reads once from the client and writes that to the server.
async fn upload_piece(
    client: &mut Client,
    request: &mut Request,
    server: &Server,
    idle: std::time::Duration,
) -> Result<(), Broken> {
    let limit = client.listening.settings().limits.request_body_bytes.0;
    let unsent = scratch::with(|scratch| {
        let length = match client.socket.read(&mut scratch.input) {
            Ok(Read::Bytes(length)) => length,
            Ok(Read::Wait) => return Ok(Vec::new()),
            Ok(Read::End) | Err(_) => return Err(Broken::Client(ClientFault::Gone)),
        };
        let bytes = &scratch.input[..length];
        let taken = request.content.take(bytes, &mut scratch.output);
        let Taken { taken, kept } = taken.map_err(|e| Broken::Client(ClientFault::Chunk(e)))?;
        if matches!(request.content, Content::Chunked(_)) && request.content.announced() > limit {
            return Err(Broken::Client(ClientFault::TooLarge));
        }
        request.received += taken as u64;
        client.carry.extend_from_slice(&bytes[taken..]);
        let out = joined(&bytes[..kept], &mut scratch.output);
        let written = server.socket.write(out).map_err(|_| Broken::Server(Failure::Closed))?;
        Ok(out[written..].to_vec())
    })?;
    write_all(&server.socket, client.room(idle), &unsent).await.map_err(|error| match error {
        Unwritten::Expired => Broken::Server(Failure::AnswerTimeout),
        Unwritten::Failed => Broken::Server(Failure::Closed),
    })
}

/// Brings the rest of an answer to the client.
pub(crate) async fn download(
    client: &Client,
    (lease, server): (&Lease, &mut Server),
    answer: &mut Answer,
) -> Result<(), Broken> {
    let deadlines = client.listening.settings().deadlines;
    let room = Room { lease: Some(lease), ..client.room(deadlines.client_write_idle) };
    let (mut pipe, mut turn) = (None, Turn::default());
    loop {
        let before = answer.sent;
        let unwritten = std::mem::take(&mut answer.rest.unwritten);
        write_all(&client.socket, room, &unwritten).await.map_err(|_| Broken::Unread)?;
        if answer.rest.content.is_done() {
            break;
        }
        client.watch.set(Phase::Busy, deadline(client.worker.clock.now(), deadlines.server_body_idle));
        let arrived = server.socket.readable(&client.watch).await;
        arrived.map_err(|Expired| Broken::Midway(Failure::AnswerTimeout))?;
        if let Some((left, from, to)) = answer.rest.long_run(&server.socket, &client.socket) {
            let pipe = pipe_in(&mut pipe, &client.worker).map_err(|_| Broken::Midway(Failure::Closed))?;
            let moved = pipe.step(&Flow { from, to, room }, left).await.map_err(to_client)?;
            answer.rest.content.passed(moved);
            answer.sent += moved;
        } else {
            scratch::with(|scratch| download_piece(client, server, answer, scratch))?;
        }
        turn.moved(answer.sent - before).await;
    }
    if let Some(pipe) = pipe {
        client.worker.give_pipe(pipe);
    }
    // Splicing takes what the answer has and sees nothing of what may be behind it.
    answer.keep = answer.keep && server.socket.is_drained();
    Ok(())
}

const fn to_client(stopped: splice::Stopped) -> Broken {
    match stopped {
        splice::Stopped::End | splice::Stopped::Read => Broken::Midway(Failure::Closed),
        splice::Stopped::Write | splice::Stopped::Expired => Broken::Unread,
    }
}

/// Reads once from the server and writes that to the client; what there is no room for is kept.
fn download_piece(
    client: &Client,
    server: &Server,
    answer: &mut Answer,
    scratch: &mut scratch::Scratch,
) -> Result<(), Broken> {
    let content = &mut answer.rest.content;
    let length = match server.socket.read(&mut scratch.input) {
        Ok(Read::Bytes(length)) => length,
        // The read before may have filled the buffer just when the server paused.
        Ok(Read::Wait) => {
            answer.sent += answer.rest.let_out(After::Pause)?;
            return Ok(());
        }
        Ok(Read::End) if matches!(content, Content::UntilClose) => {
            *content = Content::Done;
            answer.sent += answer.rest.let_out(After::End)?;
            return Ok(());
        }
        Ok(Read::End) | Err(_) => return Err(Broken::Midway(Failure::Closed)),
    };
    let bytes = &scratch.input[..length];
    let bad = |_| Broken::Midway(Failure::BadAnswer);
    let (taken, out) = if let Some(filter) = &mut answer.rest.filter {
        // A buffer that was not filled: the server has no more to say for now.
        let paused = if length < scratch.input.len() { Paused::Yes } else { Paused::No };
        let taken = take_filtered(content, filter, (bytes, paused), &mut scratch.output)?;
        (taken, &scratch.output[..])
    } else if answer.onward == Onward::Http10 {
        let taken = content.take_plain(bytes, &mut scratch.output).map_err(bad)?;
        (taken, &scratch.output[..])
    } else {
        let Taken { taken, kept } = content.take(bytes, &mut scratch.output).map_err(bad)?;
        (taken, joined(&bytes[..kept], &mut scratch.output))
    };
    // A server that sends more than its answer cannot be trusted with the connection.
    answer.keep &= taken == length;
    if out.is_empty() {
        // A filter may hold all of it.
        return Ok(());
    }
    let written = client.socket.write(out).map_err(|_| Broken::Unread)?;
    answer.sent += out.len() as u64;
    answer.rest.unwritten = out[written..].to_vec();
    Ok(())
}

/// Whether the server has no more to say for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paused {
    Yes,
    No,
}

/// Takes content from what a server sent, and appends it to `out` as the filter has it; the number of bytes taken.
pub(crate) fn take_filtered(
    content: &mut Content,
    filter: &mut Filter,
    (bytes, paused): (&[u8], Paused),
    out: &mut Vec<u8>,
) -> Result<usize, Broken> {
    let mut plain = Vec::new();
    let taken = content.take_plain(bytes, &mut plain).map_err(|_| Broken::Midway(Failure::BadAnswer))?;
    let after = match paused {
        _ if content.is_done() => After::End,
        Paused::Yes => After::Pause,
        Paused::No => After::More,
    };
    filter.push(&plain, after, out).map_err(no_memory)?;
    Ok(taken)
}

/// An encoder failed, which only happens without memory: the answer ends where it is.
fn no_memory(_: std::io::Error) -> Broken {
    Broken::Unread
}

/// What goes on: `kept` alone, or with what was edited behind it.
fn joined<'a>(kept: &'a [u8], edited: &'a mut Vec<u8>) -> &'a [u8] {
    if edited.is_empty() {
        return kept;
    }
    edited.splice(0..0, kept.iter().copied());
    edited
}

/// How much of the content is left, when that is known and long enough to be spliced, and between which wires.
fn long_run<'a>(content: &Content, from: &'a Socket, to: &'a Socket) -> Option<(u64, &'a Wire, &'a Wire)> {
    match content {
        Content::Length(left) if *left >= SPLICE_FROM => Some((*left, from.plain()?, to.plain()?)),
        Content::Length(_) | Content::Done | Content::Chunked(_) | Content::UntilClose => None,
    }
}

fn pipe_in<'p>(pipe: &'p mut Option<Pipe>, worker: &Worker) -> std::io::Result<&'p mut Pipe> {
    match pipe {
        Some(pipe) => Ok(pipe),
        None => Ok(pipe.insert(worker.take_pipe()?)),
    }
}
