//! Numbers that look like chance and follow from a seed.
//!
//! Owns: the sequence (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)
//! and its mixing function. Leaves to others: where a seed comes from. Invariant: the same seed gives the same
//! numbers, so that whatever happens in a simulation can be replayed.

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }
}

/// Spreads each bit of `number` over all bits; different numbers stay different.
pub(crate) const fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The number from 0 to `count` - 1 in whose part of all numbers `random` lies (Lemire 2019, without rejection:
/// the bias is below `count` / 2^64).
pub(crate) const fn below(random: u64, count: u64) -> u64 {
    ((random as u128 * count as u128) >> 64) as u64
}
