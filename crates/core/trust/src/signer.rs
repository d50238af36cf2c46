//! Signing keys and the files that hold them.
//!
//! Owns: Ed25519 signatures and the form of a key file. Leaves to others: drawing the seed, and the file's
//! permissions (0600). A seed is never shown by `Debug` and is wiped from memory when its key is dropped.

use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;

use ed25519_dalek::Signer;

use crate::{
    KeyId, Object, PublicKey, RoleName, Value,
    key::{hex, unhex},
};

/// An Ed25519 signing key (RFC 8032 §5.1.5).
#[derive(Clone)]
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key that belongs to a seed of 32 random bytes.
    ///
    /// # Panics
    /// Never: RFC 8032 §5.1.5 derives from any seed a point of the prime-order group.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::ed25519(secret.verifying_key().as_bytes());
        Self { secret, public: public.expect("a derived key is a point of large order") }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of `message`; always the same for the same message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// A signing key as a file: which role it signs for, and its seed.
///
/// JSON with `role`, `keyid`, `scheme`, `public` and `seed`. The seed stands in it unencrypted.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The role that it was made for.
    pub role: RoleName,
    /// The key.
    pub key: SigningKey,
}

/// Why a text is not a key file. The message never holds the seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not the JSON of a key file.
    #[error("this is no key file: {reason}; make one with `evenkeel key new`")]
    Form {
        /// What is wrong with it.
        reason: String,
    },
    /// The parts do not belong together.
    #[error(
        "the key file says that its key is {listed}, but the seed makes {computed}; it is damaged: restore it from a copy"
    )]
    Damaged {
        /// The identity in the file.
        listed: String,
        /// The identity of the seed's key.
        computed: KeyId,
    },
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// Not a key file, or one whose parts do not belong together.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        let form = |reason: &str| KeyFileError::Form { reason: reason.into() };
        let value = Value::parse(text).map_err(|reason| KeyFileError::Form { reason })?;
        let field = |name: &str| match value.as_object().and_then(|object| object.get(name)) {
            Some(Value::Text(text)) => Ok(text.as_str()),
            Some(_) | None => Err(KeyFileError::Form { reason: format!("`{name}` is missing or no string") }),
        };
        if field("scheme")? != "ed25519" {
            return Err(form("`scheme` is not `ed25519`, the only one there is"));
        }
        let role = field("role")?;
        let role = RoleName::ALL.into_iter().find(|name| name.as_str() == role);
        let role = role.ok_or_else(|| form("`role` is not root, timestamp, snapshot or targets"))?;
        let seed = unhex(field("seed")?).ok_or_else(|| form("`seed` is not 64 hexadecimal digits"))?;
        let key = SigningKey::from_seed(&seed);
        let (listed, computed) = (field("keyid")?, key.public().id());
        if listed != computed.to_string() {
            return Err(KeyFileError::Damaged { listed: listed.chars().take(80).collect(), computed });
        }
        Ok(Self { role, key })
    }

    /// The file's text, seed included.
    #[must_use]
    pub fn text(&self) -> String {
        let public = self.key.secret.verifying_key();
        let field = |name: &str, text: String| (name.into(), Value::Text(text));
        let object = Object::from([
            field("role", self.role.to_string()),
            field("keyid", self.key.public().id().to_string()),
            field("scheme", "ed25519".into()),
            field("public", hex(public.as_bytes())),
            field("seed", hex(self.key.secret.as_bytes())),
        ]);
        Value::Object(object).text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_reads_back_what_it_wrote() {
        let file = KeyFile { role: RoleName::Targets, key: SigningKey::from_seed(&[7; 32]) };
        let read = KeyFile::parse(file.text().as_bytes()).expect("a key file");
        assert_eq!((read.role, read.key.public()), (RoleName::Targets, file.key.public()));
    }

    #[test]
    fn a_damaged_key_file_is_refused_without_showing_the_seed() {
        let text = KeyFile { role: RoleName::Root, key: SigningKey::from_seed(&[7; 32]) }.text();
        for damaged in [
            text.replace(&hex(&[7; 32]), &hex(&[8; 32])),
            text.replace("root", "boot"),
            text.replace("ed25519", "rsa"),
            text.replace("seed", "sead"),
            text.replace(&hex(&[7; 32]), "0707"),
            text[..text.len() / 2].to_string(),
        ] {
            let error = KeyFile::parse(damaged.as_bytes()).expect_err("damaged");
            assert!(!error.to_string().contains("0707"), "{error}");
        }
    }

    #[test]
    fn a_key_is_shown_by_its_identity_alone() {
        let key = SigningKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&hex(&[7; 32])));
    }
}
