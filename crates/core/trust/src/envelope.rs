//! Signed metadata: who signed these bytes, and the proof that enough did.
//!
//! Owns: [`Verified`], which nothing outside this file can make. Signatures are judged over the canonical
//! form of the received `signed` value, unknown fields included, never over what was read out of it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Deref;

use evenkeel_units::WallTime;

use crate::{
    Header, KeyId, Role, RoleName, Root, Targets, Timestamp, TrustError, Value,
    error::Found,
    fields::Fields,
    key::unhex,
    limits,
    role::{self, Snapshot},
};

/// Metadata that a threshold of its role's keys signed; dereferences to what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    role: T,
    bytes: Vec<u8>,
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.role
    }
}

impl<T: Role> Verified<T> {
    /// The file as it was received, byte for byte: what to store and to serve.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Refuses what is expired at `now` (TUF 1.0.33 §5.3.10, §5.4.4, §5.5.6, §5.6.5).
    ///
    /// # Errors
    /// [`TrustError::Expired`] unless the expiry lies after `now`.
    pub fn check_unexpired(&self, now: WallTime) -> Result<(), TrustError> {
        let Header { version, expires } = self.role.header();
        if expires > now {
            Ok(())
        } else {
            Err(TrustError::Expired { role: T::NAME, version, expired: expires, now })
        }
    }
}

/// The roles that root delegates to.
pub trait Delegated: Role {}

impl Delegated for Timestamp {}
impl Delegated for Snapshot {}
impl Delegated for Targets {}

impl Verified<Root> {
    /// The root that trust starts from: it came with the image or by the operator's hand, and it is complete,
    /// that is signed by its own threshold (TUF 1.0.33 §5.2).
    ///
    /// # Errors
    /// Not root metadata, or not signed by its own keys.
    pub fn anchor(bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::read(RoleName::Root, bytes)?;
        let role: Root = role::read(&envelope.signed)?;
        envelope.check_threshold(role.header.version, &role, RoleName::Root)?;
        Ok(Self { role, bytes: bytes.to_vec() })
    }

    /// The root that follows this one: version + 1, signed by the thresholds of both (TUF 1.0.33 §5.3.4, §5.3.5).
    ///
    /// # Errors
    /// Not root metadata, too few signatures of either, or any other version.
    pub fn next(&self, bytes: &[u8]) -> Result<Self, TrustError> {
        let envelope = Envelope::read(RoleName::Root, bytes)?;
        let role: Root = role::read(&envelope.signed)?;
        // §5.3.4: the trusted root's keys first, so that nothing else of a forgery is judged.
        envelope.check_threshold(role.header.version, &self.role, RoleName::Root)?;
        envelope.check_threshold(role.header.version, &role, RoleName::Root)?;
        // §5.3.5: exactly the next version; with it any rollback of the root is refused.
        let (got, expected) = (role.header.version, self.header.version + 1);
        if got != expected {
            return Err(TrustError::RootVersion { got, expected });
        }
        Ok(Self { role, bytes: bytes.to_vec() })
    }

    /// Reads metadata of a role that this root names the keys of, and demands their threshold (TUF 1.0.33
    /// §5.4.2, §5.5.3, §5.6.3).
    ///
    /// # Errors
    /// Longer than the role may be, not such metadata, or too few valid signatures. Expiry and version are not
    /// judged here: [`crate::Refresh`] does that for a client.
    pub fn verify<T: Delegated>(&self, bytes: &[u8]) -> Result<Verified<T>, TrustError> {
        let envelope = Envelope::read(T::NAME, bytes)?;
        let role: T = role::read(&envelope.signed)?;
        envelope.check_threshold(role.header().version, &self.role, T::NAME)?;
        Ok(Verified { role, bytes: bytes.to_vec() })
    }

    /// Reads metadata that `list` lists as `meta`: length and hash first, then signatures, then the version.
    pub(crate) fn verify_listed<T: Delegated>(
        &self,
        bytes: &[u8],
        list: RoleName,
        meta: crate::FileMeta,
    ) -> Result<Verified<T>, TrustError> {
        meta.admits(list, &T::NAME.file(), bytes)?;
        let verified = self.verify::<T>(bytes)?;
        let got = verified.header().version;
        if got == meta.version {
            Ok(verified)
        } else {
            let (file, listed) = (T::NAME.file(), Found::Version(meta.version));
            Err(TrustError::Mismatch { file, list, got: Found::Version(got), listed })
        }
    }
}

/// A file of metadata, taken apart and not yet trusted.
pub(crate) struct Envelope {
    role: RoleName,
    /// By claimed key; the first of each counts. One that is no signature at all verifies nothing.
    pub(crate) signatures: BTreeMap<KeyId, [u8; 64]>,
    pub(crate) signed: Value,
}

impl Envelope {
    pub(crate) fn read(role: RoleName, bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() as u64 > role.limit().0 {
            return Err(TrustError::TooLong { role, limit: role.limit() });
        }
        let value = Value::parse(bytes).map_err(|reason| TrustError::Json { role, reason })?;
        let fields = Fields::of(role, "", &value)?;
        let listed = fields.list("signatures")?;
        if listed.len() > limits::SIGNATURES {
            return Err(fields.refuse("signatures", "at most 64 signatures"));
        }
        let mut signatures = BTreeMap::new();
        for signature in listed {
            let signature = Fields::of(role, "signatures", signature)?;
            let (keyid, sig) = (signature.text("keyid")?, signature.text("sig")?);
            if let (Ok(keyid), Some(sig)) = (keyid.parse(), unhex(sig)) {
                signatures.entry(keyid).or_insert(sig);
            }
        }
        let signed = fields.object("signed")?.whole().clone().into();
        Ok(Self { role, signatures, signed })
    }

    /// Counts distinct keys, not signatures and not identities, whose signature is valid (TUF 1.0.33 §5.3.4).
    fn check_threshold(&self, version: u64, root: &Root, role: RoleName) -> Result<(), TrustError> {
        let message = self.signed.canonical();
        let keys = root.role(role);
        let valid: BTreeSet<[u8; 32]> = keys
            .keys
            .iter()
            .filter_map(|id| Some((root.keys.get(id)?, self.signatures.get(id)?)))
            .filter(|(key, signature)| key.verifies(&message, signature))
            .filter_map(|(key, _)| key.ed25519_bytes())
            .collect();
        let threshold = usize::try_from(keys.threshold).unwrap_or(usize::MAX);
        if valid.len() >= threshold {
            return Ok(());
        }
        Err(TrustError::Threshold {
            role: self.role,
            version,
            valid: valid.len(),
            threshold,
            delegator: RoleName::Root,
            delegator_version: root.header.version,
        })
    }
}
