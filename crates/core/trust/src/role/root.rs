//! Root metadata (TUF 1.0.33 §4.3): the keys of every role and how many of them have to sign.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec::Vec,
};

use super::{Header, Role, RoleName, body::Body, number};
use crate::{KeyId, Object, PublicKey, TrustError, Value, fields::Fields};

/// The keys of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// The identities of the keys that may sign.
    pub keys: BTreeSet<KeyId>,
    /// How many distinct keys have to sign, from 1.
    pub threshold: u32,
}

/// The contents of root metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Version and expiry.
    pub header: Header,
    /// Whether file names carry versions and hashes (TUF 1.0.33 §6.2).
    pub consistent_snapshot: bool,
    /// Every key that a role uses, by identity.
    pub keys: BTreeMap<KeyId, PublicKey>,
    /// The keys of the root role.
    pub root: RoleKeys,
    /// The keys of the timestamp role.
    pub timestamp: RoleKeys,
    /// The keys of the snapshot role.
    pub snapshot: RoleKeys,
    /// The keys of the targets role.
    pub targets: RoleKeys,
}

impl Root {
    /// Root metadata of these keys, each role with its threshold, and consistent snapshots.
    #[must_use]
    pub fn new(header: Header, role: impl Fn(RoleName) -> (Vec<PublicKey>, u32)) -> Self {
        let mut keys = BTreeMap::new();
        let mut take = |name: RoleName| {
            let (own, threshold) = role(name);
            let ids = own.iter().map(PublicKey::id).collect();
            keys.extend(own.into_iter().map(|key| (key.id(), key)));
            RoleKeys { keys: ids, threshold }
        };
        let [root, timestamp, snapshot, targets] = RoleName::ALL.map(&mut take);
        Self { header, consistent_snapshot: true, keys, root, timestamp, snapshot, targets }
    }

    /// The keys of `role`.
    #[must_use]
    pub const fn role(&self, role: RoleName) -> &RoleKeys {
        match role {
            RoleName::Root => &self.root,
            RoleName::Timestamp => &self.timestamp,
            RoleName::Snapshot => &self.snapshot,
            RoleName::Targets => &self.targets,
        }
    }
}

impl Role for Root {
    const NAME: RoleName = RoleName::Root;

    fn header(&self) -> Header {
        self.header
    }
}

impl Body for Root {
    fn read(header: Header, signed: &Fields<'_>) -> Result<Self, TrustError> {
        let keys = read_keys(&signed.object("keys")?)?;
        let roles = signed.object("roles")?;
        let role = |name: RoleName| read_role(&roles.object(name.as_str())?);
        Ok(Self {
            header,
            consistent_snapshot: signed.bool("consistent_snapshot")?,
            keys,
            root: role(RoleName::Root)?,
            timestamp: role(RoleName::Timestamp)?,
            snapshot: role(RoleName::Snapshot)?,
            targets: role(RoleName::Targets)?,
        })
    }

    fn write(&self, signed: &mut Object) {
        let keys: Object = self.keys.iter().map(|(id, key)| (id.to_string(), key.to_value())).collect();
        let roles: Object =
            RoleName::ALL.map(|name| (name.to_string(), write_role(self.role(name)))).into_iter().collect();
        signed.insert("consistent_snapshot".into(), Value::Bool(self.consistent_snapshot));
        signed.insert("keys".into(), keys.into());
        signed.insert("roles".into(), roles.into());
    }
}

/// Every listed key under its own identity, which is computed and compared (TUF 1.0.33 §4.3, `KEYID`).
fn read_keys(keys: &Fields<'_>) -> Result<BTreeMap<KeyId, PublicKey>, TrustError> {
    keys.objects()
        .map(|entry| {
            let (name, object) = entry?;
            let listed: KeyId = name.parse().map_err(|_| keys.refuse(name, "a key under its SHA-256"))?;
            let key = PublicKey::read(&object)?;
            let computed = key.id();
            if listed != computed {
                return Err(TrustError::KeyId { role: keys.role(), listed, computed });
            }
            Ok((listed, key))
        })
        .collect()
}

fn read_role(role: &Fields<'_>) -> Result<RoleKeys, TrustError> {
    let expected = "a list of distinct key identities of 64 hexadecimal digits";
    let listed = role.list("keyids")?;
    let keys: BTreeSet<KeyId> = listed
        .iter()
        .map(|item| match item {
            Value::Text(text) => text.parse().map_err(|_| role.refuse("keyids", expected)),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::List(_) | Value::Object(_) => {
                Err(role.refuse("keyids", expected))
            }
        })
        .collect::<Result<_, _>>()?;
    if keys.len() != listed.len() {
        return Err(role.refuse("keyids", expected));
    }
    let expected = "a whole number from 1 to 4294967295";
    let threshold = u32::try_from(role.number("threshold", 1, expected)?);
    Ok(RoleKeys { keys, threshold: threshold.map_err(|_| role.refuse("threshold", expected))? })
}

fn write_role(role: &RoleKeys) -> Value {
    let keyids = role.keys.iter().map(|id| Value::Text(id.to_string())).collect();
    Object::from([
        ("keyids".into(), Value::List(keyids)),
        ("threshold".into(), number(role.threshold.into())),
    ])
    .into()
}
