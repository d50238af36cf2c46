//! A connection as the data plane uses it: reading, writing, and waiting under a deadline.
//!
//! Owns: what every protocol may ask of a connection. Leaves to others: the bytes on the wire (`wire`), and what encrypts
//! them (`tls`). Invariant: what moves bytes past the program (`splice`) gets a wire only from [`Socket::plain`].

use std::{
    cell::{RefCell, RefMut},
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    task::{Context, Poll},
};

use evenkeel_balance::Left;

use crate::{
    net::{
        reactor::Known,
        sweep::{Expired, Watch},
        wire::Wire,
    },
    pool::ports::{Port, Says, Towards},
    tls::session::Session,
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
    /// Boxed, for a plain connection's memory counts.
    session: Option<Box<RefCell<Session>>>,
    /// The source port that it has, where it is one of ours to a server.
    port: Option<Port>,
}

impl Socket {
    /// A connection that was accepted.
    pub(crate) fn accepted(stream: TcpStream, known: Known) -> Self {
        Self { wire: Wire::accepted(stream, known), session: None, port: None }
    }

    /// Connects to `address`, from `source` where that is told; it has `port` as long as it lasts.
    pub(crate) async fn connect(address: SocketAddr, source: Option<IpAddr>, port: Port) -> io::Result<Self> {
        Ok(Self { wire: Wire::connect(address, source).await?, session: None, port: Some(port) })
    }

    /// Whether it goes one of these ways.
    pub(crate) fn goes_by(&self, ways: &[Arc<Towards>]) -> bool {
        self.port.as_ref().is_none_or(|port| port.is_of(ways))
    }

    /// What is known of what is on its way between us and a server.
    pub(crate) fn says(&self, says: Says) {
        if let Some(port) = &self.port {
            port.says(says);
        }
    }

    /// From now on the connection speaks TLS.
    pub(crate) fn encrypt(&mut self, session: Session) {
        self.session = Some(Box::new(RefCell::new(session)));
    }

    /// The wire, where the bytes on it are those that are read and written here.
    pub(crate) fn plain(&self) -> Option<&Wire> {
        if self.session.is_none() { Some(&self.wire) } else { None }
    }

    /// The session, where the connection speaks TLS.
    pub(crate) fn session(&self) -> Option<RefMut<'_, Session>> {
        self.session.as_ref().map(|session| session.borrow_mut())
    }

    /// The wire, whatever is spoken on it; for `tls` alone.
    pub(crate) const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        match self.session() {
            None => self.wire.read(buffer),
            Some(mut session) => session.read(&self.wire, buffer),
        }
    }

    /// Whether all that has come was read and more may come; costs a system call only where that is not known.
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.read(&mut [0]), Ok(Read::Wait))
    }

    /// Writes what there is room for, maybe nothing. What it did not take must be written next, if anything is.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.session() {
            None => self.wire.write(bytes),
            Some(mut session) => session.write(&self.wire, bytes),
        }
    }

    /// Writes the last bytes of all, or what there is room for; when it takes all of them, nothing more may be written.
    pub(crate) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.session() {
            None => self.wire.write_last(bytes),
            // Its end is a record of its own.
            Some(mut session) => session.write(&self.wire, bytes),
        }
    }

    /// Whether nothing has come on a connection that should be silent; wakes nobody, and makes no system call but where a
    /// server may have sent a session ticket.
    pub(crate) fn is_silent(&self) -> bool {
        match self.session() {
            None => self.wire.is_silent(),
            Some(mut session) => session.is_silent(&self.wire),
        }
    }

    /// Whether nothing is known to have come that was not read; asks nobody.
    pub(crate) fn is_caught_up(&self) -> bool {
        match self.session() {
            None => self.wire.is_caught_up(),
            Some(mut session) => session.is_silent(&self.wire),
        }
    }

    /// Asks for `key` to be called by this thread's reactor when something comes or the connection ends, so that no task
    /// need wait; whether that was granted, which it is not when something may be there already.
    pub(crate) fn call(&self, key: u32) -> bool {
        self.is_caught_up() && self.wire.call(key)
    }

    /// Whether something has come by now that was not read; asks the kernel.
    pub(crate) fn has_more(&self) -> bool {
        self.wire.has_more()
    }

    /// Whether there may be something to read, or the end; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.session() {
            None => self.wire.poll_readable(context),
            Some(mut session) => session.poll_readable(&self.wire, context),
        }
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

    /// Our own address on this connection.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.wire.local()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_write(&self) {
        if let Some(port) = &self.port {
            port.leaves(|| self.wire.left());
        }
        match self.session() {
            None => self.wire.shut_write(),
            Some(mut session) => session.shut_write(&self.wire),
        }
    }

    /// Makes closing look like the failure that it is: a cut answer must not pass for a whole one.
    pub(crate) fn reset_on_close(&self) {
        if let Some(mut session) = self.session() {
            session.cut();
        }
        if let Some(port) = &self.port {
            port.is_reset();
        }
        self.wire.reset_on_close();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A server that has closed already keeps its port from nobody.
        if self.port.as_ref().is_some_and(Port::should_be_reset) && self.wire.left() == Left::Waiting {
            self.reset_on_close();
        }
        if let Some(session) = &mut self.session {
            session.get_mut().end(&self.wire);
        }
        if let Some(port) = &self.port {
            port.leaves(|| self.wire.left());
        }
    }
}

/// Which of two connections may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Either {
    First,
    Second,
}

/// Which of two connections may be read, the second first; if none, the task is woken when there is one.
pub(crate) fn poll_either(first: &Socket, second: &Socket, context: &mut Context<'_>) -> Poll<Either> {
    if second.poll_readable(context).is_ready() {
        return Poll::Ready(Either::Second);
    }
    first.poll_readable(context).map(|()| Either::First)
}
