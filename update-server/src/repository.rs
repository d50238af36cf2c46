//! The TUF repository: signed metadata, and the bundles that it lists.
//!
//! Owns: what is published. Root and targets metadata come from operators and are verified here as a device
//! would; snapshot and timestamp are signed here with the online keys, and anew before they expire. Leaves to
//! others: bytes on the wire.
//!
//! Invariant: what devices can fetch is one consistent whole. Files are written aside, synced and renamed,
//! `timestamp.json` last, so that after a crash the repository is the old or the new one.

mod files;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use evenkeel_protocol::{Label, ReleaseSummary};
use evenkeel_trust::{
    Draft, FileMeta, Header, Role, RoleName, Root, SigningKey, Snapshot, TargetFile, TargetName, Targets,
    Timestamp, TrustError, Verified, limits,
};
use evenkeel_units::{ByteCount, Digest, Version, WallTime};

pub use files::{MetadataName, Upload, UploadError};

use self::files::Files;
use crate::secret::OnlineKeys;

/// Why something cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Not what devices would accept.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Root comes first.
    #[error("the repository has no root metadata yet; publish it first: `evenkeel release publish` does so")]
    NoRoot,
    /// The root does not name our key.
    #[error(
        "the root metadata does not let this server sign alone as {role}; make it with \
         `evenkeel key root --server URL`, so that it names the server's own keys"
    )]
    OnlineKey {
        /// The role.
        role: RoleName,
    },
    /// Without prefixes devices would mix old and new files.
    #[error(
        "the root metadata says `consistent_snapshot: false`; expected true, make it with `evenkeel key root`"
    )]
    Inconsistent,
    /// Something newer is published.
    #[error("{role} version {got} is not newer than version {published}, which is published; sign version {}", published + 1)]
    Version {
        /// The role.
        role: RoleName,
        /// What came.
        got: u64,
        /// What is there.
        published: u64,
    },
    /// The bundle is not there.
    #[error(
        "target `{name}` ({length}, SHA-256 {sha256}) was not uploaded; put the bundle first: \
         `evenkeel release publish` does so"
    )]
    Missing {
        /// Its name.
        name: TargetName,
        /// Its length.
        length: ByteCount,
        /// Its digest.
        sha256: Digest,
    },
    /// A name that we do not serve.
    #[error(
        "target `{name}` cannot be served; expected a name of A-Z a-z 0-9 . _ - such as `evenkeel-1.1.0.bundle`"
    )]
    Name {
        /// The name.
        name: TargetName,
    },
    /// What it says about itself is not understood.
    #[error(
        "target `{name}`: its `custom` object is not understood ({reason}); sign it with `evenkeel release sign`"
    )]
    Custom {
        /// The name.
        name: TargetName,
        /// What is wrong.
        reason: String,
    },
    /// The disk.
    #[error("{path} cannot be {action}; free space or mend the disk")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// What is published.
#[derive(Debug)]
pub struct Repository {
    files: Files,
    keys: OnlineKeys,
    root: Option<Verified<Root>>,
    published: Option<Published>,
    /// Highest versions ever signed; never used twice.
    signed: Signed,
}

#[derive(Debug, Clone)]
struct Published {
    targets: Verified<Targets>,
    snapshot: Verified<Snapshot>,
    timestamp: Verified<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Signed {
    snapshot: u64,
    timestamp: u64,
}

/// A bundle that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub length: ByteCount,
    /// Its digest.
    pub sha256: Digest,
}

impl Repository {
    /// Opens the repository in `folder`, made if there is none.
    ///
    /// # Errors
    /// When its files cannot be read, or its root chain does not hold.
    pub fn open(folder: &Path, keys: OnlineKeys) -> Result<Self, RepositoryError> {
        let files = Files::open(folder)?;
        let mut root: Option<Verified<Root>> = None;
        for version in files.versions(RoleName::Root)? {
            let bytes = files.read(&MetadataName::versioned(version, RoleName::Root))?;
            root = Some(match root {
                None => Verified::anchor(&bytes)?,
                Some(root) => root.next(&bytes)?,
            });
        }
        let newest = files.versions(RoleName::Snapshot)?.last().copied().unwrap_or(0);
        let mut repository =
            Self { files, keys, root, published: None, signed: Signed { snapshot: newest, timestamp: 0 } };
        repository.load()?;
        Ok(repository)
    }

    /// Follows timestamp, snapshot and targets as a device does; what does not hold any more, because root was
    /// replaced, is as if it were not there.
    fn load(&mut self) -> Result<(), RepositoryError> {
        let Some(bytes) = self.files.read_if_there(&MetadataName::timestamp())? else { return Ok(()) };
        self.signed.timestamp =
            Draft::read(RoleName::Timestamp, &bytes)?.contents::<Timestamp>()?.header.version;
        let Some(root) = &self.root else { return Ok(()) };
        let chain = || -> Result<Published, RepositoryError> {
            let timestamp = root.verify::<Timestamp>(&bytes)?;
            let name = MetadataName::versioned(timestamp.snapshot.version, RoleName::Snapshot);
            let snapshot = root.verify::<Snapshot>(&self.files.read(&name)?)?;
            let name = MetadataName::versioned(snapshot.targets()?.version, RoleName::Targets);
            let targets = root.verify::<Targets>(&self.files.read(&name)?)?;
            Ok(Published { targets, snapshot, timestamp })
        };
        match chain() {
            Ok(published) => self.published = Some(published),
            Err(error) => {
                tracing::warn!(%error, "the published metadata does not hold; publish targets anew");
            }
        }
        Ok(())
    }

    /// The server's public keys.
    #[must_use]
    pub const fn online_keys(&self) -> &OnlineKeys {
        &self.keys
    }

    /// Where files lie.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The version of the root metadata, if there is any.
    #[must_use]
    pub fn root_version(&self) -> Option<u64> {
        self.root.as_ref().map(|root| root.header.version)
    }

    /// Publishes root metadata: the first one, or the next version. The same bytes again change nothing.
    ///
    /// # Errors
    /// When devices would not accept it, or it does not let this server sign snapshots and timestamps.
    pub fn publish_root(&mut self, bytes: &[u8], now: WallTime) -> Result<(), RepositoryError> {
        let next = match &self.root {
            Some(root) if root.bytes() == bytes => return Ok(()),
            Some(root) => {
                let (got, published) = (version_of::<Root>(bytes)?, root.header.version);
                if got <= published {
                    return Err(RepositoryError::Version { role: RoleName::Root, got, published });
                }
                root.next(bytes)?
            }
            None => Verified::anchor(bytes)?,
        };
        next.check_unexpired(now)?;
        if !next.consistent_snapshot {
            return Err(RepositoryError::Inconsistent);
        }
        for (role, key) in
            [(RoleName::Snapshot, &self.keys.snapshot), (RoleName::Timestamp, &self.keys.timestamp)]
        {
            let keys = next.role(role);
            if keys.threshold != 1 || !keys.keys.contains(&key.public().id()) {
                return Err(RepositoryError::OnlineKey { role });
            }
        }
        self.files.write(&MetadataName::versioned(next.header.version, RoleName::Root), bytes)?;
        tracing::info!(version = next.header.version, "root published");
        self.root = Some(next);
        self.published = None;
        self.load()
    }

    /// Publishes targets metadata, and signs snapshot and timestamp for it. The same bytes again change nothing.
    ///
    /// # Errors
    /// When devices would not accept it, or a file that it lists is not there.
    pub fn publish_targets(&mut self, bytes: &[u8], now: WallTime) -> Result<(), RepositoryError> {
        let targets = self.root()?.verify::<Targets>(bytes)?;
        targets.check_unexpired(now)?;
        if let Some(published) = &self.published {
            if published.targets.bytes() == bytes {
                return Ok(());
            }
            let (got, published) = (targets.header.version, published.targets.header.version);
            if got <= published {
                return Err(RepositoryError::Version { role: RoleName::Targets, got, published });
            }
        }
        for (name, file) in &targets.targets {
            self.check_target(name, file)?;
        }
        self.files.write(&MetadataName::versioned(targets.header.version, RoleName::Targets), bytes)?;
        tracing::info!(
            version = targets.header.version,
            targets = targets.targets.len(),
            "targets published"
        );
        let snapshot = self.sign_snapshot(&targets, now)?;
        let timestamp = self.sign_timestamp(&snapshot, now)?;
        self.published = Some(Published { targets, snapshot, timestamp });
        Ok(())
    }

    fn check_target(&self, name: &TargetName, file: &TargetFile) -> Result<(), RepositoryError> {
        name.as_str().parse::<Label>().map_err(|_| RepositoryError::Name { name: name.clone() })?;
        release_of(name, file)?;
        if self.files.bundle_length(name.as_str(), file.sha256) != Some(file.length) {
            let TargetFile { length, sha256, .. } = *file;
            return Err(RepositoryError::Missing { name: name.clone(), length, sha256 });
        }
        Ok(())
    }

    /// Signs anew what has less than half of its life left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn renew(&mut self, now: WallTime) -> Result<(), RepositoryError> {
        let is_due = |header: Header, life: Duration| header.expires.since(now) < life / 2;
        let Some(published) = &self.published else { return Ok(()) };
        let snapshot_is_due = is_due(published.snapshot.header, limits::SNAPSHOT_LIFETIME);
        if !snapshot_is_due && !is_due(published.timestamp.header, limits::TIMESTAMP_LIFETIME) {
            return Ok(());
        }
        let mut published = published.clone();
        if snapshot_is_due {
            published.snapshot = self.sign_snapshot(&published.targets, now)?;
        }
        published.timestamp = self.sign_timestamp(&published.snapshot, now)?;
        self.published = Some(published);
        Ok(())
    }

    fn sign_snapshot(
        &mut self,
        targets: &Verified<Targets>,
        now: WallTime,
    ) -> Result<Verified<Snapshot>, RepositoryError> {
        self.signed.snapshot += 1;
        let header = Header { version: self.signed.snapshot, expires: now + limits::SNAPSHOT_LIFETIME };
        let listed = FileMeta::of(targets.header.version, targets.bytes());
        let bytes = signed(&Snapshot::of_targets(header, listed), &self.keys.snapshot)?;
        self.files.write(&MetadataName::versioned(header.version, RoleName::Snapshot), &bytes)?;
        Ok(self.root()?.verify(&bytes)?)
    }

    fn sign_timestamp(
        &mut self,
        snapshot: &Verified<Snapshot>,
        now: WallTime,
    ) -> Result<Verified<Timestamp>, RepositoryError> {
        self.signed.timestamp += 1;
        let header = Header { version: self.signed.timestamp, expires: now + limits::TIMESTAMP_LIFETIME };
        let listed = FileMeta::of(snapshot.header.version, snapshot.bytes());
        let bytes = signed(&Timestamp { header, snapshot: listed }, &self.keys.timestamp)?;
        self.files.write(&MetadataName::timestamp(), &bytes)?;
        tracing::info!(version = header.version, expires = %header.expires, "timestamp signed");
        Ok(self.root()?.verify(&bytes)?)
    }

    fn root(&self) -> Result<&Verified<Root>, RepositoryError> {
        self.root.as_ref().ok_or(RepositoryError::NoRoot)
    }

    /// The published releases, newest first.
    ///
    /// # Errors
    /// When what a target says about itself is not understood.
    pub fn releases(&self) -> Result<Vec<ReleaseSummary>, RepositoryError> {
        let Some(published) = &self.published else { return Ok(Vec::new()) };
        let targets = published.targets.targets.iter();
        let found = targets.map(|(name, file)| release_of(name, file)).collect::<Result<Vec<_>, _>>()?;
        let mut releases: Vec<_> = found.into_iter().flatten().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.version));
        Ok(releases)
    }

    /// The published bundle of that request path (`SHA256.NAME`), found by comparing, never by opening a path
    /// that somebody else wrote.
    #[must_use]
    pub fn bundle(&self, request_path: &str) -> Option<Bundle> {
        let targets = &self.published.as_ref()?.targets.targets;
        let listed = targets.iter().find(|(name, file)| name.request_path(Some(file.sha256)) == request_path);
        listed.map(|(name, file)| Bundle {
            path: self.files.bundle_path(name.as_str(), file.sha256),
            length: file.length,
            sha256: file.sha256,
        })
    }
}

fn version_of<T: Role>(bytes: &[u8]) -> Result<u64, TrustError> {
    Draft::read(T::NAME, bytes)?.contents::<T>().map(|role| role.header().version)
}

fn signed<T: Role>(role: &T, key: &SigningKey) -> Result<Vec<u8>, TrustError> {
    let mut draft = Draft::new(role)?;
    draft.sign(key);
    Ok(draft.to_bytes())
}

/// The release that a target is, if it says that it is one.
fn release_of(name: &TargetName, file: &TargetFile) -> Result<Option<ReleaseSummary>, RepositoryError> {
    #[derive(serde::Deserialize)]
    struct Custom {
        evenkeel: Option<Release>,
    }
    #[derive(serde::Deserialize)]
    struct Release {
        version: Version,
        channels: Vec<Label>,
        hardware: Vec<Label>,
    }
    let Some(custom) = &file.custom else { return Ok(None) };
    let custom: Custom = serde_json::from_slice(&custom.canonical())
        .map_err(|error| RepositoryError::Custom { name: name.clone(), reason: error.to_string() })?;
    Ok(custom.evenkeel.map(|release| ReleaseSummary {
        version: release.version,
        target: name.to_string(),
        length: file.length,
        sha256: file.sha256,
        channels: release.channels,
        hardware: release.hardware,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const BEGAN: WallTime = WallTime::from_unix_seconds(1_795_364_399);

    /// A repository with empty targets metadata, signed by keys of its own.
    fn published(folder: &Path) -> Repository {
        let mut repository = Repository::open(folder, OnlineKeys::open(folder).unwrap()).unwrap();
        let own = SigningKey::from_seed(&[1; 32]);
        let header = |life| Header { version: 1, expires: BEGAN + life };
        let root = Root::new(header(limits::ROOT_LIFETIME), |role| {
            let key = match role {
                RoleName::Root | RoleName::Targets => &own,
                RoleName::Snapshot => &repository.keys.snapshot,
                RoleName::Timestamp => &repository.keys.timestamp,
            };
            (vec![key.public().clone()], 1)
        });
        repository.publish_root(&signed(&root, &own).unwrap(), BEGAN).unwrap();
        let targets =
            Targets { header: header(limits::TARGETS_LIFETIME), targets: [].into(), delegations: None };
        repository.publish_targets(&signed(&targets, &own).unwrap(), BEGAN).unwrap();
        repository
    }

    fn versions(repository: &Repository) -> (u64, u64) {
        let published = repository.published.as_ref().unwrap();
        (published.snapshot.header.version, published.timestamp.header.version)
    }

    #[test]
    fn snapshot_and_timestamp_are_signed_anew_before_they_expire() {
        let folder = tempfile::tempdir().unwrap();
        let mut repository = published(folder.path());
        for (at, expected) in [
            (DAY / 2, (1, 1)),
            (DAY / 2 + Duration::from_secs(1), (1, 2)),
            (DAY, (1, 2)),
            (DAY * 3, (1, 3)),
            (DAY * 4, (2, 4)),
        ] {
            repository.renew(BEGAN + at).unwrap();
            assert_eq!(versions(&repository), expected, "after {at:?}");
            let published = repository.published.as_ref().unwrap();
            published.timestamp.check_unexpired(BEGAN + at).unwrap();
            published.snapshot.check_unexpired(BEGAN + at).unwrap();
        }
    }

    #[test]
    fn versions_are_never_signed_twice_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut repository = published(folder.path());
        repository.renew(BEGAN + DAY * 4).unwrap();
        assert_eq!(versions(&repository), (2, 2));
        drop(repository);
        let mut repository =
            Repository::open(folder.path(), OnlineKeys::open(folder.path()).unwrap()).unwrap();
        assert_eq!(versions(&repository), (2, 2));
        repository.renew(BEGAN + DAY * 8).unwrap();
        assert_eq!(versions(&repository), (3, 3));
    }

    /// I7: a crash before `timestamp.json` is renamed leaves the old repository, and the next attempt works.
    #[test]
    fn i7_a_publication_cut_short_is_as_if_it_had_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let repository = published(folder.path());
        let own = SigningKey::from_seed(&[1; 32]);
        let header = Header { version: 2, expires: BEGAN + limits::TARGETS_LIFETIME };
        let targets = signed(&Targets { header, targets: [].into(), delegations: None }, &own).unwrap();
        repository.files.write(&MetadataName::versioned(2, RoleName::Targets), &targets).unwrap();
        repository.files.write(&MetadataName::versioned(2, RoleName::Snapshot), b"half a snapshot").unwrap();
        drop(repository);
        let mut repository =
            Repository::open(folder.path(), OnlineKeys::open(folder.path()).unwrap()).unwrap();
        assert_eq!(versions(&repository), (1, 1));
        repository.publish_targets(&targets, BEGAN).unwrap();
        assert_eq!(versions(&repository), (3, 2));
    }
}
