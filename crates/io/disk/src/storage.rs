//! One place for an image: a partition or a file, by the same calls.
//!
//! Owns: sizes, positioned writes, flushing, and reading from the storage rather than from memory.

use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use evenkeel_units::ByteCount;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::Error;

/// An open partition or file.
#[derive(Debug)]
pub struct Storage {
    file: File,
    path: PathBuf,
    size: ByteCount,
}

impl Storage {
    /// Opens a place for reading only.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_read(path: &Path) -> Result<Self, Error> {
        Self::open(path, OpenOptions::new().read(true))
    }

    /// Opens a place for reading and writing. It must be there: a slot is never made by the agent.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_write(path: &Path) -> Result<Self, Error> {
        Self::open(path, OpenOptions::new().read(true).write(true))
    }

    /// Opens a file for reading and writing, and makes it when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    fn open(path: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let refuse = |source| Error::Open { path: path.into(), source };
        let mut file = options.open(path).map_err(refuse)?;
        // The end of a block device is its size too, so both kinds are measured alike.
        let size = ByteCount(file.seek(SeekFrom::End(0)).map_err(refuse)?);
        Ok(Self { file, path: path.into(), size })
    }

    /// What it holds: the size of the partition, or the length that the file had when it was opened.
    #[must_use]
    pub const fn size(&self) -> ByteCount {
        self.size
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that an image fits, before a byte of it is written.
    ///
    /// # Errors
    /// [`Error::TooSmall`].
    pub fn check_room(&self, need: ByteCount) -> Result<(), Error> {
        if need <= self.size {
            return Ok(());
        }
        Err(Error::TooSmall { path: self.path.clone(), have: self.size, need })
    }

    /// Writes all of `bytes` at `offset`; durable only after [`Storage::flush`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(|source| Error::write(&self.path, source))
    }

    /// Reads exactly as many bytes as `bytes` has, from `offset`.
    ///
    /// # Errors
    /// When the system refuses or the place ends before.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_exact_at(bytes, offset).map_err(|source| Error::read(&self.path, source))
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn flush(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| Error::write(&self.path, source))
    }

    /// Cuts or extends a file to a length.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_length(&mut self, length: ByteCount) -> Result<(), Error> {
        self.file.set_len(length.0).map_err(|source| Error::write(&self.path, source))?;
        self.size = length;
        Ok(())
    }

    /// Lets the system forget what it holds in memory of this place, so that the next read is from the
    /// storage itself. Where the system cannot, reading still tells what it would start from.
    pub fn forget_cached(&self) {
        if let Err(error) = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            tracing::debug!(path = %self.path.display(), %error, "cached pages stay");
        }
    }
}
