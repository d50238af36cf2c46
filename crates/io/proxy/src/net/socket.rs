//! One non-blocking TCP connection, with as few system calls as it can be used with.
//!
//! Owns: reading, writing and waiting under a deadline. Invariant: after a read that did not fill its buffer
//! tokio's readiness is cleared, so that no empty read follows and a request costs two receives in all.

use std::{io, net::SocketAddr, task::Poll};

use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
};

use crate::net::sweep::{Expired, Watch};

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
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// A connection that was accepted or made.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Heads and small bodies leave in one write; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        Self(stream)
    }

    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.connect(address).await.map(Self::new)
    }

    /// The connection itself, for splicing.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        let room = buffer.len();
        match self.0.try_read(buffer) {
            Ok(0) => Ok(Read::End),
            Ok(length) => {
                if length < room {
                    self.clear_readable();
                }
                Ok(Read::Bytes(length))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Wait),
            Err(error) => Err(error),
        }
    }

    /// Whether all that has come was read and more may come; costs a system call only where that is not known.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.read(&mut [0]), Ok(Read::Wait))
    }

    fn clear_readable(&self) {
        // An end or error that has been seen keeps its own readiness.
        let _: io::Result<()> =
            self.0.try_io(Interest::READABLE, || Err(io::Error::from(io::ErrorKind::WouldBlock)));
    }

    /// Writes what there is room for, maybe nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Whether nothing has come on a connection that should be silent; makes no system call and wakes nobody.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.try_io(Interest::READABLE, || Ok(())).is_err()
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn readable(&self, watch: &Watch) -> Result<(), Expired> {
        std::future::poll_fn(|context| match self.0.poll_read_ready(context) {
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => watch.poll_expired(context).map(Err),
        })
        .await
    }

    /// Waits until there is room to write.
    pub(crate) async fn writable(&self, watch: &Watch) -> Result<(), Expired> {
        std::future::poll_fn(|context| match self.0.poll_write_ready(context) {
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => watch.poll_expired(context).map(Err),
        })
        .await
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_write(&self) {
        let _ = socket2::SockRef::from(&self.0).shutdown(std::net::Shutdown::Write);
    }

    /// Makes closing look like the failure that it is: a cut answer must not pass for a whole one.
    pub(crate) fn reset_on_close(&self) {
        let _ = socket2::SockRef::from(&self.0).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// Waits until one of two connections has something to read; `true` when it is the second.
pub(crate) async fn either_readable(first: &Socket, second: &Socket, watch: &Watch) -> Result<bool, Expired> {
    std::future::poll_fn(|context| {
        if second.0.poll_read_ready(context).is_ready() {
            return Poll::Ready(Ok(true));
        }
        match first.0.poll_read_ready(context) {
            Poll::Ready(_) => Poll::Ready(Ok(false)),
            Poll::Pending => watch.poll_expired(context).map(Err),
        }
    })
    .await
}
