//! Listeners: sockets, and the loop in each worker that takes clients in.
//!
//! Owns: binding, one socket for each worker (SO_REUSEPORT), and stopping. Invariant: before a listening socket
//! is closed its queue is emptied, for the kernel resets what still waits there.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use evenkeel_config::balancer::Mode;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::{client::Client, http1, listening::Listening, tcp, tls, worker::Worker};

/// Connections that may wait to be accepted; the kernel holds it at net.core.somaxconn, by default 4,096.
const BACKLOG: i32 = 4096;

/// Pause after a failed accept: most likely descriptors are gone, and only time brings them back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds `count` sockets to one address; when its port is 0 all get the port that the kernel chose.
///
/// # Errors
/// When the address is in use, is not ours, or needs a privilege.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = StdListener::from(socket);
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok(sockets)
}

/// Takes clients in until the listener is to drain.
pub(crate) async fn accept(worker: Rc<Worker>, listening: Rc<Listening>, socket: StdListener) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(listener = listening.name(), %error, "a socket is of no use"),
    };
    while !listening.is_draining() {
        tokio::select! {
            () = listening.stopped() => {}
            accepted = next(&worker, &listener) => take(&worker, &listening, accepted).await,
        }
    }
    // Those who are in the kernel's queue were told that they are connected.
    while let Some(Ok((stream, from))) = waiting(&listener).await {
        start(&worker, &listening, stream, from);
    }
    worker.sweep.end_idle();
}

/// The next client, when there is room for one.
async fn next(worker: &Worker, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    worker.has_room().await;
    listener.accept().await
}

/// A client that waits in the kernel's queue; `None` when there is none.
async fn waiting(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|context| match listener.poll_accept(context) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn take(worker: &Rc<Worker>, listening: &Rc<Listening>, accepted: io::Result<(TcpStream, SocketAddr)>) {
    match accepted {
        Ok((stream, from)) => start(worker, listening, stream, from),
        Err(error) => {
            listening.tally().accept_errors.up();
            tracing::warn!(listener = listening.name(), %error, "a client could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn start(worker: &Rc<Worker>, listening: &Rc<Listening>, stream: TcpStream, from: SocketAddr) {
    let settings = listening.settings();
    let client = Client::new(Rc::clone(worker), Rc::clone(listening), stream, from);
    if let Some(front) = &settings.tls {
        return drop(tokio::task::spawn_local(tls::accept::serve(client, Arc::clone(front))));
    }
    match settings.mode {
        Mode::Http => drop(tokio::task::spawn_local(http1::serve(client))),
        Mode::Tcp => drop(tokio::task::spawn_local(tcp::serve(client))),
    }
}
