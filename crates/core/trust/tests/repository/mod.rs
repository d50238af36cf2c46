//! A repository in memory, for tests: signs what a test wants signed and serves it, honestly or not.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::collections::BTreeMap;

use evenkeel_trust::{
    Current, Draft, FileMeta, Header, Refresh, Role, RoleName, Root, SigningKey, Snapshot, Step, TargetFile,
    Targets, Timestamp, TrustError, TrustedSet, limits,
};
use evenkeel_units::{ByteCount, Digest, WallTime};

/// When the tests take place.
pub(crate) const NOW: WallTime = WallTime::from_unix_seconds(1_795_000_000);

/// The name of the one target.
pub(crate) const TARGET: &str = "evenkeel-1.1.0.bundle";

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub(crate) fn header(version: u64) -> Header {
    Header { version, expires: NOW + limits::TIMESTAMP_LIFETIME }
}

pub(crate) fn signed<T: Role>(role: &T, keys: &[&SigningKey]) -> Vec<u8> {
    let mut draft = Draft::new(role).expect("plain names");
    keys.iter().for_each(|key| draft.sign(key));
    draft.to_bytes()
}

/// Keys 1 root, 2 targets, 3 snapshot, 4 timestamp; threshold 1 each.
pub(crate) fn root(version: u64) -> Root {
    Root::new(header(version), |role| {
        let number = match role {
            RoleName::Root => 1,
            RoleName::Targets => 2,
            RoleName::Snapshot => 3,
            RoleName::Timestamp => 4,
        };
        (vec![key(number).public().clone()], 1)
    })
}

pub(crate) fn targets(version: u64) -> Targets {
    let file = TargetFile { length: ByteCount(5), sha256: Digest::of(b"hello"), custom: None };
    let name = TARGET.parse().expect("a harmless name");
    Targets { header: header(version), targets: BTreeMap::from([(name, file)]), delegations: None }
}

/// The files of a server, by name.
#[derive(Clone, Default)]
pub(crate) struct Server {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Server {
    /// A server with root 1 and everything else at `version`.
    pub(crate) fn at(version: u64) -> Self {
        let mut server = Self::default();
        server.publish(version);
        server
    }

    /// Publishes targets, snapshot and timestamp of this version, signed with the usual keys.
    pub(crate) fn publish(&mut self, version: u64) {
        self.put_targets(version, &targets(version));
    }

    pub(crate) fn put_targets(&mut self, version: u64, role: &Targets) {
        let bytes = signed(role, &[&key(2)]);
        let meta = FileMeta::of(role.header.version, &bytes);
        self.files.insert(format!("{}.targets.json", role.header.version), bytes);
        self.put_snapshot(version, &Snapshot::of_targets(header(version), meta));
    }

    pub(crate) fn put_snapshot(&mut self, version: u64, role: &Snapshot) {
        let bytes = signed(role, &[&key(3)]);
        let meta = FileMeta::of(role.header.version, &bytes);
        self.files.insert(format!("{}.snapshot.json", role.header.version), bytes);
        let timestamp = Timestamp { header: header(version), snapshot: meta };
        self.files.insert("timestamp.json".into(), signed(&timestamp, &[&key(4)]));
    }

    pub(crate) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), bytes);
    }
}

/// What trust starts from: root 1.
pub(crate) fn fresh() -> TrustedSet {
    TrustedSet::from_root(&signed(&root(1), &[&key(1)])).expect("a good root")
}

/// Refreshes against `server` to the end; on an error also what is trusted then.
pub(crate) fn refresh_at(
    trusted: TrustedSet,
    server: &Server,
    now: WallTime,
) -> Result<Current, Box<(TrustError, TrustedSet)>> {
    let mut refresh = Refresh::start(trusted, now);
    while let Step::Fetch(request) = refresh.step() {
        let result = match server.files.get(&request.name) {
            Some(bytes) => {
                let read = bytes.len().min(usize::try_from(request.limit.0).expect("fits") + 1);
                refresh.on_bytes(&bytes[..read])
            }
            None => refresh.on_missing(),
        };
        if let Err(error) = result {
            return Err(Box::new((error, refresh.trusted().clone())));
        }
    }
    Ok(refresh.finish().expect("done"))
}

pub(crate) fn refresh(
    trusted: TrustedSet,
    server: &Server,
) -> Result<Current, Box<(TrustError, TrustedSet)>> {
    refresh_at(trusted, server, NOW)
}
