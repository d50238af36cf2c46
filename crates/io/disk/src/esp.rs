//! The EFI system partition: boot entries, and the one file that becomes a boot entry.
//!
//! Owns: the order of calls that makes each change happen or not happen. FAT has no journal: contents are
//! flushed before a name leads to them, and the directory is flushed before the change counts as done.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use evenkeel_boot::{Change, Entries, EntryName, STAGED_NAME};
use evenkeel_units::ByteCount;
use nix::sys::statvfs::statvfs;

use crate::{Error, Storage};

/// Where the loader looks for unified kernel images (UAPI Boot Loader Specification, Type #2).
const ENTRIES: &str = "EFI/Linux";

/// The directory of boot entries on a mounted EFI system partition.
#[derive(Debug, Clone)]
pub struct Esp {
    directory: PathBuf,
}

impl Esp {
    /// The partition that is mounted at `mount_point`.
    #[must_use]
    pub fn new(mount_point: &Path) -> Self {
        Self { directory: mount_point.join(ENTRIES) }
    }

    /// The entries that are there now.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn entries(&self) -> Result<Entries, Error> {
        let refuse = |source| Error::read(&self.directory, source);
        let names: Result<Vec<_>, io::Error> =
            fs::read_dir(&self.directory).map_err(refuse)?.map(|entry| Ok(entry?.file_name())).collect();
        let names = names.map_err(refuse)?;
        Ok(Entries::from_names(names.iter().filter_map(|name| name.to_str())))
    }

    /// The path of an entry.
    #[must_use]
    pub fn path_of(&self, entry: EntryName) -> PathBuf {
        self.directory.join(entry.to_string())
    }

    /// The path of the file that becomes an entry.
    #[must_use]
    pub fn staged_path(&self) -> PathBuf {
        self.directory.join(STAGED_NAME)
    }

    /// Makes one change, durably. A change that was made before is done.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn change(&self, change: Change) -> Result<(), Error> {
        match change {
            Change::Rename { from, to } => self.rename(&self.path_of(from), &self.path_of(to)),
            Change::Remove(entry) => {
                let path = self.path_of(entry);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(path, error)),
                    Ok(()) | Err(_) => self.flush(),
                }
            }
        }
    }

    /// Opens the file that becomes an entry, of `length` bytes, and checks that there is room for it.
    ///
    /// # Errors
    /// When there is no room, or the system refuses.
    pub fn stage(&self, length: ByteCount) -> Result<Storage, Error> {
        let mut staged = Storage::create(&self.staged_path())?;
        let free = statvfs(&self.directory).map_err(|errno| Error::read(&self.directory, errno.into()))?;
        let have = ByteCount(free.blocks_available() * free.fragment_size() + staged.size().0);
        if have < length {
            return Err(Error::TooSmall { path: self.directory.clone(), have, need: length });
        }
        if staged.size() != length {
            staged.set_length(length)?;
        }
        Ok(staged)
    }

    /// Gives the staged file its name as an entry, durably: the one write that makes a release bootable.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn install(&self, entry: EntryName) -> Result<(), Error> {
        self.rename(&self.staged_path(), &self.path_of(entry))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        match fs::rename(from, to) {
            // Done before, and power failed before we could remember it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => self.flush(),
            Err(error) => Err(Error::write(to, error)),
            Ok(()) => self.flush(),
        }
    }

    fn flush(&self) -> Result<(), Error> {
        let refuse = |source| Error::write(&self.directory, source);
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_units::Version;

    use super::*;

    const VERSION: Version = Version::new(1, 1, 0);

    fn esp() -> (tempfile::TempDir, Esp) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(ENTRIES)).unwrap();
        let esp = Esp::new(root.path());
        (root, esp)
    }

    #[test]
    fn a_staged_file_is_no_entry_until_it_is_installed_and_every_change_may_be_repeated() {
        let (_root, esp) = esp();
        esp.stage(ByteCount(4)).unwrap().write_at(b"kern", 0).unwrap();
        assert_eq!(esp.entries().unwrap(), Entries::default());
        let entry = EntryName::trial(VERSION, 3);
        for _ in 0..2 {
            esp.install(entry).unwrap();
            assert_eq!(esp.entries().unwrap().as_slice(), [entry]);
        }
        let blessed = esp.entries().unwrap().bless(VERSION).unwrap();
        for _ in 0..2 {
            esp.change(blessed).unwrap();
            assert_eq!(fs::read(esp.path_of(EntryName::kept(VERSION))).unwrap(), b"kern");
        }
        for _ in 0..2 {
            esp.change(Change::Remove(EntryName::kept(VERSION))).unwrap();
            assert_eq!(esp.entries().unwrap(), Entries::default());
        }
    }

    #[test]
    fn a_kernel_image_larger_than_the_partition_is_refused_before_it_is_written() {
        let (_root, esp) = esp();
        let error = esp.stage(ByteCount(u64::MAX / 2)).unwrap_err();
        assert!(error.is_unfit());
        assert!(error.to_string().contains("EFI/Linux has"), "{error}");
    }

    #[test]
    fn renaming_what_is_not_there_is_an_error() {
        let (_root, esp) = esp();
        assert!(esp.install(EntryName::kept(VERSION)).is_err());
    }
}
