//! Public keys and their identities.
//!
//! Owns: TUF key objects (1.0.33 §4.2). A key of a type this crate does not verify keeps its place, so that
//! metadata with such keys can be read, and never counts towards a threshold.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use ed25519_dalek::{Signature, VerifyingKey};
use evenkeel_units::Digest;

use crate::{Object, TrustError, Value, fields::Fields};

/// The identity of a key: SHA-256 of its canonical key object, 64 hexadecimal digits (TUF 1.0.33 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = evenkeel_units::DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A public key as metadata lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    object: Object,
    id: KeyId,
    verifier: Option<VerifyingKey>,
}

impl PublicKey {
    /// An Ed25519 public key (RFC 8032 §5.1.5) of 32 bytes.
    ///
    /// # Errors
    /// `None` if the bytes are not a point of the curve, or one of small order, under which forgeries are easy.
    #[must_use]
    pub fn ed25519(bytes: &[u8; 32]) -> Option<Self> {
        let verifier = usable(bytes)?;
        let keyval = Object::from([("public".into(), Value::Text(hex(bytes)))]);
        let object = Object::from([
            ("keytype".into(), "ed25519".into()),
            ("scheme".into(), "ed25519".into()),
            ("keyval".into(), keyval.into()),
        ]);
        Some(Self { id: id_of(&object), object, verifier: Some(verifier) })
    }

    /// Reads a key object; the identity is computed, never taken from elsewhere.
    ///
    /// # Errors
    /// Not a key object, or an Ed25519 key that is none.
    pub fn from_value(value: &Value) -> Result<Self, TrustError> {
        Self::read(&Fields::of(crate::RoleName::Root, "key", value)?)
    }

    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, TrustError> {
        let (keytype, scheme) = (fields.text("keytype")?, fields.text("scheme")?);
        let keyval = fields.object("keyval")?;
        let verifier = if (keytype, scheme) == ("ed25519", "ed25519") {
            let expected = "an Ed25519 public key of 64 hexadecimal digits";
            let bytes = keyval.parsed::<Digest>("public", expected)?;
            Some(usable(bytes.as_bytes()).ok_or_else(|| keyval.refuse("public", expected))?)
        } else {
            None
        };
        let object = fields.whole().clone();
        Ok(Self { id: id_of(&object), object, verifier })
    }

    /// SHA-256 of the canonical key object.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key object, to be written into metadata.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.object.clone().into()
    }

    /// The 32 bytes of an Ed25519 key; `None` for a key of another type.
    #[must_use]
    pub fn ed25519_bytes(&self) -> Option<[u8; 32]> {
        self.verifier.as_ref().map(VerifyingKey::to_bytes)
    }

    /// Whether `signature` is this key's over `message`; the strict check, which two libraries never judge
    /// differently (RFC 8032 §5.1.7, without cofactor).
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.verifier.as_ref().is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

fn usable(bytes: &[u8; 32]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak())
}

fn id_of(object: &Object) -> KeyId {
    KeyId(Digest::of(&Value::Object(object.clone()).canonical()))
}

/// Bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |out, byte| out + &format!("{byte:02x}"))
}

/// Lowercase hexadecimal digits, their one form here, as exactly `N` bytes.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_the_hash_of_the_canonical_key_object() {
        // Public key of RFC 8032 §7.1, test 1.
        let bytes =
            unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").expect("32 bytes");
        let key = PublicKey::ed25519(&bytes).expect("a point of the curve");
        let canonical = br#"{"keytype":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},"scheme":"ed25519"}"#;
        assert_eq!(key.id(), KeyId(Digest::of(canonical)));
        assert_eq!(PublicKey::from_value(&key.to_value()), Ok(key));
    }

    #[test]
    fn a_point_of_small_order_is_no_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::ed25519(&identity), None);
    }

    #[test]
    fn a_key_of_another_type_is_kept_and_verifies_nothing() {
        let text = br#"{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp256","keyval":{"public":"x"}}"#;
        let key =
            Value::parse(text).map(|value| PublicKey::from_value(&value)).expect("JSON").expect("a key");
        assert_eq!(key.ed25519_bytes(), None);
        assert!(!key.verifies(b"", &[0; 64]));
    }
}
