//! Amounts: bytes and fractions.

use core::fmt;

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// This many KiB (1,024 bytes).
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count * 1024)
    }

    /// This many MiB (1,048,576 bytes).
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }
}

impl fmt::Display for ByteCount {
    /// Bytes below 10 KiB, else KiB below 10 MiB, else MiB; rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 10 << 10 => write!(f, "{bytes} bytes"),
            bytes if bytes < 10 << 20 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{} MiB", bytes >> 20),
        }
    }
}

/// A fraction in thousandths, 0 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PerMille(u16);

/// A fraction above the whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} thousandths is more than the whole; expected 0 to 1000")]
pub struct PerMilleError(u16);

impl PerMille {
    /// The whole: 1,000 thousandths.
    pub const WHOLE: Self = Self(1000);

    /// A fraction of `thousandths`.
    ///
    /// # Errors
    /// Above 1,000.
    pub const fn new(thousandths: u16) -> Result<Self, PerMilleError> {
        if thousandths <= 1000 { Ok(Self(thousandths)) } else { Err(PerMilleError(thousandths)) }
    }

    /// This fraction of `count`, rounded up, so that a fraction above 0 of anything is at least 1.
    #[must_use]
    pub const fn of(self, count: u64) -> u64 {
        ((count as u128 * self.0 as u128).div_ceil(1000)) as u64
    }
}

impl TryFrom<u16> for PerMille {
    type Error = PerMilleError;

    fn try_from(thousandths: u16) -> Result<Self, PerMilleError> {
        Self::new(thousandths)
    }
}

impl From<PerMille> for u16 {
    fn from(fraction: PerMille) -> Self {
        fraction.0
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn byte_counts_are_shown_in_the_unit_that_keeps_two_digits() {
        for (bytes, shown) in
            [(0, "0 bytes"), (10_239, "10239 bytes"), (10_240, "10 KiB"), (107 << 20, "107 MiB")]
        {
            assert_eq!(ByteCount(bytes).to_string(), shown);
        }
    }

    #[test]
    fn a_fraction_rounds_up_and_never_exceeds_the_whole() {
        assert_eq!(PerMille::new(1).map(|f| f.of(3)), Ok(1));
        assert_eq!(PerMille::WHOLE.of(u64::MAX), u64::MAX);
        assert!(PerMille::new(1001).is_err());
    }
}
