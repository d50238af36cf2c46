//! TCP mode: one connection to a server for each of a client's.
//!
//! Invariant: a connection is tried on another server only before a byte has passed.

use evenkeel_balance::{Outcome, Tried};

use crate::{client::Client, net::tunnel, pool::Reuse};

/// Carries a client's connection to a server until both have ended.
pub(crate) async fn serve(client: Client) {
    let settings = client.listening.settings();
    let mut tried = Tried::NONE;
    let found = Box::pin(settings.pool.obtain(None, &mut tried, &client.watch, Reuse::Fresh)).await;
    let Ok((lease, server)) = found else {
        client.socket.reset_on_close();
        return;
    };
    let idle = settings.deadlines.tunnel_idle;
    let ended = tunnel::run(&client.worker, (&client.socket, &server.socket), &client.watch, idle).await;
    let outcome = match ended {
        Ok(()) => Outcome::Served,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Outcome::ClientGone,
        Err(_) => {
            client.socket.reset_on_close();
            server.socket.reset_on_close();
            // Which side failed cannot be told from here, so nobody is blamed.
            Outcome::ClientGone
        }
    };
    lease.end(client.worker.clock.now(), outcome, None);
}
