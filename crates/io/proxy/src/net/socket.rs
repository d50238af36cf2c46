//! A connection as the data plane uses it: reading, writing, and waiting under a deadline.
//!
//! Owns: what every protocol may ask of a connection. Leaves to others: the bytes on the wire (`wire`). Invariant: what
//! moves bytes past the program (`splice`) gets a wire only from [`Socket::plain`].

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use crate::net::{
    sweep::{Expired, Watch},
    wire::Wire,
};

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes, at least 1.
    Bytes(usize),
    /// The other side has sent all that it will send.
    End,
    /// Nothing yet: wait.
    Wait,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Socket {
    wire: Wire,
}

impl Socket {
    /// A connection that was accepted or made.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { wire: Wire::new(stream) }
    }

    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { wire: Wire::connect(address).await? })
    }

    /// The wire, where the bytes on it are those that are read and written here.
    #[expect(clippy::unnecessary_wraps, reason = "an encrypted connection grants none")]
    pub(crate) const fn plain(&self) -> Option<&Wire> {
        Some(&self.wire)
    }

    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        self.wire.read(buffer)
    }

    /// Whether all that has come was read and more may come; costs a system call only where that is not known.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.read(&mut [0]), Ok(Read::Wait))
    }

    /// Writes what there is room for, maybe nothing. What it did not take must be written next, if anything is.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.write(bytes)
    }

    /// Whether nothing has come on a connection that should be silent; makes no system call and wakes nobody.
    pub(crate) fn is_silent(&self) -> bool {
        self.wire.is_silent()
    }

    /// Whether there may be something to read, or the end; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_readable(context)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_writable(context)
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn readable(&self, watch: &Watch) -> Result<(), Expired> {
        std::future::poll_fn(|context| match self.poll_readable(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => watch.poll_expired(context).map(Err),
        })
        .await
    }

    /// Waits until there is room to write.
    pub(crate) async fn writable(&self, watch: &Watch) -> Result<(), Expired> {
        std::future::poll_fn(|context| match self.poll_writable(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => watch.poll_expired(context).map(Err),
        })
        .await
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_write(&self) {
        self.wire.shut_write();
    }

    /// Makes closing look like the failure that it is: a cut answer must not pass for a whole one.
    pub(crate) fn reset_on_close(&self) {
        self.wire.reset_on_close();
    }
}

/// Waits until one of two connections has something to read; `true` when it is the second.
pub(crate) async fn either_readable(first: &Socket, second: &Socket, watch: &Watch) -> Result<bool, Expired> {
    std::future::poll_fn(|context| {
        if second.poll_readable(context).is_ready() {
            return Poll::Ready(Ok(true));
        }
        match first.poll_readable(context) {
            Poll::Ready(()) => Poll::Ready(Ok(false)),
            Poll::Pending => watch.poll_expired(context).map(Err),
        }
    })
    .await
}
