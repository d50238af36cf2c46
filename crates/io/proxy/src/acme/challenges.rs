//! What an authority finds that asks whether a name is ours.
//!
//! Owns: answers by token (RFC 8555 §8.3) and certificates by name (RFC 8737 §3), while an order is under way. Leaves to
//! others: asking for them. Invariant: nothing is answered but what an order of this process is waiting for.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use evenkeel_http1::{Method, RequestHead};
use rustls::sign::CertifiedKey;

use crate::client::Client;

/// Where an authority asks for an answer (RFC 8555 §8.3).
const HTTP_PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// The protocol that an authority asks for in its handshake (RFC 8737 §6.2).
pub(crate) const ALPN: &[u8] = b"acme-tls/1";

/// Answers for one listener's orders.
#[derive(Default)]
pub(crate) struct Challenges {
    answers: RwLock<HashMap<String, String>>,
    certificates: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Challenges {
    /// From now on `token` is answered.
    pub(super) fn answer(&self, token: &str, key_authorization: &str) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), key_authorization.to_owned());
    }

    /// From now on who asks for `name` by the protocol is shown this.
    pub(super) fn show(&self, name: &str, certificate: Arc<CertifiedKey>) {
        let mut certificates = self.certificates.write().unwrap_or_else(PoisonError::into_inner);
        certificates.insert(name.to_owned(), certificate);
    }

    /// The order is over.
    pub(super) fn clear(&self) {
        self.answers.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.certificates.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The answer to a request for `path`.
    fn answer_to(&self, path: &[u8]) -> Option<String> {
        let token = std::str::from_utf8(path.strip_prefix(HTTP_PREFIX)?).ok()?;
        self.answers.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The certificate for `name`.
    pub(crate) fn certificate_for(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }
}

/// Answers a request that an authority makes, if it is one; the connection ends then.
pub(crate) fn answered(client: &Client, head: &RequestHead, bytes: &[u8]) -> bool {
    let settings = client.listening.settings();
    if settings.challenges.is_empty() || head.method != Method::Get {
        return false;
    }
    let path = head.target.of(bytes);
    let Some(answer) = settings.challenges.iter().find_map(|known| known.answer_to(path)) else {
        return false;
    };
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    client.listening.tally().answered(200);
    // An authority that takes nothing asks again.
    let _ = client.socket.write(text.as_bytes());
    client.socket.shut_write();
    true
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}
