//! What of a request leads it to a server: a hash of one of its properties, or the server that it names.
//!
//! Owns: the hash, which is the same on every worker, box and release, so that a pair of boxes agrees. Leaves to
//! others: which property is hashed. Invariant: a key is a wish; limits, health and earlier tries go before it.

use crate::{ServerIndex, random};

/// A hash of the property of a request that leads it to a server.
///
/// Nothing secret is in it: who chooses what is hashed can choose the server, which the bound on a server's load
/// makes harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of `bytes`: each eight folded in by a multiplication to 128 bits, then mixed.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut state = 0x2D35_8DCC_AA6C_78A5 ^ bytes.len() as u64;
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state = fold(state, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        Self(random::mix(fold(state, u64::from_le_bytes(last))))
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

const fn fold(state: u64, word: u64) -> u64 {
    let product = (state ^ word) as u128 * 0x9E37_79B9_7F4A_7C15_u128;
    (product as u64 ^ (product >> 64) as u64).wrapping_add(word.rotate_left(32))
}

/// What of a request leads it to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    hash: Option<KeyHash>,
    wanted: Option<ServerIndex>,
}

impl Key {
    /// Nothing does.
    pub const NONE: Self = Self { hash: None, wanted: None };

    /// The same with a hash for a pool that chooses by it.
    #[must_use]
    pub const fn hashed(self, hash: KeyHash) -> Self {
        Self { hash: Some(hash), ..self }
    }

    /// The same with the server that the request names, as by a cookie that it was given there.
    #[must_use]
    pub const fn wanting(self, server: ServerIndex) -> Self {
        Self { wanted: Some(server), ..self }
    }

    /// The same for a pool in which servers have other places; the server that is named is forgotten where it has none.
    #[must_use]
    pub fn moved(self, place: impl FnOnce(ServerIndex) -> Option<ServerIndex>) -> Self {
        Self { wanted: self.wanted.and_then(place), ..self }
    }

    /// The hash, where there is one.
    #[must_use]
    pub const fn hash(&self) -> Option<KeyHash> {
        self.hash
    }

    /// The server that the request names.
    #[must_use]
    pub const fn wanted(&self) -> Option<ServerIndex> {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, format};

    use super::*;

    #[test]
    fn keys_that_differ_in_a_byte_or_in_length_have_hashes_far_apart() {
        let mut flipped = 0;
        for number in 0..1000u32 {
            let (one, other) = (format!("10.0.{number}.1"), format!("10.0.{number}.2"));
            flipped += (KeyHash::of(one.as_bytes()).0 ^ KeyHash::of(other.as_bytes()).0).count_ones();
        }
        assert!((31_000..33_000).contains(&flipped), "{flipped} of 64,000 bits");
        let lengths: BTreeSet<_> = (0..64).map(|length| KeyHash::of(&[0; 64][..length]).0).collect();
        assert_eq!(lengths.len(), 64);
    }

    #[test]
    fn a_hash_is_the_same_on_every_box_and_release() {
        assert_eq!(KeyHash::of(b"192.0.2.7").0, 4_326_075_623_066_306_414);
    }

    #[test]
    fn hashes_of_a_hundred_thousand_keys_collide_as_seldom_as_chance_says() {
        let hashes: BTreeSet<_> =
            (0..100_000u32).map(|n| KeyHash::of(format!("/course/{n}/page").as_bytes()).0).collect();
        assert_eq!(hashes.len(), 100_000);
    }
}
