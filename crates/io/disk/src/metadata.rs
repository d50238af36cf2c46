//! The trusted TUF metadata as files, each replaced whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use evenkeel_trust::{Kept, limits};
use evenkeel_units::ByteCount;

use crate::Error;

const FILES: [(&str, ByteCount); 4] = [
    ("root.json", limits::ROOT),
    ("timestamp.json", limits::TIMESTAMP),
    ("snapshot.json", limits::SNAPSHOT),
    ("targets.json", limits::TARGETS),
];

/// The folder of the metadata that this box has seen and trusts.
#[derive(Debug, Clone)]
pub struct MetadataFiles {
    directory: PathBuf,
}

impl MetadataFiles {
    /// The folder, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|source| Error::write(directory, source))?;
        Ok(Self { directory: directory.into() })
    }

    /// What was kept; a file that is missing or too long is not there.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn load(&self) -> Result<Kept, Error> {
        let [root, timestamp, snapshot, targets] = FILES.map(|(name, limit)| self.read(name, limit));
        Ok(Kept {
            root: root?.unwrap_or_default(),
            timestamp: timestamp?,
            snapshot: snapshot?,
            targets: targets?,
        })
    }

    fn read(&self, name: &str, limit: ByteCount) -> Result<Option<Vec<u8>>, Error> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(limit.0 + 1).read_to_end(&mut bytes)) {
            Ok(length) => Ok((length as u64 <= limit.0).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::read(path, error)),
        }
    }

    /// Keeps what is trusted now, durably. Targets first and the timestamp last: whatever a loss of power
    /// leaves is a set that the next refresh completes.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn store(&self, kept: &Kept) -> Result<(), Error> {
        let contents =
            [Some(&kept.root), kept.timestamp.as_ref(), kept.snapshot.as_ref(), kept.targets.as_ref()];
        for index in [0, 3, 2, 1] {
            let (name, limit) = FILES[index];
            match contents[index] {
                Some(bytes) if self.read(name, limit)?.as_ref() == Some(bytes) => {}
                Some(bytes) => self.replace(name, bytes)?,
                None => self.remove(name)?,
            }
        }
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::write(&self.directory, source))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, new) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        File::create(&new)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| Error::write(path, source))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_loaded_and_what_is_no_longer_trusted_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let files = MetadataFiles::open(directory.path()).unwrap();
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let first = Kept {
            root: b"root".to_vec(),
            timestamp: bytes("time"),
            snapshot: bytes("snap"),
            targets: bytes("targets"),
        };
        let rotated = Kept { timestamp: None, snapshot: None, ..first.clone() };
        for kept in [first, rotated] {
            files.store(&kept).unwrap();
            assert_eq!(files.load().unwrap(), kept);
        }
    }
}
