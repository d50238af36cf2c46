//! A map from bytes that is built once and then only read.
//!
//! Owns: a hash that can be carried along while a text is walked, so that all its beginnings are looked up in one pass.
//! Invariant: keys come from a configuration only, so nobody outside can make them collide, and a look-up compares a
//! key only when its whole hash agrees.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

/// The hash of the bytes so far (FNV-1a, 64 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    /// Of no bytes.
    pub(crate) const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// With one more byte.
    pub(crate) const fn and(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        bytes.iter().fold(Self::EMPTY, |hash, &byte| hash.and(byte))
    }

    /// Well-mixed bits of it.
    pub(crate) const fn mixed(self) -> u64 {
        let hash = (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ hash >> 29
    }
}

/// A map from bytes that is only read.
#[derive(Debug, Clone)]
pub(crate) struct Frozen<V> {
    entries: Vec<(Hash, Box<[u8]>, V)>,
    /// Twice as many as entries or more, a power of two; the number of an entry and 1, or 0.
    slots: Box<[u32]>,
}

impl<V> Default for Frozen<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), slots: Box::default() }
    }
}

impl<V> Frozen<V> {
    /// Keeps the order of the keys, so that entry numbers are in it.
    pub(crate) fn new(map: BTreeMap<Box<[u8]>, V>) -> Self {
        if map.is_empty() {
            return Self::default();
        }
        let entries: Vec<_> = map.into_iter().map(|(key, value)| (Hash::of(&key), key, value)).collect();
        let mut slots = alloc::vec![0; (2 * entries.len()).next_power_of_two()].into_boxed_slice();
        for (index, (hash, ..)) in entries.iter().enumerate() {
            let mut at = place(*hash, slots.len());
            while slots[at] != 0 {
                at = (at + 1) % slots.len();
            }
            slots[at] =
                u32::try_from(index + 1).expect("a configuration is limited to a few thousand routes");
        }
        Self { entries, slots }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the entry for `key`, whose hash is known.
    pub(crate) fn position(&self, hash: Hash, key: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = place(hash, self.slots.len());
        loop {
            let index = self.slots[at].checked_sub(1)?;
            let (known, text, _) = &self.entries[index as usize];
            if *known == hash && **text == *key {
                return Some(index);
            }
            at = (at + 1) % self.slots.len();
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        if self.slots.is_empty() {
            return None;
        }
        self.position(Hash::of(key), key).map(|index| self.value(index))
    }

    pub(crate) fn key(&self, index: u32) -> &[u8] {
        &self.entries[index as usize].1
    }

    pub(crate) fn value(&self, index: u32) -> &V {
        &self.entries[index as usize].2
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut V)> {
        self.entries.iter_mut().map(|(_, key, value)| (&**key, value))
    }
}

fn place(hash: Hash, slots: usize) -> usize {
    // Truncation keeps the low bits, which are all that is used.
    #[expect(clippy::cast_possible_truncation, reason = "only the low bits matter")]
    let low = hash.mixed() as usize;
    low & (slots - 1)
}
