//! TCP mode: one connection to a server for each of a client's.
//!
//! Invariant: a connection is tried on another server only before a byte has passed.

use std::rc::Rc;

use evenkeel_balance::{Failure, Outcome};

use crate::{
    access_log::{DONE, Event},
    client::Client,
    http1::transfer,
    net::tunnel,
    pool::{Reuse, Tries},
    proxied::Announcement,
};

/// Carries a client's connection to a server until both have ended.
pub(crate) async fn serve(mut client: Client) {
    let settings = client.listening.settings();
    let began = client.worker.clock.now();
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
    let mut tries = Tries::NONE;
    let key = pool.source_key(client.from().ip());
    let announcement = pool.announces().map(|sent| Announcement::of(&client, sent, None));
    let reuse = announcement.as_ref().map_or(Reuse::Fresh, Reuse::Announced);
    let found = Box::pin(pool.obtain(None, (&mut tries, key), &client.watch, &reuse)).await;
    let (lease, server) = match found {
        Ok(found) => found,
        Err(unserved) => {
            client.socket.reset_on_close();
            let total = client.worker.clock.now().since(began);
            let story = tries.give_up(&pool, unserved);
            let (_, reason) = unserved.told();
            let event = Event::broken(None, &reason, total);
            let pool = Some(pool.shared.name.as_str());
            return client.log(&Event { pool, story: Some(&story), ..event });
        }
    };
    let idle = settings.deadlines.tunnel_idle;
    let carried = std::mem::take(&mut client.carry);
    let room = client.room(settings.deadlines.server_body_idle);
    if transfer::write_all(&server.socket, room, &carried).await.is_err() {
        client.socket.reset_on_close();
        let total = client.worker.clock.now().since(began);
        let event = Event::broken(None, "the server took nothing", total);
        client.log(&Event { server: Some(lease.name()), ..event });
        return lease.end(client.worker.clock.now(), Outcome::Failed(Failure::Closed), None);
    }
    let early = carried.len() as u64;
    drop(carried);
    let sockets = (&client.socket, &server.socket);
    let (ended, passed) = tunnel::run(&client.worker, sockets, &client.watch, idle).await;
    let (outcome, end) = match ended {
        Ok(()) => (Outcome::Served, DONE),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            (Outcome::ClientGone, "nothing came from either side for too long")
        }
        Err(_) => {
            client.socket.reset_on_close();
            server.socket.reset_on_close();
            // Which side failed cannot be told from here, so nobody is blamed.
            (Outcome::ClientGone, "the client or the server broke off")
        }
    };
    let now = client.worker.clock.now();
    client.log(&Event {
        server: Some(lease.name()),
        pool: Some(&pool.shared.name),
        received_bytes: passed.received + early,
        sent_bytes: passed.sent,
        tries: tries.tried.count().saturating_add(1),
        queued: server.waits.queued,
        connected: server.waits.connected,
        ..Event::broken(None, end, now.since(began))
    });
    // Its port may be what the next connection waits for.
    drop(server);
    lease.end(now, outcome, None);
}
