//! Connections passed on to servers by the name that a TLS client asks for, without decrypting anything.
//!
//! Owns: waiting for the client's first message, and the choice of a pool. Leaves to others: reading the name
//! (`core/tls-hello`), and the tunnel (`tcp`). Invariant: a server gets every byte that the client sent, the first
//! message included, and none that it did not.

use std::{collections::HashMap, rc::Rc};

use evenkeel_config::balancer::{Listener, SniName, UnknownName};
use evenkeel_tls_hello::{Look, look};

use crate::{
    client::Client,
    net::{
        scratch,
        socket::Read,
        sweep::{Expired, Phase},
    },
    pool::{PoolState, deadline},
    tls::handshake::{Reason, Unshaken},
};

/// Pools by name, as one worker sees them.
pub(crate) struct Passing {
    exact: HashMap<String, Rc<PoolState>>,
    /// By what follows `*.`.
    below: HashMap<String, Rc<PoolState>>,
    otherwise: UnknownName,
}

impl Passing {
    /// The rules of a listener, when it has some.
    pub(crate) fn new(listener: &Listener, pools: &[Rc<PoolState>]) -> Option<Self> {
        let mut passing =
            Self { exact: HashMap::new(), below: HashMap::new(), otherwise: listener.sni_otherwise };
        for rule in &listener.sni {
            let pool = &pools[rule.pool.position()];
            for name in &rule.names {
                let (names, name) = match name {
                    SniName::Exact(name) => (&mut passing.exact, name),
                    SniName::Below(name) => (&mut passing.below, name),
                };
                names.insert(name.as_str().to_owned(), Rc::clone(pool));
            }
        }
        (!listener.sni.is_empty()).then_some(passing)
    }

    /// The pool for a name: its own rule before that for the nearest name above it.
    fn named(&self, name: &str) -> Option<&Rc<PoolState>> {
        let above = || {
            let parents = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
            parents.filter_map(|parent| self.below.get(parent)).next()
        };
        self.exact.get(name).or_else(above)
    }

    /// The pool for a client, after its first message is there; what came is in its carry.
    ///
    /// # Errors
    /// Why it is not served.
    pub(crate) async fn choose(
        &self,
        client: &mut Client,
        otherwise: &Rc<PoolState>,
    ) -> Result<Rc<PoolState>, Unshaken> {
        let settings = client.listening.settings();
        client.watch.set(Phase::Busy, deadline(client.worker.clock.now(), settings.deadlines.tls_handshake));
        let name = loop {
            match look(&client.carry) {
                Ok(Look::Partial) => receive(client).await?,
                Ok(Look::Hello(hello)) => break Ok(hello.server_name),
                Err(error) => break Err(error),
            }
        };
        let pool = name.as_ref().ok().and_then(Option::as_deref).and_then(|name| self.named(name));
        match (pool, self.otherwise, name) {
            (Some(pool), _, _) => Ok(Rc::clone(pool)),
            (None, UnknownName::Default, _) => Ok(Rc::clone(otherwise)),
            (None, UnknownName::Refuse, Ok(name)) => {
                let words = format!("no rule is for the name {}", name.as_deref().unwrap_or("(none)"));
                Err(Unshaken { reason: Reason::UnknownName, words })
            }
            (None, UnknownName::Refuse, Err(error)) => {
                Err(Unshaken { reason: Reason::Malformed, words: error.to_string() })
            }
        }
    }
}

/// Waits for more of a client's first message.
async fn receive(client: &mut Client) -> Result<(), Unshaken> {
    if let Err(Expired) = client.socket.readable(&client.watch).await {
        let words = "the client did not say in time which name it asks for".to_owned();
        return Err(Unshaken { reason: Reason::Timeout, words });
    }
    scratch::with(|scratch| match client.socket.read(&mut scratch.input) {
        Ok(Read::Bytes(length)) => {
            client.carry.extend_from_slice(&scratch.input[..length]);
            Ok(())
        }
        Ok(Read::Wait) => Ok(()),
        Ok(Read::End) | Err(_) => {
            let words = "the connection ended before the client asked for a name".to_owned();
            Err(Unshaken { reason: Reason::Closed, words })
        }
    })
}
