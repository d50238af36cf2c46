//! TCP mode: one connection to a server for each of a client's.
//!
//! Invariant: a connection is tried on another server only before a byte has passed.

use std::rc::Rc;

use evenkeel_balance::{Failure, Outcome, Tried};

use crate::{client::Client, http1::transfer, net::tunnel, pool::Reuse};

/// Carries a client's connection to a server until both have ended.
pub(crate) async fn serve(mut client: Client) {
    let settings = client.listening.settings();
    let mut pool = Rc::clone(&settings.pool);
    if let Some(passing) = &settings.passing {
        match Box::pin(passing.choose(&mut client, &pool)).await {
            Ok(chosen) => pool = chosen,
            Err(unshaken) => {
                client.listening.tally().unshaken(unshaken.reason);
                tracing::debug!(listener = client.listening.name(), "not passed on: {}", unshaken.words);
                return;
            }
        }
    }
    let mut tried = Tried::NONE;
    let key = pool.source_key(client.ip());
    let found = Box::pin(pool.obtain(None, (&mut tried, key), &client.watch, Reuse::Fresh)).await;
    let Ok((lease, server)) = found else {
        client.socket.reset_on_close();
        return;
    };
    let idle = settings.deadlines.tunnel_idle;
    let carried = std::mem::take(&mut client.carry);
    let to = (&server.socket, &*client.watch);
    if transfer::write_all(&client.worker, to, &carried, settings.deadlines.server_body_idle).await.is_err() {
        client.socket.reset_on_close();
        return lease.end(client.worker.clock.now(), Outcome::Failed(Failure::Closed), None);
    }
    drop(carried);
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
