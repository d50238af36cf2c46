//! Timestamp, snapshot and targets metadata (TUF 1.0.33 §4.4 to §4.6): what lists files.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
};

use evenkeel_units::{ByteCount, Digest};

use super::{Header, Role, RoleName, body::Body, number};
use crate::{Object, TargetName, TrustError, Value, error::Found, fields::Fields};

/// What a list says about a metadata file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// Its version, from 1.
    pub version: u64,
    /// Its exact length, where the list tells it.
    pub length: Option<ByteCount>,
    /// Its SHA-256, where the list tells it.
    pub sha256: Option<Digest>,
}

impl FileMeta {
    /// What a list has to say about a file of these bytes.
    #[must_use]
    pub fn of(version: u64, bytes: &[u8]) -> Self {
        Self { version, length: Some(ByteCount(bytes.len() as u64)), sha256: Some(Digest::of(bytes)) }
    }

    /// Whether `bytes` are the listed file (TUF 1.0.33 §5.5.2, §5.6.2); the version is judged later, when a
    /// threshold is known to have signed it.
    pub(crate) fn admits(&self, list: RoleName, file: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let differs = |got, listed| Err(TrustError::Mismatch { file: file.into(), list, got, listed });
        let length = ByteCount(bytes.len() as u64);
        if let Some(listed) = self.length.filter(|listed| *listed != length) {
            return differs(Found::Length(length), Found::Length(listed));
        }
        let digest = Digest::of(bytes);
        match self.sha256.filter(|listed| *listed != digest) {
            Some(listed) => differs(Found::Sha256(digest), Found::Sha256(listed)),
            None => Ok(()),
        }
    }

    fn read(fields: &Fields<'_>) -> Result<Self, TrustError> {
        let length = match fields.optional("length") {
            Some(_) => Some(ByteCount(fields.number("length", 1, "a whole number from 1")?)),
            None => None,
        };
        let sha256 = fields.optional("hashes").map(|_| read_hash(fields)).transpose()?;
        Ok(Self { version: fields.number("version", 1, "a whole number from 1")?, length, sha256 })
    }

    fn write(&self) -> Value {
        let mut object = Object::from([("version".into(), number(self.version))]);
        object.extend(self.length.map(|length| ("length".into(), number(length.0))));
        object.extend(self.sha256.map(|sha256| ("hashes".into(), write_hash(sha256))));
        object.into()
    }
}

fn read_hash(fields: &Fields<'_>) -> Result<Digest, TrustError> {
    fields.object("hashes")?.parsed("sha256", "a SHA-256 of 64 lowercase hexadecimal digits")
}

fn write_hash(sha256: Digest) -> Value {
    Object::from([("sha256".into(), Value::Text(sha256.to_string()))]).into()
}

/// The contents of timestamp metadata (§4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// Version and expiry.
    pub header: Header,
    /// The newest snapshot.
    pub snapshot: FileMeta,
}

impl Role for Timestamp {
    const NAME: RoleName = RoleName::Timestamp;

    fn header(&self) -> Header {
        self.header
    }
}

impl Body for Timestamp {
    fn read(header: Header, signed: &Fields<'_>) -> Result<Self, TrustError> {
        let meta = signed.object("meta")?;
        Ok(Self { header, snapshot: FileMeta::read(&meta.object("snapshot.json")?)? })
    }

    fn write(&self, signed: &mut Object) {
        let meta = Object::from([(RoleName::Snapshot.file(), self.snapshot.write())]);
        signed.insert("meta".into(), meta.into());
    }
}

/// The contents of snapshot metadata (§4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version and expiry.
    pub header: Header,
    /// Every targets file of the repository, by name such as `targets.json`.
    pub meta: BTreeMap<String, FileMeta>,
}

impl Snapshot {
    /// A snapshot that lists the top-level targets file alone.
    #[must_use]
    pub fn of_targets(header: Header, targets: FileMeta) -> Self {
        Self { header, meta: BTreeMap::from([(RoleName::Targets.file(), targets)]) }
    }

    /// What it says about `targets.json`.
    ///
    /// # Errors
    /// It lists none.
    pub fn targets(&self) -> Result<FileMeta, TrustError> {
        let file = RoleName::Targets.file();
        self.meta.get(&file).copied().ok_or(TrustError::Field {
            role: RoleName::Snapshot,
            field: "signed.meta.".to_string() + &file,
            got: "missing".into(),
            expected: "the version of the targets metadata",
        })
    }
}

impl Role for Snapshot {
    const NAME: RoleName = RoleName::Snapshot;

    fn header(&self) -> Header {
        self.header
    }
}

impl Body for Snapshot {
    fn read(header: Header, signed: &Fields<'_>) -> Result<Self, TrustError> {
        let list = signed.object("meta")?;
        let meta = list.objects().map(|entry| {
            let (name, file) = entry?;
            Ok((name.to_string(), FileMeta::read(&file)?))
        });
        Ok(Self { header, meta: meta.collect::<Result<_, _>>()? })
    }

    fn write(&self, signed: &mut Object) {
        let meta: Object = self.meta.iter().map(|(name, file)| (name.clone(), file.write())).collect();
        signed.insert("meta".into(), meta.into());
    }
}

/// A file that may be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// Its exact length.
    pub length: ByteCount,
    /// Its SHA-256.
    pub sha256: Digest,
    /// What its publisher says about it, signed like the rest; for others to understand.
    pub custom: Option<Value>,
}

/// The contents of targets metadata (§4.5).
///
/// Differs from the specification: delegations are kept as they stand and not followed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Version and expiry.
    pub header: Header,
    /// The files, by name.
    pub targets: BTreeMap<TargetName, TargetFile>,
    /// The `delegations` object, unread.
    pub delegations: Option<Value>,
}

impl Role for Targets {
    const NAME: RoleName = RoleName::Targets;

    fn header(&self) -> Header {
        self.header
    }
}

impl Body for Targets {
    fn read(header: Header, signed: &Fields<'_>) -> Result<Self, TrustError> {
        let list = signed.object("targets")?;
        let targets = list.objects().map(|entry| {
            let (name, file) = entry?;
            let expected = "a target under a path that stays in its folder";
            Ok((name.parse().map_err(|_| list.refuse(name, expected))?, read_target(&file)?))
        });
        let targets = targets.collect::<Result<_, _>>()?;
        Ok(Self { header, targets, delegations: signed.optional("delegations").cloned() })
    }

    fn write(&self, signed: &mut Object) {
        let targets: Object =
            self.targets.iter().map(|(name, file)| (name.to_string(), write_target(file))).collect();
        signed.insert("targets".into(), targets.into());
        signed.extend(self.delegations.clone().map(|delegations| ("delegations".into(), delegations)));
    }
}

fn read_target(file: &Fields<'_>) -> Result<TargetFile, TrustError> {
    let length = ByteCount(file.number("length", 0, "a whole number from 0")?);
    Ok(TargetFile { length, sha256: read_hash(file)?, custom: file.optional("custom").cloned() })
}

fn write_target(file: &TargetFile) -> Value {
    let mut object =
        Object::from([("length".into(), number(file.length.0)), ("hashes".into(), write_hash(file.sha256))]);
    object.extend(file.custom.clone().map(|custom| ("custom".into(), custom)));
    object.into()
}
