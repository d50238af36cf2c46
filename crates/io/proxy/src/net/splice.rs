//! Bytes moved from one connection to another inside the kernel (splice(2) through a pipe).
//!
//! Owns: the pipe. Leaves to others: when bytes are many enough for one (`transfer`, `tunnel`). Invariant: a pipe
//! goes back into stock only when it is empty.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

use crate::{
    net::{sweep::Expired, wire::Wire},
    pool::room::Room,
};

/// Content of at least this length is spliced; measured, below 32 KiB the pipe costs more than the copy.
pub(crate) const SPLICE_FROM: u64 = 32 * 1024;

/// Bytes that a pipe holds: 256 KiB, a fast connection's window.
///
/// Measured with bodies of 1 MiB, half of it costs 5 % more and four times as much 10 % more. At 64 pages each, a
/// worker's stock of 64 takes a quarter of what the kernel grants a user by default (16,384 pages), beyond which it
/// grants less.
const PIPE_BYTES: i32 = 256 * 1024;

/// A pipe between two connections.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    /// Bytes in it.
    held: usize,
}

/// Two plain connections, and how the second is waited for.
pub(crate) struct Flow<'a> {
    pub(crate) from: &'a Wire,
    pub(crate) to: &'a Wire,
    pub(crate) room: Room<'a>,
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
    pub(crate) async fn step(&mut self, flow: &Flow<'_>, most: u64) -> Result<u64, Stopped> {
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
                    let ready = flow.room.wait(|context| flow.to.poll_writable(context)).await;
                    ready.map_err(|Expired| Stopped::Expired)?;
                }
                Err(_) => return Err(Stopped::Write),
            }
        }
        Ok(came as u64)
    }

    /// Takes from the sender what has come; 0 at its end.
    pub(crate) fn fill(&mut self, from: &Wire, most: usize) -> io::Result<usize> {
        let room = most.min(usize::try_from(PIPE_BYTES).unwrap_or_default());
        let came = from.receive(|stream| move_bytes(stream, self.into.as_fd(), room))?;
        self.held += came;
        Ok(came)
    }

    /// Gives the receiver what it has room for.
    pub(crate) fn empty(&mut self, to: &Wire) -> io::Result<usize> {
        let went = to.send(|stream| move_bytes(self.out.as_fd(), stream, self.held))?;
        self.held -= went;
        Ok(went)
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    debug_assert!(from.as_fd().as_raw_fd() != to.as_fd().as_raw_fd(), "a splice has two ends");
    Ok(splice(from, None, to, None, most, flags)?)
}
