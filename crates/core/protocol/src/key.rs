//! Ed25519 public keys (RFC 8032) in their text form.

use alloc::string::String;
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::VerifyingKey;
use evenkeel_units::DeviceId;

/// An Ed25519 public key: 32 bytes that are a point of the curve and not a weak one, written in base64
/// (RFC 4648 §4, with padding).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key that these 32 bytes encode.
    ///
    /// # Errors
    /// When they are no point of the curve, or a point of small order, under which any message verifies.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        let refuse = |_| PublicKeyError { got: STANDARD.encode(bytes) };
        let key = VerifyingKey::from_bytes(bytes).map_err(refuse)?;
        if key.is_weak() { Err(PublicKeyError { got: STANDARD.encode(bytes) }) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The device that this key belongs to.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::of_public_key(self.as_bytes())
    }

    pub(crate) const fn verifying(&self) -> &VerifyingKey {
        &self.0
    }
}

impl From<&ed25519_dalek::SigningKey> for PublicKey {
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Why a text is not a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not an Ed25519 public key; expected 32 bytes in base64")]
pub struct PublicKeyError {
    got: String,
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let refuse = || PublicKeyError { got: text.chars().take(80).collect() };
        let bytes: [u8; 32] =
            STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(refuse)?;
        Self::from_bytes(&bytes)
    }
}

serde_as_text!(PublicKey);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_public_key_reads_back_what_it_wrote() {
        let key = PublicKey::from(&SigningKey::from_bytes(&[7; 32]));
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        let identity_point = STANDARD.encode({
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        });
        for text in ["", "AAAA", "%%%", &identity_point] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }
}
