//! Small value types that carry their unit, shared by every other crate.
//!
//! Owns: instants, calendar time, byte counts, fractions, versions, digests, identities, slots and short
//! names. Leaves to others: reading a clock or drawing an identity, for core crates take both as arguments
//! (I10).
#![no_std]

extern crate alloc;

/// Implements serde by way of `Display` and `FromStr`, so that text has one form everywhere.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = alloc::string::String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

mod digest;
mod identity;
mod label;
mod quantity;
mod time;
mod version;

pub use digest::{Digest, DigestError, Hasher};
pub use identity::{DeviceId, DeviceIdError, Slot};
pub use label::{Label, LabelError};
pub use quantity::{ByteCount, PerMille, PerMilleError};
pub use time::{Instant, WallTime, WallTimeError};
pub use version::{Version, VersionError};
