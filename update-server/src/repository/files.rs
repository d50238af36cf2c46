//! The repository's files: names that cannot leave their folder, and writes that are whole or not there.

use std::{
    fmt, fs,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use evenkeel_protocol::Label;
use evenkeel_trust::RoleName;
use evenkeel_units::{ByteCount, Digest, Hasher};

use super::RepositoryError;
use crate::{limits, store::sync_folder_of};

/// The name of a metadata file as devices ask for it: `timestamp.json`, or `N.ROLE.json` of the other roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataName {
    role: RoleName,
    version: Option<u64>,
}

impl MetadataName {
    pub(super) const fn timestamp() -> Self {
        Self { role: RoleName::Timestamp, version: None }
    }

    pub(super) const fn versioned(version: u64, role: RoleName) -> Self {
        Self { role, version: Some(version) }
    }

    /// The version in the name; the timestamp has none.
    #[must_use]
    pub const fn version(&self) -> Option<u64> {
        self.version
    }
}

impl fmt::Display for MetadataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{version}.{}.json", self.role),
            None => write!(f, "{}.json", self.role),
        }
    }
}

impl FromStr for MetadataName {
    type Err = ();

    /// Accepts the names that it writes and no others.
    fn from_str(text: &str) -> Result<Self, ()> {
        let versioned = |role: RoleName| {
            let version = text.strip_suffix(&role.file())?.strip_suffix('.')?.parse().ok()?;
            Some(Self::versioned(version, role))
        };
        let roles = [RoleName::Root, RoleName::Snapshot, RoleName::Targets];
        let name = roles.into_iter().find_map(versioned).unwrap_or(Self::timestamp());
        if name.to_string() == text { Ok(name) } else { Err(()) }
    }
}

/// Where the repository's files lie.
#[derive(Debug)]
pub struct Files {
    metadata: PathBuf,
    targets: PathBuf,
    uploads: PathBuf,
    next_upload: AtomicU64,
}

impl Files {
    /// Opens the folders below `folder`; what was being uploaded when the server ended is swept away.
    pub(super) fn open(folder: &Path) -> Result<Self, RepositoryError> {
        let [metadata, targets, uploads] = ["metadata", "targets", "uploads"].map(|name| folder.join(name));
        if uploads.exists() {
            fs::remove_dir_all(&uploads).map_err(failed("swept", &uploads))?;
        }
        for path in [&metadata, &targets, &uploads] {
            fs::create_dir_all(path).map_err(failed("made", path))?;
        }
        Ok(Self { metadata, targets, uploads, next_upload: AtomicU64::new(0) })
    }

    /// The versions of a role that are there, in order.
    pub(super) fn versions(&self, role: RoleName) -> Result<Vec<u64>, RepositoryError> {
        let entries = fs::read_dir(&self.metadata).map_err(failed("read", &self.metadata))?;
        let mut versions = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.metadata))?;
            let name = entry.file_name().to_str().and_then(|name| name.parse::<MetadataName>().ok());
            versions.extend(name.filter(|name| name.role == role).and_then(|name| name.version));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    pub(super) fn read(&self, name: &MetadataName) -> Result<Vec<u8>, RepositoryError> {
        let path = self.metadata_path(name);
        fs::read(&path).map_err(failed("read", &path))
    }

    pub(super) fn read_if_there(&self, name: &MetadataName) -> Result<Option<Vec<u8>>, RepositoryError> {
        let path = self.metadata_path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// Where a metadata file is.
    #[must_use]
    pub fn metadata_path(&self, name: &MetadataName) -> PathBuf {
        self.metadata.join(name.to_string())
    }

    pub(super) fn write(&self, name: &MetadataName, bytes: &[u8]) -> Result<(), RepositoryError> {
        let path = self.metadata_path(name);
        let aside = path.with_extension("new");
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            sync_folder_of(&path)
        };
        write().map_err(failed("written", &path))
    }

    pub(super) fn bundle_path(&self, name: &str, sha256: Digest) -> PathBuf {
        self.targets.join(format!("{sha256}.{name}"))
    }

    /// The length of a bundle, if it is there.
    pub(super) fn bundle_length(&self, name: &str, sha256: Digest) -> Option<ByteCount> {
        let data = fs::metadata(self.bundle_path(name, sha256)).ok()?;
        data.is_file().then_some(ByteCount(data.len()))
    }

    /// Begins to receive a bundle of this name and digest.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn upload(&self, name: &Label, sha256: Digest) -> Result<Upload, UploadError> {
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let aside = self.uploads.join(number.to_string());
        let file = File::create_new(&aside).map_err(UploadError::Disk)?;
        let place = self.bundle_path(name.as_str(), sha256);
        Ok(Upload { file, aside, place, sha256, hasher: Hasher::new(), length: ByteCount(0) })
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RepositoryError {
    move |source| RepositoryError::Io { path: path.to_path_buf(), action, source }
}

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It is too long.
    #[error("the bundle is longer than {}; nothing of it was kept", limits::BUNDLE)]
    TooLong,
    /// It is not what was announced.
    #[error(
        "the bundle has SHA-256 {got}, but `Content-Digest` says {announced}; nothing was kept, upload it again"
    )]
    Digest {
        /// What came.
        got: Digest,
        /// What was announced.
        announced: Digest,
    },
    /// The disk.
    #[error("the bundle cannot be stored: {0}; free space in the data directory and upload it again")]
    Disk(io::Error),
}

/// A bundle on its way in: it appears under its name only when it is whole and right.
pub struct Upload {
    file: File,
    aside: PathBuf,
    place: PathBuf,
    sha256: Digest,
    hasher: Hasher,
    length: ByteCount,
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the bundle gets too long, or the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.length.0 += bytes.len() as u64;
        if self.length > limits::BUNDLE {
            return Err(UploadError::TooLong);
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(UploadError::Disk)
    }

    /// Puts the bundle in its place, durably, and gives its length.
    ///
    /// # Errors
    /// When it is not what was announced, or the disk fails.
    pub fn finish(mut self) -> Result<ByteCount, UploadError> {
        let got = std::mem::take(&mut self.hasher).finish();
        if got != self.sha256 {
            return Err(UploadError::Digest { got, announced: self.sha256 });
        }
        self.file.sync_all().map_err(UploadError::Disk)?;
        fs::rename(&self.aside, &self.place).map_err(UploadError::Disk)?;
        sync_folder_of(&self.place).map_err(UploadError::Disk)?;
        Ok(self.length)
    }
}

impl Drop for Upload {
    /// Removes what did not get to its place; after a rename there is nothing left to remove.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.aside.display(), %error, "an unfinished upload stays until the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_metadata_are_names() {
        for text in ["timestamp.json", "1.root.json", "12.snapshot.json", "3.targets.json"] {
            assert_eq!(text.parse::<MetadataName>().map(|name| name.to_string()), Ok(text.to_string()));
        }
        for text in
            ["", "root.json", "../1.root.json", "01.root.json", "+1.root.json", "1.timestamp.json", "1.root"]
        {
            assert!(text.parse::<MetadataName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bundle_appears_only_when_it_is_what_was_announced() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(folder.path()).unwrap();
        let (name, sha256) = ("a.bundle".parse().unwrap(), Digest::of(b"whole"));
        let mut upload = files.upload(&name, sha256).unwrap();
        upload.write(b"who").unwrap();
        assert!(matches!(upload.finish(), Err(UploadError::Digest { .. })));
        assert_eq!(files.bundle_length("a.bundle", sha256), None);
        let mut upload = files.upload(&name, sha256).unwrap();
        upload.write(b"who").unwrap();
        upload.write(b"le").unwrap();
        assert_eq!(upload.finish().unwrap(), ByteCount(5));
        assert_eq!(files.bundle_length("a.bundle", sha256), Some(ByteCount(5)));
        assert_eq!(fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
    }
}
