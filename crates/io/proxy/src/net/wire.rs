//! One non-blocking TCP connection, with as few system calls as it can be used with.
//!
//! Owns: the bytes as they are on the wire, and asking the kernel only where it may have an answer. Leaves to others:
//! whether they are encrypted, and waiting under a deadline (`socket`); what is known of a descriptor (`reactor`).
//! Invariant: after a read that did not fill its buffer nothing is read until more is reported, so that no empty read
//! follows and a request costs two receives in all.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    task::{Context, Poll},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt},
};

use crate::net::{
    reactor::{Known, Place},
    socket::Read,
};

/// A connection without what may be spoken on it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    place: Place,
}

impl Wire {
    /// A connection that was accepted; it does not block, and sends small pieces at once, as its listener does.
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        Self { stream, place: Place::new(Known::Fresh) }
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// When the connection does not come about.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // Heads and small bodies leave in one write; waiting for more to send would only delay them.
        sockopt::set_tcp_nodelay(&socket, true)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => Ok(Self { stream: socket.into(), place: Place::new(Known::Quiet) }),
            Err(Errno::INPROGRESS | Errno::INTR) => {
                let wire = Self { stream: socket.into(), place: Place::new(Known::Connecting) };
                std::future::poll_fn(|context| wire.poll_writable(context)).await;
                wire.place.may_write()?;
                sockopt::socket_error(&wire.stream)??;
                Ok(wire)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        let room = buffer.len();
        match self.receive(|stream| Ok(rustix::net::recv(stream, &mut *buffer, RecvFlags::empty())?.1)) {
            Ok(0) => Ok(Read::End),
            Ok(length) => {
                if length < room {
                    self.place.read_all();
                }
                Ok(Read::Bytes(length))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Wait),
            Err(error) => Err(error),
        }
    }

    /// Writes what there is room for, maybe nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.send(|stream| Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)) {
            Ok(length) => {
                if length < bytes.len() {
                    self.place.filled();
                }
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Takes bytes by a system call of the caller's, unless it is known that none have come.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, and what the call gives.
    pub(crate) fn receive(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if !self.place.may_read()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match again(|| call(self.stream.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.place.read_all();
                Err(error)
            }
            other => other,
        }
    }

    /// Gives bytes by a system call of the caller's, unless it is known that there is no room.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, and what the call gives.
    pub(crate) fn send(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if !self.place.may_write()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match again(|| call(self.stream.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.place.filled();
                Err(error)
            }
            other => other,
        }
    }

    /// Whether nothing has come on a connection that should be silent; makes no system call and wakes nobody.
    pub(crate) fn is_silent(&self) -> bool {
        self.place.is_silent()
    }

    /// Whether there may be something to read, or the end; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.place.poll_readable(&self.stream, context)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.place.poll_writable(&self.stream, context)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Makes closing look like the failure that it is: a cut answer must not pass for a whole one.
    pub(crate) fn reset_on_close(&self) {
        let _ = sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO));
    }
}

/// Makes a system call until no signal comes in between.
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
