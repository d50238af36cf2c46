//! Session tickets: what a client keeps so that its next handshake is cheap (RFC 8446 §4.6.1, RFC 5077).
//!
//! Owns: the keys that seal tickets, shared by all workers, and when they change. Leaves to others: what a ticket says
//! (rustls). Invariants: a key seals for one rotation and opens for one more, then it is gone; keys are made here and
//! never leave the process.

use std::{
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use rustls::server::ProducesTickets;

/// Bytes by which a key is told from others, in front of each ticket.
const NAME_BYTES: usize = 8;

/// A key for tickets. AES-GCM-SIV, for which a nonce that happens to come twice does no harm (RFC 8452).
struct Key {
    name: [u8; NAME_BYTES],
    sealing: RandomizedNonceKey,
}

impl Key {
    fn new() -> Option<Self> {
        let (mut name, mut secret) = ([0; NAME_BYTES], [0; 32]);
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        let sealing = RandomizedNonceKey::new(&AES_256_GCM_SIV, &secret).ok()?;
        Some(Self { name, sealing })
    }

    fn seal(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = message.to_vec();
        let nonce = self.sealing.seal_in_place_append_tag(Aad::from(&self.name), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let sealed = ticket.strip_prefix(&self.name)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let mut message = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.sealing.open_in_place(nonce, Aad::from(&self.name), &mut message).ok()?.len();
        message.truncate(length);
        Some(message)
    }
}

/// The keys of now.
struct Keys {
    current: Key,
    previous: Option<Key>,
    /// Seconds since 1970 at which `current` becomes `previous`.
    until: u64,
}

/// Tickets of one listener.
pub(crate) struct Tickets {
    rotation: Duration,
    keys: RwLock<Keys>,
}

impl Tickets {
    /// Tickets whose key changes each `rotation`; `None` when the system gives no random bytes.
    pub(crate) fn new(rotation: Duration) -> Option<Self> {
        let until = now().saturating_add(rotation.as_secs());
        let keys = Keys { current: Key::new()?, previous: None, until };
        Some(Self { rotation, keys: RwLock::new(keys) })
    }

    /// How long a key seals.
    pub(crate) const fn rotation(&self) -> Duration {
        self.rotation
    }

    /// Changes keys when it is time; a key that seals nobody's tickets any more is dropped as well.
    pub(crate) fn rotate(&self, now: u64) {
        if now < self.keys.read().unwrap_or_else(PoisonError::into_inner).until {
            return;
        }
        let Some(new) = Key::new() else { return };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if now >= keys.until {
            let rotation = self.rotation.as_secs();
            let old = std::mem::replace(&mut keys.current, new);
            // After a silence of two rotations the old key has had its time as well.
            keys.previous = (now < keys.until.saturating_add(rotation)).then_some(old);
            keys.until = now.saturating_add(rotation);
        }
    }

    fn seal_at(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        self.rotate(now);
        self.keys.read().unwrap_or_else(PoisonError::into_inner).current.seal(message)
    }

    fn open_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        self.rotate(now);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.current
            .open(ticket)
            .or_else(|| keys.previous.as_ref().and_then(|previous| previous.open(ticket)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.rotation.as_secs().saturating_mul(2)).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(plain, now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open_at(cipher, now())
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}

/// Seconds since 1970, as far as this machine knows.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_the_rotation_in_which_it_was_made_and_the_next() {
        let tickets = Tickets::new(Duration::from_secs(100)).unwrap();
        let began = tickets.keys.read().unwrap().until - 100;
        let ticket = tickets.seal_at(b"session", began + 99).unwrap();
        assert_eq!(tickets.open_at(&ticket, began + 99).as_deref(), Some(&b"session"[..]));
        assert_eq!(
            tickets.open_at(&ticket, began + 100).as_deref(),
            Some(&b"session"[..]),
            "one rotation later"
        );
        assert_eq!(tickets.open_at(&ticket, began + 199).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets.open_at(&ticket, began + 200), None, "two rotations later");
    }

    #[test]
    fn keys_that_nobody_used_for_two_rotations_open_nothing() {
        let tickets = Tickets::new(Duration::from_secs(100)).unwrap();
        let began = tickets.keys.read().unwrap().until - 100;
        let ticket = tickets.seal_at(b"session", began).unwrap();
        assert_eq!(tickets.open_at(&ticket, began + 200), None);
    }

    #[test]
    fn a_ticket_that_was_changed_or_made_elsewhere_opens_nothing() {
        let (tickets, others) = (
            Tickets::new(Duration::from_secs(100)).unwrap(),
            Tickets::new(Duration::from_secs(100)).unwrap(),
        );
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(others.decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at} bytes of it");
        }
    }
}
