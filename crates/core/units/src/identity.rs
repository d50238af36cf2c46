//! Who and where: device identities and the two slots of a box.

use alloc::string::String;
use core::{fmt, str::FromStr};

use crate::Digest;

/// A device: the first 16 bytes of the SHA-256 of its Ed25519 public key, as 32 hexadecimal digits.
///
/// Derived from the key, so enrolling twice with one key names the same device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 16]);

impl DeviceId {
    /// The identity that belongs to a public key of 32 bytes.
    #[must_use]
    pub fn of_public_key(public_key: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(public_key).as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

/// Why a text is not a device identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a device identity; expected 32 lowercase hexadecimal digits")]
pub struct DeviceIdError {
    got: String,
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let refuse = || DeviceIdError { got: text.chars().take(80).collect() };
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(refuse());
        }
        let mut id = [0; 16];
        for (index, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Self(id))
    }
}

serde_as_text!(DeviceId);

/// One of the two places for a release on a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first slot.
    A,
    /// The second slot.
    B,
}

impl Slot {
    /// Both slots, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The slot that this one is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_device_identity_reads_back_what_it_wrote() {
        let id = DeviceId::of_public_key(&[7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("+1".repeat(16).parse::<DeviceId>().is_err());
    }

    #[test]
    fn the_other_slot_of_the_other_slot_is_the_slot() {
        for slot in Slot::BOTH {
            assert_ne!(slot, slot.other());
            assert_eq!(slot, slot.other().other());
        }
    }
}
