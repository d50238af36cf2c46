//! A client of a listener that speaks TLS, from its connection to what is spoken inside.
//!
//! Owns: counting handshakes, and a short answer to who speaks HTTP without TLS. Leaves to others: the handshake itself.
//! Invariant: nothing that a client said in the clear reaches a server.

use std::sync::Arc;

use evenkeel_config::balancer::Mode;

use crate::{
    acme::challenges::ALPN,
    client::Client,
    http1, http2,
    net::{
        scratch,
        socket::Read,
        sweep::{Expired, Phase},
    },
    pool::deadline,
    tcp,
    tls::{
        front::{Front, HTTP2},
        handshake::{self, Reason, Unshaken},
        identity,
    },
};

/// What who speaks HTTP where TLS is spoken is told; the scheme of its link is wrong.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 54\r\nConnection: close\r\n\r\n400 Bad Request: this port speaks HTTPS, not HTTP.\r\n\r\n";

/// Most pieces that are read and thrown away after that answer: a request that is worth an answer fits into them.
const PIECES_THROWN: usize = 4;

/// Shakes hands with a client and serves it.
pub(crate) async fn serve(mut client: Client, front: Arc<Front>) {
    let settings = client.listening.settings();
    client.watch.set(Phase::Busy, deadline(client.worker.clock.now(), settings.deadlines.tls_handshake));
    let shaken = match front.begin() {
        Ok(side) => {
            let turnstile = Some(&client.worker.turnstile);
            Box::pin(handshake::shake(&mut client.socket, side, &client.watch, turnstile)).await
        }
        Err(error) => Err(Unshaken { reason: Reason::Ours, words: error.to_string() }),
    };
    if let Err(unshaken) = shaken {
        return refuse(&client, &unshaken).await;
    }
    if client.socket.session().is_some_and(|session| session.common().alpn_protocol() == Some(ALPN)) {
        // An authority has seen what it wanted to see (RFC 8737 §4).
        return;
    }
    if front.asks_for_certificates()
        && let Some(mut session) = client.socket.session()
    {
        let shown = session.common().peer_certificates().and_then(|chain| chain.first());
        session.told = identity::lines(shown);
    }
    if !settings.tells_names
        && let Some(mut session) = client.socket.session()
    {
        session.asked_name = None;
    }
    let resumed = client.socket.session().is_some_and(|session| session.is_resumed());
    client.listening.tally().shaken(resumed);
    // A task of its own, so that the handshake's room is free as long as the client stays.
    let chosen_http2 =
        client.socket.session().is_some_and(|session| session.common().alpn_protocol() == Some(HTTP2));
    match settings.mode {
        Mode::Http if chosen_http2 => drop(tokio::task::spawn_local(http2::serve(client))),
        Mode::Http => drop(tokio::task::spawn_local(http1::begin(client))),
        Mode::Tcp | Mode::Udp => drop(tokio::task::spawn_local(tcp::serve(client))),
    }
}

async fn refuse(client: &Client, unshaken: &Unshaken) {
    client.listening.tally().unshaken(unshaken.reason);
    tracing::debug!(listener = client.listening.name(), "no TLS session: {}", unshaken.words);
    if unshaken.reason == Reason::PlainHttp && client.listening.settings().mode == Mode::Http {
        // What has no room at once is not worth a wait.
        let _ = client.socket.write(PLAIN_HTTP);
        client.socket.shut_write();
        for _ in 0..PIECES_THROWN {
            if let Err(Expired) = client.socket.readable(&client.watch).await {
                return;
            }
            match scratch::with(|scratch| client.socket.read(&mut scratch.input)) {
                Ok(Read::Bytes(_) | Read::Wait) => {}
                Ok(Read::End) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
