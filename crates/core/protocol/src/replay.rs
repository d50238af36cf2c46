//! The memory of nonces, so that a signed request is accepted once.
//!
//! Invariant: a request is accepted at most once. A nonce is remembered for as long as its signature could be
//! accepted again, which bounds the memory by time, and a limit bounds it by number.

use alloc::collections::{BTreeMap, BTreeSet};

use evenkeel_units::{DeviceId, WallTime};

use crate::{Authentic, Nonce, SIGNATURE_WINDOW};

/// Nonces that were seen and whose signatures are still young enough to be accepted.
#[derive(Debug, Default)]
pub struct SeenNonces {
    by_time: BTreeMap<WallTime, BTreeSet<(DeviceId, Nonce)>>,
    count: usize,
}

/// Why a request is not taken although its signature is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Replayed {
    /// The very same request came before.
    #[error("device {0} has sent this signed request before; sign each request anew with its own nonce")]
    Seen(DeviceId),
    /// More requests came than can be remembered.
    #[error("more than 1000000 signed requests came within ten minutes; try again later")]
    Full,
}

impl SeenNonces {
    /// Most nonces that are remembered: 1,500 requests a second over the 600 s that a signature is acceptable,
    /// 100 bytes each, 100 MB at worst.
    pub const LIMIT: usize = 1_000_000;

    /// Takes a request in, once.
    ///
    /// # Errors
    /// When it was taken in before, or the memory is full.
    pub fn admit(&mut self, request: &Authentic, now: WallTime) -> Result<(), Replayed> {
        self.forget_what_is_stale(now);
        if self.count >= Self::LIMIT {
            return Err(Replayed::Full);
        }
        let entry = (request.device(), request.nonce());
        if !self.by_time.entry(request.created()).or_default().insert(entry) {
            return Err(Replayed::Seen(request.device()));
        }
        self.count += 1;
        Ok(())
    }

    /// Remembers a nonce from an earlier life of the server.
    pub fn recall(&mut self, device: DeviceId, nonce: Nonce, created: WallTime) {
        if self.count < Self::LIMIT && self.by_time.entry(created).or_default().insert((device, nonce)) {
            self.count += 1;
        }
    }

    /// Everything that is remembered, oldest first, to be recalled in a later life.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, Nonce, WallTime)> + '_ {
        let all = self.by_time.iter();
        all.flat_map(|(created, seen)| seen.iter().map(|(device, nonce)| (*device, *nonce, *created)))
    }

    fn forget_what_is_stale(&mut self, now: WallTime) {
        while let Some(oldest) = self.by_time.first_entry() {
            if now.since(*oldest.key()) <= SIGNATURE_WINDOW {
                return;
            }
            self.count -= oldest.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::{Claim, PublicKey, SignedRequest, sign};

    const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);

    fn authentic(nonce: u8, created: WallTime) -> Authentic {
        let key = SigningKey::from_bytes(&[7; 32]);
        let headers = sign(&key, "POST", "/", b"", created, Nonce([nonce; 16]));
        let request = SignedRequest {
            method: "POST",
            path: "/",
            content_digest: &headers.content_digest,
            signature_input: &headers.signature_input,
            signature: &headers.signature,
        };
        Claim::read(request).unwrap().verify(&PublicKey::from(&key), b"", created).unwrap()
    }

    #[test]
    fn a_request_is_taken_once_for_as_long_as_its_signature_could_be_accepted() {
        let mut seen = SeenNonces::default();
        let ahead = NOW + SIGNATURE_WINDOW;
        let request = authentic(1, ahead);
        assert_eq!(seen.admit(&request, NOW), Ok(()));
        for later in [0, 1, 300, 600] {
            let now = NOW + Duration::from_secs(later);
            assert_eq!(seen.admit(&request, now), Err(Replayed::Seen(request.device())), "{later}");
        }
        assert_eq!(seen.admit(&authentic(2, ahead), NOW), Ok(()));
    }

    #[test]
    fn what_is_too_old_to_be_accepted_is_forgotten() {
        let mut seen = SeenNonces::default();
        assert_eq!(seen.admit(&authentic(1, NOW), NOW), Ok(()));
        let later = NOW + Duration::from_secs(301);
        assert_eq!(seen.admit(&authentic(2, later), later), Ok(()));
        assert_eq!(seen.count, 1);
    }

    #[test]
    fn a_nonce_recalled_from_an_earlier_life_is_refused() {
        let mut seen = SeenNonces::default();
        let request = authentic(1, NOW);
        seen.recall(request.device(), request.nonce(), request.created());
        assert_eq!(seen.admit(&request, NOW), Err(Replayed::Seen(request.device())));
    }
}
