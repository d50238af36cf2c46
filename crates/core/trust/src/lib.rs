//! TUF metadata (The Update Framework, specification 1.0.33): verified on the way in, signed on the way out.
//!
//! Owns: the four top-level roles, canonical JSON, key identities, thresholds, expiry, and the order in which
//! a client asks for files. Leaves to others: moving bytes ([`Refresh`] says which), storing them ([`Kept`]
//! is what to store), the clock and entropy (both are arguments, I10), what a target's `custom` means.
//!
//! The invariant: a [`Verified`] value exists only if a threshold of the keys that its delegator names signed
//! exactly those bytes, and a [`Current`] value only if the whole chain from the trusted root was accepted,
//! none of it expired and none of it older than what was trusted before (I5).
#![no_std]

extern crate alloc;

mod draft;
mod envelope;
mod error;
mod fields;
mod json;
mod key;
mod name;
mod online;
mod refresh;
mod role;
mod signer;
mod trusted;

pub mod limits;

pub use draft::Draft;
pub use envelope::Verified;
pub use error::TrustError;
pub use json::{Object, Value};
pub use key::{KeyId, PublicKey};
pub use name::{TargetName, TargetNameError};
pub use online::OnlineKeys;
pub use refresh::{Current, Refresh, Request, Step};
pub use role::{FileMeta, Header, Role, RoleKeys, RoleName, Root, Snapshot, TargetFile, Targets, Timestamp};
pub use signer::{KeyFile, KeyFileError, SigningKey};
pub use trusted::{Kept, TrustedSet, VerifiedTarget};
