//! The public keys that an update server signs with: what `GET /api/online-keys` answers (docs/protocol.md).

use alloc::string::String;

use crate::{Object, PublicKey, RoleName, TrustError, Value, fields::Fields};

/// The keys of the roles that stay online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineKeys {
    /// Signs snapshots.
    pub snapshot: PublicKey,
    /// Signs timestamps.
    pub timestamp: PublicKey,
}

impl OnlineKeys {
    /// Reads `{"snapshot": KEY, "timestamp": KEY}`, each a TUF key object (1.0.33 §4.2).
    ///
    /// # Errors
    /// Not such an object.
    pub fn parse(json: &[u8]) -> Result<Self, TrustError> {
        let role = RoleName::Root;
        let value = Value::parse(json).map_err(|reason| TrustError::Json { role, reason })?;
        let fields = Fields::of(role, "", &value)?;
        let key = |name: RoleName| PublicKey::read(&fields.object(name.as_str())?);
        Ok(Self { snapshot: key(RoleName::Snapshot)?, timestamp: key(RoleName::Timestamp)? })
    }

    /// The same as text.
    #[must_use]
    pub fn text(&self) -> String {
        let keys = [(RoleName::Snapshot, &self.snapshot), (RoleName::Timestamp, &self.timestamp)];
        let object: Object =
            keys.into_iter().map(|(role, key)| (role.as_str().into(), key.to_value())).collect();
        Value::Object(object).text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn online_keys_read_back_what_they_wrote() {
        let [snapshot, timestamp] = [3, 4].map(|seed| SigningKey::from_seed(&[seed; 32]).public().clone());
        let keys = OnlineKeys { snapshot, timestamp };
        assert_eq!(OnlineKeys::parse(keys.text().as_bytes()), Ok(keys));
        assert!(OnlineKeys::parse(b"{}").is_err());
    }
}
