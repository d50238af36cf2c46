//! Listeners: sockets, and the loop in each worker that takes clients in.
//!
//! Owns: binding, one socket for each worker (SO_REUSEPORT), and stopping. Invariant: before a listening socket
//! is closed its queue is emptied, for the kernel resets what still waits there.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use evenkeel_config::balancer::Mode;
use rustix::{event::PollFlags, io::Errno, net::SocketFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    client::{self, Client},
    http1,
    listening::Listening,
    net::{
        reactor::{Known, Place},
        wire::look,
    },
    proxied, sources, tcp, tls,
    worker::Worker,
};

/// Connections that may wait to be accepted; the kernel holds it at net.core.somaxconn, by default 4,096.
const BACKLOG: i32 = 4096;

/// Clients taken in before those that are there have their turn: a burst costs them no more than 64 × 10 µs.
const ACCEPTS_AT_ONCE: u32 = 64;

/// Pause after a failed accept: most likely descriptors are gone, and only time brings them back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `count` sockets to one address; when its port is 0 all get the port that the kernel chose.
///
/// # Errors
/// When the address is in use, is not ours, or needs a privilege.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // Clients inherit it: heads and small bodies leave in one write, and waiting for more would only delay them.
        socket.set_tcp_nodelay(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok(sockets)
}

/// Takes clients in until the listener is to drain.
pub(crate) async fn accept(worker: Rc<Worker>, listening: Rc<Listening>, socket: TcpListener) {
    let mut listener = Listener { socket, place: Place::new(Known::Fresh), in_a_row: 0 };
    let mut taken = 0;
    while !listening.is_draining() {
        tokio::select! {
            biased;
            () = listening.stopped() => {}
            accepted = next(&worker, &mut listener) => take(&worker, &listening, accepted).await,
        }
        taken += 1;
        if taken % ACCEPTS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Those who are in the kernel's queue were told that they are connected, also since the last look.
    while let Ok((stream, from)) = listener.accept() {
        start(&worker, &listening, (stream, Known::Fresh), from);
    }
    worker.end_idle();
}

/// A listening socket of this worker.
struct Listener {
    socket: TcpListener,
    place: Place,
    /// Clients since the last wait for one.
    in_a_row: u32,
}

/// A client from a listener's queue, what is assumed of it, and where it came from.
type Accepted = ((TcpStream, Known), SocketAddr);

impl Listener {
    /// The next client, if one waits. The first after a wait most often comes alone, and its request is still on its way: it
    /// is not read from before more is known, and before a second accept, which costs as much where it finds nothing, it is
    /// asked whether there is anybody.
    fn take(&mut self) -> io::Result<Accepted> {
        if self.in_a_row == 1 && !self.has_more() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (stream, from) = self.accept()?;
        let known = if self.in_a_row == 0 { Known::Quiet } else { Known::Fresh };
        self.in_a_row = self.in_a_row.saturating_add(1);
        Ok(((stream, known), from))
    }

    /// Whether somebody waits in the kernel's queue, or it may be so.
    fn has_more(&self) -> bool {
        !look(&self.socket, PollFlags::IN).is_ok_and(|found| found.is_empty())
    }

    /// A client from the kernel's queue; `WouldBlock` when none waits there.
    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (stream, from) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        let from = from.ok_or(Errno::AFNOSUPPORT)?;
        Ok((stream.into(), from.try_into()?))
    }
}

/// The next client, when there is room for one.
async fn next(worker: &Worker, listener: &mut Listener) -> io::Result<Accepted> {
    worker.has_room().await;
    loop {
        match listener.take() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.place.read_all(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => return other,
        }
        listener.in_a_row = 0;
        poll_fn(|context| listener.place.poll_readable(&listener.socket, context)).await;
        // Where it cannot be watched, the pause after a failed accept keeps the loop from spinning.
        listener.place.may_read()?;
    }
}

async fn take(worker: &Rc<Worker>, listening: &Rc<Listening>, accepted: io::Result<Accepted>) {
    match accepted {
        Ok((stream, from)) => start(worker, listening, stream, from),
        Err(error) => {
            listening.tally().accept_errors.up();
            tracing::warn!(listener = listening.name(), %error, "a client could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn start(worker: &Rc<Worker>, listening: &Rc<Listening>, stream: (TcpStream, Known), from: SocketAddr) {
    let settings = listening.settings();
    let client = Client::new(Rc::clone(worker), Rc::clone(listening), stream, from);
    if settings.proxy_protocol.is_some() {
        let known = async { proxied::receive(client).await.into_iter().for_each(begin) };
        return drop(tokio::task::spawn_local(known));
    }
    begin(client);
}

/// Begins what is spoken with a client.
fn begin(mut client: Client) {
    let settings = client.listening.settings();
    if client.sit_down(settings.source_limit.as_deref()) == client::Place::None {
        return sources::refuse(client, &settings);
    }
    if let Some(front) = &settings.tls {
        return drop(tokio::task::spawn_local(tls::accept::serve(client, Arc::clone(front))));
    }
    match settings.mode {
        Mode::Http => drop(tokio::task::spawn_local(http1::begin(client))),
        // A listener that speaks UDP has no socket that accepts.
        Mode::Tcp | Mode::Udp => drop(tokio::task::spawn_local(tcp::serve(client))),
    }
}
