//! One non-blocking TCP connection, with as few system calls as it can be used with.
//!
//! Owns: the bytes as they are on the wire, and the readiness of the connection. Leaves to others: whether they are
//! encrypted, and waiting under a deadline (`socket`). Invariant: after a read that did not fill its buffer tokio's
//! readiness is cleared, so that no empty read follows and a request costs two receives in all.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
};

use crate::net::socket::Read;

/// A connection without what may be spoken on it.
#[derive(Debug)]
pub(crate) struct Wire(TcpStream);

impl Wire {
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

    /// Whether there may be something to read, or the end; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(context).map(drop)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_write_ready(context).map(drop)
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
