//! A TUF repository as files in memory, signed with keys that tests know.

use std::collections::BTreeMap;

use evenkeel_trust::{
    Draft, FileMeta, Header, Role, RoleName, Root, SigningKey, Snapshot, TargetFile, TargetName, Targets,
    Timestamp,
};
use evenkeel_units::WallTime;

/// The files of a metadata folder by name, and what makes more of them.
#[derive(Debug, Clone)]
pub struct Repository {
    /// What the server has.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What its targets metadata lists.
    pub targets: BTreeMap<TargetName, TargetFile>,
    /// When what is signed from now on expires.
    pub expires: WallTime,
    version: u64,
}

/// The key of a role; every role has another.
#[must_use]
pub fn key(role: RoleName) -> SigningKey {
    let number = match role {
        RoleName::Root => 1,
        RoleName::Timestamp => 2,
        RoleName::Snapshot => 3,
        RoleName::Targets => 4,
    };
    SigningKey::from_seed(&[number; 32])
}

impl Repository {
    /// A repository that lists nothing, signed as version 1.
    #[must_use]
    pub fn new(expires: WallTime) -> Self {
        let mut repository = Self { files: BTreeMap::new(), targets: BTreeMap::new(), expires, version: 0 };
        repository.publish();
        repository
    }

    /// The root metadata that a box trusts from its start.
    #[must_use]
    pub fn root(&self) -> Vec<u8> {
        let header = Header { version: 1, expires: WallTime::from_unix_seconds(u64::MAX) };
        signed(&Root::new(header, |role| (vec![key(role).public().clone()], 1)), &key(RoleName::Root))
    }

    /// Signs the present targets as the next version.
    pub fn publish(&mut self) {
        self.version += 1;
        self.publish_signed_by(&key(RoleName::Targets));
    }

    /// Signs the present targets with a key of the caller's choice, as the same version as before.
    pub fn publish_signed_by(&mut self, targets_key: &SigningKey) {
        let header = Header { version: self.version, expires: self.expires };
        let targets = Targets { header, targets: self.targets.clone(), delegations: None };
        let targets = signed(&targets, targets_key);
        let snapshot = Snapshot::of_targets(header, FileMeta::of(self.version, &targets));
        let snapshot = signed(&snapshot, &key(RoleName::Snapshot));
        let timestamp = Timestamp { header, snapshot: FileMeta::of(self.version, &snapshot) };
        self.files.insert(format!("{}.targets.json", self.version), targets);
        self.files.insert(format!("{}.snapshot.json", self.version), snapshot);
        self.files.insert("timestamp.json".into(), signed(&timestamp, &key(RoleName::Timestamp)));
    }
}

fn signed<T: Role>(role: &T, key: &SigningKey) -> Vec<u8> {
    let mut draft = Draft::new(role).expect("names of plain ASCII");
    draft.sign(key);
    draft.to_bytes()
}
