//! Metadata in the making: what is to be signed, and who has signed so far.
//!
//! Owns: the bytes of metadata files. Leaves to others: which keys have to sign; [`Verified`] judges that for
//! makers as it does for readers.
//!
//! [`Verified`]: crate::Verified

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    KeyId, Object, Role, RoleName, SigningKey, TrustError, Value, envelope::Envelope, key::hex, role,
};

/// Metadata with any number of signatures, also none.
///
/// Thresholds are reached by several hands: each reads the file, adds a signature, and passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    signed: Value,
    signatures: BTreeMap<KeyId, [u8; 64]>,
}

impl Draft {
    /// Unsigned metadata that says what `role` says.
    ///
    /// # Errors
    /// A name or text in it is not printable ASCII: canonical JSON writers disagree about others.
    pub fn new<T: Role>(role: &T) -> Result<Self, TrustError> {
        let signed = Value::Object(role::write(role));
        if !signed.is_plain() {
            return Err(TrustError::NotPlain { role: T::NAME });
        }
        Ok(Self { signed, signatures: BTreeMap::new() })
    }

    /// A file of metadata of `role`, to add signatures to; nothing about it is verified.
    ///
    /// # Errors
    /// Not a metadata file.
    pub fn read(role: RoleName, bytes: &[u8]) -> Result<Self, TrustError> {
        let Envelope { signed, signatures, .. } = Envelope::read(role, bytes)?;
        Ok(Self { signed, signatures })
    }

    /// What it says, unverified.
    ///
    /// # Errors
    /// Not metadata of `T`'s role.
    pub fn contents<T: Role>(&self) -> Result<T, TrustError> {
        role::read(&self.signed)
    }

    /// Adds this key's signature, in place of an earlier one of the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        self.signatures.insert(key.public().id(), key.sign(&self.signed.canonical()));
    }

    /// The keys that have signed.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.signatures.keys().copied()
    }

    /// The metadata file: JSON in ASCII, the same bytes for the same contents and signers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let signature = |(keyid, sig): (&KeyId, &[u8; 64])| {
            Value::Object(Object::from([
                ("keyid".into(), Value::Text(keyid.to_string())),
                ("sig".into(), Value::Text(hex(sig))),
            ]))
        };
        let signatures = Value::List(self.signatures.iter().map(signature).collect());
        let file: [(String, Value); 2] =
            [("signatures".into(), signatures), ("signed".into(), self.signed.clone())];
        Value::Object(Object::from(file)).text().into_bytes()
    }
}
