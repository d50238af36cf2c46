//! What a client trusts, and when it may trust something newer (TUF 1.0.33 §5.3 to §5.6).
//!
//! Owns: the order of the checks against rollback, freeze and mix-and-match. A refusal changes nothing.
//! Leaves to others: which file to ask for next (`refresh`) and where the bytes are kept ([`Kept`]).

use alloc::vec::Vec;

use evenkeel_units::{ByteCount, Digest, WallTime};

use crate::{
    RoleName, Root, Snapshot, TargetName, Targets, Timestamp, TrustError, Value, Verified,
    envelope::Delegated,
};

/// The trusted metadata as files: the exact bytes of each role, to be stored as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Root metadata.
    pub root: Vec<u8>,
    /// Timestamp metadata, once one was accepted.
    pub timestamp: Option<Vec<u8>>,
    /// Snapshot metadata, once one was accepted.
    pub snapshot: Option<Vec<u8>>,
    /// Targets metadata, once one was accepted.
    pub targets: Option<Vec<u8>>,
}

/// The newest metadata of each role that was ever accepted and is still signed by the trusted root's keys.
///
/// It is the baseline for what comes next. That it may be used now is not said: see [`crate::Current`].
#[derive(Debug, Clone)]
pub struct TrustedSet {
    root: Verified<Root>,
    timestamp: Option<Verified<Timestamp>>,
    snapshot: Option<Verified<Snapshot>>,
    targets: Option<Verified<Targets>>,
}

impl TrustedSet {
    /// Trust that starts from the root which came with the image.
    ///
    /// # Errors
    /// The root is damaged, or not signed by its own keys.
    pub fn from_root(root: &[u8]) -> Result<Self, TrustError> {
        Ok(Self { root: Verified::anchor(root)?, timestamp: None, snapshot: None, targets: None })
    }

    /// Trust that continues: the newer of the image's root and the kept one, and whatever else was kept as far
    /// as that root's keys signed it. What is damaged is left out and fetched again.
    ///
    /// # Errors
    /// The image's root is damaged, or not signed by its own keys.
    pub fn open(image_root: &[u8], kept: &Kept) -> Result<Self, TrustError> {
        let mut trusted = Self::from_root(image_root)?;
        let mut rotated = false;
        if let Ok(root) = Verified::anchor(&kept.root) {
            if root.header.version > trusted.root.header.version {
                trusted.root = root;
            } else {
                rotated = forgets_online(&root, &trusted.root);
            }
        }
        let root = &trusted.root;
        if !rotated {
            trusted.timestamp = reopen(root, kept.timestamp.as_deref());
            trusted.snapshot = reopen(root, kept.snapshot.as_deref());
        }
        trusted.targets = reopen(root, kept.targets.as_deref());
        Ok(trusted)
    }

    /// What to store, at any time; together with the image's root it is all that [`TrustedSet::open`] needs.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            root: self.root.bytes().to_vec(),
            timestamp: self.timestamp.as_ref().map(|file| file.bytes().to_vec()),
            snapshot: self.snapshot.as_ref().map(|file| file.bytes().to_vec()),
            targets: self.targets.as_ref().map(|file| file.bytes().to_vec()),
        }
    }

    /// The trusted root.
    #[must_use]
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The newest accepted timestamp.
    #[must_use]
    pub const fn timestamp(&self) -> Option<&Verified<Timestamp>> {
        self.timestamp.as_ref()
    }

    /// The newest accepted snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Verified<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// The newest accepted targets.
    #[must_use]
    pub const fn targets(&self) -> Option<&Verified<Targets>> {
        self.targets.as_ref()
    }

    /// §5.3.4 to §5.3.8 and §5.3.11: takes the next root.
    pub(crate) fn update_root(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let next = self.root.next(bytes)?;
        // §5.3.11: with new online keys the versions of the old ones bind no longer, or whoever stole those
        // keys and signed version 2^63 - 1 would have stopped updates for ever (fast-forward).
        if forgets_online(&self.root, &next) {
            self.timestamp = None;
            self.snapshot = None;
        }
        self.root = next;
        self.timestamp = recheck(&self.root, self.timestamp.take());
        self.snapshot = recheck(&self.root, self.snapshot.take());
        self.targets = recheck(&self.root, self.targets.take());
        Ok(())
    }

    /// §5.4.2 to §5.4.5: takes a timestamp.
    pub(crate) fn update_timestamp(&mut self, bytes: &[u8], now: WallTime) -> Result<(), TrustError> {
        let new = self.root.verify::<Timestamp>(bytes)?;
        if let Some(old) = &self.timestamp {
            // §5.4.3.1; an equal version is no news, and the trusted bytes stay.
            check_rollback(RoleName::Timestamp, new.header.version, old.header.version)?;
            // §5.4.3.2
            check_rollback(RoleName::Snapshot, new.snapshot.version, old.snapshot.version)?;
            if new.header.version == old.header.version {
                return old.check_unexpired(now);
            }
        }
        new.check_unexpired(now)?; // §5.4.4
        self.timestamp = Some(new);
        Ok(())
    }

    /// §5.5.2 to §5.5.7: takes the snapshot that `timestamp` lists.
    pub(crate) fn update_snapshot(&mut self, bytes: &[u8], now: WallTime) -> Result<(), TrustError> {
        let Some(timestamp) = &self.timestamp else { return Err(missing(RoleName::Timestamp)) };
        let new = self.root.verify_listed::<Snapshot>(bytes, RoleName::Timestamp, timestamp.snapshot)?;
        if let Some(old) = &self.snapshot {
            check_contents(old, &new)?; // §5.5.5
        }
        new.targets()?;
        new.check_unexpired(now)?; // §5.5.6
        self.snapshot = Some(new);
        Ok(())
    }

    /// §5.6.2 to §5.6.6: takes the targets that the snapshot lists.
    pub(crate) fn update_targets(&mut self, bytes: &[u8], now: WallTime) -> Result<(), TrustError> {
        let Some(snapshot) = &self.snapshot else { return Err(missing(RoleName::Snapshot)) };
        let new = self.root.verify_listed::<Targets>(bytes, RoleName::Snapshot, snapshot.targets()?)?;
        new.check_unexpired(now)?; // §5.6.5
        self.targets = Some(new);
        Ok(())
    }
}

fn missing(role: RoleName) -> TrustError {
    TrustError::Missing { file: role.file() }
}

/// Whether the keys of an online role changed from `old` to `new`.
fn forgets_online(old: &Root, new: &Root) -> bool {
    [RoleName::Timestamp, RoleName::Snapshot].iter().any(|role| old.role(*role).keys != new.role(*role).keys)
}

fn reopen<T: Delegated>(root: &Verified<Root>, bytes: Option<&[u8]>) -> Option<Verified<T>> {
    root.verify(bytes?).ok()
}

fn recheck<T: Delegated>(root: &Verified<Root>, file: Option<Verified<T>>) -> Option<Verified<T>> {
    file.filter(|file| root.verify::<T>(file.bytes()).is_ok())
}

fn check_rollback(role: RoleName, got: u64, trusted: u64) -> Result<(), TrustError> {
    if got < trusted { Err(TrustError::Rollback { what: role.file(), got, trusted }) } else { Ok(()) }
}

/// Every file that `old` lists is still listed, in no older version.
fn check_contents(old: &Snapshot, new: &Snapshot) -> Result<(), TrustError> {
    for (file, before) in &old.meta {
        let Some(after) = new.meta.get(file) else {
            return Err(TrustError::Dropped { version: new.header.version, file: file.clone() });
        };
        if after.version < before.version {
            let (got, trusted) = (after.version, before.version);
            return Err(TrustError::Rollback { what: file.clone(), got, trusted });
        }
    }
    Ok(())
}

/// A target that verified targets metadata lists; nothing outside this file can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTarget {
    name: TargetName,
    length: ByteCount,
    sha256: Digest,
    custom: Option<Value>,
}

impl VerifiedTarget {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &TargetName {
        &self.name
    }

    /// Its exact length.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        self.length
    }

    /// The SHA-256 of the whole file.
    #[must_use]
    pub const fn sha256(&self) -> Digest {
        self.sha256
    }

    /// What its publisher says about it.
    #[must_use]
    pub const fn custom(&self) -> Option<&Value> {
        self.custom.as_ref()
    }

    /// The path below the server's targets folder: `SHA256.NAME`, percent-encoded (TUF 1.0.33 §5.7.3).
    #[must_use]
    pub fn request_path(&self) -> alloc::string::String {
        self.name.request_path(Some(self.sha256))
    }
}

impl Verified<Targets> {
    /// The target called `name`. A device asks [`crate::Current::target`] instead, which also vouches that
    /// these targets are the newest.
    ///
    /// # Errors
    /// None is listed under this name.
    pub fn target(&self, name: &TargetName) -> Result<VerifiedTarget, TrustError> {
        let none = || TrustError::NoTarget { version: self.header.version, name: name.as_str().into() };
        let file = self.targets.get(name).ok_or_else(none)?;
        let (length, sha256, custom) = (file.length, file.sha256, file.custom.clone());
        Ok(VerifiedTarget { name: name.clone(), length, sha256, custom })
    }
}
