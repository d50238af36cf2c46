//! One non-blocking TCP connection, with as few system calls as it can be used with.
//!
//! Owns: the bytes as they are on the wire, and asking the kernel only where it may have an answer. Leaves to others:
//! whether they are encrypted, and waiting under a deadline (`socket`); what is known of a descriptor (`reactor`).
//! Invariant: after a read that did not fill its buffer nothing is read until more is reported, so that no empty read
//! follows and a request costs two receives in all.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    task::{Context, Poll},
};

use evenkeel_balance::Left;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
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
    pub(crate) fn accepted(stream: TcpStream, known: Known) -> Self {
        Self { stream, place: Place::new(known) }
    }

    /// Connects to `address`, from `source` where that is told.
    ///
    /// # Errors
    /// When the connection does not come about.
    pub(crate) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // Heads and small bodies leave in one write; waiting for more to send would only delay them.
        sockopt::set_tcp_nodelay(&socket, true)?;
        if let Some(source) = source {
            bind(&socket, source)?;
        }
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

    /// Our own address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Writes what there is room for, maybe nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(bytes, SendFlags::NOSIGNAL)
    }

    /// Writes the last bytes of all, behind which the connection is closed at once: the kernel holds them back, so that they
    /// and the end leave in one segment, which saves both sides a packet and its acknowledgement.
    pub(crate) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(bytes, SendFlags::NOSIGNAL | SendFlags::MORE)
    }

    fn write_with(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        match self.send(|stream| Ok(rustix::net::send(stream, bytes, flags)?)) {
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

    /// Whether nothing is known to have come that was not read.
    pub(crate) fn is_caught_up(&self) -> bool {
        matches!(self.place.may_read(), Ok(false))
    }

    /// Asks this thread's reactor to call `key` when something comes or the connection ends; whether that was granted.
    pub(crate) fn call(&self, key: u32) -> bool {
        self.place.call(&self.stream, key)
    }

    /// Whether something has come by now that was not read; asks the kernel.
    pub(crate) fn has_more(&self) -> bool {
        let wait = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(rustix::net::recv(&self.stream, &mut [0], wait), Err(Errno::AGAIN))
    }

    /// Whether there may be something to read, or the end; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.place.poll_readable(&self.stream, context)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub(crate) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.place.poll_writable(&self.stream, context)
    }

    /// How the connection leaves its port, if we close now: whoever closes first waits (RFC 9293 §3.6.1).
    pub(crate) fn left(&self) -> Left {
        let closed = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        match look(&self.stream, PollFlags::RDHUP) {
            Ok(found) if found.intersects(closed) => Left::Free,
            Ok(_) | Err(_) => Left::Waiting,
        }
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

/// Lets a connection go from `source`. Its port is chosen when it is known where to, so that one port serves many servers.
///
/// # Errors
/// When it is no address of this box.
pub(crate) fn bind(socket: impl AsFd, source: IpAddr) -> io::Result<()> {
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    Ok(rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?)
}

/// Which of these things are so of a descriptor now, or what is wrong with it; asks the kernel and does not wait.
///
/// # Errors
/// When the kernel does not tell.
pub(crate) fn look(descriptor: impl AsFd, wanted: PollFlags) -> io::Result<PollFlags> {
    let mut asked = [PollFd::new(&descriptor, wanted)];
    rustix::event::poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents())
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

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io::{Read as _, Write as _},
        net::TcpListener,
        time::Duration,
    };

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;
    use crate::net::reactor::Reactor;

    /// Longest that anything here is waited for.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Runs a test where wires live: on a thread with a reactor.
    fn on_a_worker<T>(test: impl Future<Output = T>) -> T {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let mut reactor = Reactor::start().unwrap();
            tokio::task::spawn_local(async move { while reactor.turn(|_| {}).await.is_ok() {} });
            tokio::time::timeout(PATIENCE, test).await.expect("nothing is waited for in vain")
        })
    }

    /// A wire that was accepted, and the other side of it.
    fn accepted() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Wire::accepted(stream, Known::Fresh), other)
    }

    /// Waits as a task does, and reads.
    async fn next(wire: &Wire, room: usize) -> io::Result<(Read, Vec<u8>)> {
        let mut buffer = vec![0; room];
        loop {
            poll_fn(|context| wire.poll_readable(context)).await;
            match wire.read(&mut buffer)? {
                Read::Wait => {}
                Read::Bytes(length) => return Ok((Read::Bytes(length), buffer[..length].to_vec())),
                Read::End => return Ok((Read::End, Vec::new())),
            }
        }
    }

    #[test]
    fn what_came_with_the_connection_is_read_without_registering_it() {
        on_a_worker(async {
            let (wire, mut other) = accepted();
            other.write_all(b"early").unwrap();
            // On loopback what was written has arrived.
            assert_eq!(next(&wire, 64).await.unwrap().1, b"early");
            assert!(!wire.place.is_watched(), "nobody had to wait");
            assert_eq!(wire.write(b"answer").unwrap(), 6);
            assert!(!wire.place.is_watched());
            drop(wire);
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"answer");
        });
    }

    #[test]
    fn what_comes_later_wakes_who_waits_as_often_as_it_comes() {
        on_a_worker(async {
            let (wire, mut other) = accepted();
            let sender = tokio::task::spawn_local(async move {
                for piece in [&b"one"[..], b"two", b"three"] {
                    tokio::task::yield_now().await;
                    other.write_all(piece).unwrap();
                    let mut read = [0; 1];
                    while other.set_nonblocking(true).is_ok() && other.read(&mut read).is_err() {
                        tokio::task::yield_now().await;
                    }
                    other.set_nonblocking(false).unwrap();
                }
                other
            });
            for piece in [&b"one"[..], b"two", b"three"] {
                assert_eq!(next(&wire, 64).await.unwrap().1, piece);
                assert!(wire.is_silent() || !wire.place.is_watched(), "a short read has read all");
                assert_eq!(wire.write(b"!").unwrap(), 1);
            }
            assert!(wire.place.is_watched());
            drop(sender.await.unwrap());
            assert_eq!(next(&wire, 64).await.unwrap().0, Read::End);
        });
    }

    /// Edge-triggered epoll reports bytes and end once and together; the end must not be forgotten by the short read.
    #[test]
    fn an_end_that_comes_together_with_bytes_is_found_after_them() {
        on_a_worker(async {
            let (wire, mut other) = accepted();
            assert_eq!(wire.read(&mut [0; 8]).unwrap(), Read::Wait);
            let mut other = Some(other.write_all(b"last").map(|()| other).unwrap());
            // Both are there before the reactor's next turn.
            drop(other.take());
            assert_eq!(next(&wire, 64).await.unwrap(), (Read::Bytes(4), b"last".to_vec()));
            assert_eq!(next(&wire, 64).await.unwrap().0, Read::End);
            assert!(!wire.is_silent());
        });
    }

    #[test]
    fn a_half_closed_connection_can_still_be_written_to() {
        on_a_worker(async {
            let (wire, mut other) = accepted();
            other.write_all(b"ask").unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            assert_eq!(next(&wire, 64).await.unwrap().1, b"ask");
            assert_eq!(next(&wire, 64).await.unwrap().0, Read::End);
            assert_eq!(wire.write(b"answer").unwrap(), 6);
            wire.shut_write();
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"answer");
        });
    }

    #[test]
    fn a_reset_is_an_error_to_who_waits() {
        on_a_worker(async {
            let (wire, other) = accepted();
            assert_eq!(wire.read(&mut [0; 8]).unwrap(), Read::Wait);
            socket2::SockRef::from(&other).set_linger(Some(Duration::ZERO)).unwrap();
            let cut = tokio::task::spawn_local(async move { drop(other) });
            let error = next(&wire, 64).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            cut.await.unwrap();
        });
    }

    #[test]
    fn a_full_connection_takes_more_once_the_other_side_has_read() {
        on_a_worker(async {
            let (wire, mut other) = accepted();
            let piece = vec![7; 1 << 20];
            let mut sent = 0;
            while let length @ 1.. = wire.write(&piece).unwrap() {
                sent += length;
            }
            let reader = std::thread::spawn(move || {
                let mut all = 0;
                let mut buffer = vec![0; 1 << 16];
                while let Ok(length @ 1..) = other.read(&mut buffer) {
                    all += length;
                }
                all
            });
            for _ in 0..8 {
                poll_fn(|context| wire.poll_writable(context)).await;
                sent += wire.write(&piece).unwrap();
            }
            drop(wire);
            assert_eq!(reader.join().unwrap(), sent);
        });
    }

    #[test]
    fn a_connection_that_is_made_waits_for_the_other_side_to_speak() {
        on_a_worker(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let wire = Wire::connect(listener.local_addr().unwrap(), None).await.unwrap();
            assert_eq!(wire.read(&mut [0; 8]).unwrap(), Read::Wait, "without a system call");
            let (mut other, _) = listener.accept().unwrap();
            other.write_all(b"hello").unwrap();
            assert_eq!(next(&wire, 64).await.unwrap().1, b"hello");
            assert!(wire.is_silent());
            other.write_all(b"unasked").unwrap();
            poll_fn(|context| wire.poll_readable(context)).await;
            assert!(!wire.is_silent(), "a connection that spoke is not silent");
        });
    }

    #[test]
    fn a_connection_that_is_refused_says_so() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = on_a_worker(Wire::connect(closed, None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_place_that_is_given_up_and_taken_again_hears_nothing_of_before() {
        on_a_worker(async {
            let (first, mut one) = accepted();
            let waited = poll_fn(|context| Poll::Ready(first.poll_readable(context).is_pending()));
            assert!(first.read(&mut [0; 1]).is_ok() && waited.await);
            one.write_all(b"for the first").unwrap();
            drop(first);
            let (second, mut two) = accepted();
            assert_eq!(second.read(&mut [0; 8]).unwrap(), Read::Wait);
            two.write_all(b"for the second").unwrap();
            assert_eq!(next(&second, 64).await.unwrap().1, b"for the second");
        });
    }
}
