//! Bytes moved from one connection to another inside the kernel (splice(2) through a pipe).
//!
//! Owns: the pipe, and the tunnel of TCP mode and WebSockets. Invariants: a pipe goes back into stock only when
//! it is empty; in a tunnel an end in one direction leaves the other direction open.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    task::{Context, Poll},
    time::Duration,
};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use tokio::io::Interest;

use crate::{
    client::Client,
    pool::{Server, deadline},
    socket::Socket,
    sweep::{Expired, Phase, Watch},
    worker::Worker,
};

/// Content of at least this length is spliced; measured, below 32 KiB the pipe costs more than the copy.
pub(crate) const SPLICE_FROM: u64 = 32 * 1024;

/// Bytes that a pipe holds: 256 KiB, a fast connection's window; 64 of them reach the kernel's soft limit for
/// users (16,384 pages), beyond which it grants less.
const PIPE_BYTES: i32 = 256 * 1024;

/// A pipe between two connections.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    /// Bytes in it.
    held: usize,
}

/// Two connections, and how long the second may take nothing.
pub(crate) struct Flow<'a> {
    pub(crate) from: &'a Socket,
    pub(crate) to: &'a Socket,
    pub(crate) watch: &'a Watch,
    pub(crate) idle: Duration,
}

/// Why a flow stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The sender has sent all that it will send.
    End,
    /// The sender failed.
    Read,
    /// The receiver failed.
    Write,
    /// The receiver took nothing for too long.
    Expired,
}

impl Pipe {
    /// A new pipe.
    pub(crate) fn new() -> io::Result<Self> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // Where the kernel grants no more than the default of 64 KiB, that does as well.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Self { out, into, held: 0 })
    }

    /// Whether nothing is in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves what has come, at most `most` bytes, on to the receiver; how many.
    pub(crate) async fn step(&mut self, worker: &Worker, flow: &Flow<'_>, most: u64) -> Result<u64, Stopped> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let came = match self.fill(flow.from, most) {
            Ok(0) => return Err(Stopped::End),
            Ok(came) => came,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(_) => return Err(Stopped::Read),
        };
        while self.held > 0 {
            match self.empty(flow.to) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    flow.watch.set(Phase::Busy, deadline(worker.clock.now(), flow.idle));
                    flow.to.writable(flow.watch).await.map_err(|Expired| Stopped::Expired)?;
                }
                Err(_) => return Err(Stopped::Write),
            }
        }
        Ok(came as u64)
    }

    /// Takes from the sender what has come; 0 at its end.
    fn fill(&mut self, from: &Socket, most: usize) -> io::Result<usize> {
        let room = most.min(usize::try_from(PIPE_BYTES).unwrap_or_default());
        let stream = from.stream();
        let came =
            stream.try_io(Interest::READABLE, || move_bytes(stream.as_fd(), self.into.as_fd(), room))?;
        self.held += came;
        Ok(came)
    }

    /// Gives the receiver what it has room for.
    fn empty(&mut self, to: &Socket) -> io::Result<usize> {
        let stream = to.stream();
        let went =
            stream.try_io(Interest::WRITABLE, || move_bytes(self.out.as_fd(), stream.as_fd(), self.held))?;
        self.held -= went;
        Ok(went)
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    debug_assert!(from.as_fd().as_raw_fd() != to.as_fd().as_raw_fd(), "a splice has two ends");
    Ok(splice(from, None, to, None, most, flags)?)
}

/// One direction of a tunnel.
struct Direction {
    pipe: Pipe,
    state: Course,
}

/// How far one direction of a tunnel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Bytes may come.
    Open,
    /// The sender has ended; what the pipe holds is still to go.
    Ending,
    /// All has gone and the receiver knows that it was all.
    Over,
}

impl Direction {
    fn new(worker: &Worker) -> io::Result<Self> {
        Ok(Self { pipe: worker.take_pipe()?, state: Course::Open })
    }

    /// Moves what can be moved; ready with whether anything was, or that all is over.
    fn poll(&mut self, from: &Socket, to: &Socket, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut moved = false;
        while self.state != Course::Over {
            if !self.pipe.is_empty() {
                match self.pipe.empty(to) {
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if to.stream().poll_write_ready(context).is_pending() {
                            break;
                        }
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else if self.state == Course::Ending {
                to.shut_write();
                self.state = Course::Over;
                moved = true;
            } else {
                match self.pipe.fill(from, usize::MAX) {
                    Ok(0) => self.state = Course::Ending,
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if from.stream().poll_read_ready(context).is_pending() {
                            break;
                        }
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// Moves bytes both ways until both have ended, one side fails, or nothing moves for `idle`.
pub(crate) async fn tunnel(
    worker: &Worker,
    (a, b): (&Socket, &Socket),
    watch: &Watch,
    idle: Duration,
) -> io::Result<()> {
    let (mut forth, mut back) = (Direction::new(worker)?, Direction::new(worker)?);
    while forth.state != Course::Over || back.state != Course::Over {
        watch.set(Phase::Busy, deadline(worker.clock.now(), idle));
        std::future::poll_fn(|context| {
            let (there, here) = (forth.poll(a, b, context)?, back.poll(b, a, context)?);
            if there.is_ready() || here.is_ready() {
                return Poll::Ready(Ok(()));
            }
            watch.poll_expired(context).map(|Expired| Err(io::Error::from(io::ErrorKind::TimedOut)))
        })
        .await?;
    }
    worker.give_pipe(forth.pipe);
    worker.give_pipe(back.pipe);
    Ok(())
}

/// Carries a connection on after its upgrade to a WebSocket.
pub(crate) async fn upgraded(client: &mut Client, server: &mut Server) {
    let idle = client.listening.route().deadlines.tunnel_idle;
    let carried = std::mem::take(&mut client.carry);
    // Frames that came right behind the request: few, and the server has just begun to read.
    if server.socket.write(&carried).is_ok_and(|written| written == carried.len()) {
        let _ = tunnel(&client.worker, (&client.socket, &server.socket), &client.watch, idle).await;
    }
}
