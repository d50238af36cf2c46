//! Bytes passed both ways without a look at them: TCP mode and WebSockets.
//!
//! Owns: how each direction moves. Small pieces go through the thread's scratch buffer, which costs two system calls
//! less than a pipe; long runs go through a pipe and are never copied. Invariants: an end in one direction leaves
//! the other direction open; a tunnel in which nothing is under way holds no buffer and no pipe.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    net::{
        scratch,
        socket::{Read, Socket},
        splice::{Pipe, SPLICE_FROM},
        sweep::{Expired, Phase, Watch},
        turn::Turn,
    },
    pool::deadline,
    worker::Worker,
};

/// How far one direction of a tunnel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Bytes may come.
    Open,
    /// The sender has ended; what is held is still to go.
    Ending,
    /// All has gone and the receiver knows that it was all.
    Over,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So many bytes were read or written, or the direction is a stage further.
    Moved(usize),
    /// The sender has sent nothing more.
    Unread,
    /// The receiver has no room.
    Unwritten,
}

/// One direction of a tunnel.
struct Direction {
    course: Course,
    /// What was read and the receiver had no room for.
    unwritten: Vec<u8>,
    /// Only in a long run.
    pipe: Option<Pipe>,
    read_bytes: u64,
    written_bytes: u64,
}

impl Direction {
    const fn new() -> Self {
        Self { course: Course::Open, unwritten: Vec::new(), pipe: None, read_bytes: 0, written_bytes: 0 }
    }

    /// Moves all that can be moved in a turn, then waits for more or for its next turn; whether anything was moved.
    fn poll(
        &mut self,
        worker: &Worker,
        (from, to): (&Socket, &Socket),
        context: &mut Context<'_>,
    ) -> io::Result<bool> {
        let (mut moved, mut turn) = (false, Turn::default());
        while self.course != Course::Over {
            let waits = match self.step(worker, from, to)? {
                Step::Moved(bytes) => {
                    moved = true;
                    let over = turn.is_over_after(bytes as u64);
                    if over {
                        context.waker().wake_by_ref();
                    }
                    over
                }
                Step::Unread => from.poll_readable(context).is_pending(),
                Step::Unwritten => to.poll_writable(context).is_pending(),
            };
            if waits {
                break;
            }
        }
        Ok(moved)
    }

    fn step(&mut self, worker: &Worker, from: &Socket, to: &Socket) -> io::Result<Step> {
        if !self.unwritten.is_empty() {
            return self.write_on(to);
        }
        // There is a pipe only between two wires.
        if let Some((pipe, to)) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()).zip(to.plain()) {
            return match pipe.empty(to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Unwritten),
                other => other.map(|bytes| {
                    self.written_bytes += bytes as u64;
                    Step::Moved(bytes)
                }),
            };
        }
        match self.course {
            Course::Open if self.pipe.is_some() => self.splice(worker, from),
            Course::Open => self.copy(worker, from, to),
            Course::Ending => {
                to.shut_write();
                self.course = Course::Over;
                self.leave_pipe(worker);
                Ok(Step::Moved(0))
            }
            Course::Over => Ok(Step::Moved(0)),
        }
    }

    /// Reads once and writes that; a long read begins a long run.
    fn copy(&mut self, worker: &Worker, from: &Socket, to: &Socket) -> io::Result<Step> {
        scratch::with(|scratch| {
            let length = match from.read(&mut scratch.input)? {
                Read::Bytes(length) => length,
                Read::Wait => return Ok(Step::Unread),
                Read::End => {
                    self.course = Course::Ending;
                    return Ok(Step::Moved(0));
                }
            };
            self.read_bytes += length as u64;
            let written = to.write(&scratch.input[..length])?;
            self.written_bytes += written as u64;
            self.unwritten = scratch.input[written..length].to_vec();
            if length as u64 >= SPLICE_FROM && from.plain().and(to.plain()).is_some() {
                // Where the system grants no pipe, copying does as well.
                self.pipe = worker.take_pipe().ok();
            }
            Ok(Step::Moved(length))
        })
    }

    /// Fills the pipe, which is empty; the run ends with the burst, for a tunnel at rest holds no pipe.
    fn splice(&mut self, worker: &Worker, from: &Socket) -> io::Result<Step> {
        let Some((pipe, from)) = self.pipe.as_mut().zip(from.plain()) else { return Ok(Step::Moved(0)) };
        match pipe.fill(from, usize::MAX) {
            Ok(0) => {
                self.course = Course::Ending;
                Ok(Step::Moved(0))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.leave_pipe(worker);
                Ok(Step::Unread)
            }
            Err(error) => Err(error),
            Ok(bytes) => {
                self.read_bytes += bytes as u64;
                Ok(Step::Moved(0))
            }
        }
    }

    fn write_on(&mut self, to: &Socket) -> io::Result<Step> {
        let written = to.write(&self.unwritten)?;
        self.written_bytes += written as u64;
        match written {
            0 => Ok(Step::Unwritten),
            written if written == self.unwritten.len() => {
                self.unwritten = Vec::new();
                Ok(Step::Moved(0))
            }
            written => {
                self.unwritten.drain(..written);
                Ok(Step::Moved(0))
            }
        }
    }

    fn leave_pipe(&mut self, worker: &Worker) {
        if let Some(pipe) = self.pipe.take() {
            worker.give_pipe(pipe);
        }
    }
}

/// What passed through a tunnel between a client and a server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passed {
    /// Bytes that came from the client.
    pub(crate) received: u64,
    /// Bytes that went to the client.
    pub(crate) sent: u64,
}

/// Moves bytes both ways, between a client and a server, until both have ended, one side fails, or nothing moves for
/// `idle`; what has passed, however it ended.
pub(crate) async fn run(
    worker: &Worker,
    (a, b): (&Socket, &Socket),
    watch: &Watch,
    idle: Duration,
) -> (io::Result<()>, Passed) {
    let (mut forth, mut back) = (Direction::new(), Direction::new());
    watch.set(Phase::Busy, deadline(worker.clock.now(), idle));
    let ended = std::future::poll_fn(|context| {
        let (there, here) = (forth.poll(worker, (a, b), context)?, back.poll(worker, (b, a), context)?);
        if forth.course == Course::Over && back.course == Course::Over {
            return Poll::Ready(Ok(()));
        }
        if there || here {
            watch.set(Phase::Busy, deadline(worker.clock.now(), idle));
        }
        watch.poll_expired(context).map(|Expired| Err(io::Error::from(io::ErrorKind::TimedOut)))
    })
    .await;
    (ended, Passed { received: forth.read_bytes, sent: back.written_bytes })
}
