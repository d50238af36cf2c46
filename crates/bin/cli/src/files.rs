//! Files that the command reads and writes.
//!
//! Owns: limits while reading, and writing whole or not at all: under a temporary name, flushed, renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use evenkeel_units::ByteCount;

/// Reads a file of at most `limit`.
///
/// # Errors
/// When it cannot be read or is longer.
pub(crate) fn read(path: &Path, limit: ByteCount) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit.0 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    if bytes.len() as u64 > limit.0 {
        bail!("{} is longer than {limit}, so it is not what it should be; check the name", path.display());
    }
    Ok(bytes)
}

/// Like [`read`]; nothing where there is no such file.
///
/// # Errors
/// When it is there and cannot be read, or is longer.
pub(crate) fn read_if_there(path: &Path, limit: ByteCount) -> Result<Option<Vec<u8>>> {
    if path.try_exists().with_context(|| format!("{} cannot be looked at", path.display()))? {
        read(path, limit).map(Some)
    } else {
        Ok(None)
    }
}

/// Reads a file that holds a secret, which nobody else may read.
///
/// # Errors
/// When it cannot be read, is longer, or is open to others.
pub(crate) fn read_secret(path: &Path, limit: ByteCount) -> Result<Vec<u8>> {
    let bytes = read(path, limit)?;
    let mode = fs::metadata(path).with_context(|| format!("{} cannot be looked at", path.display()))?;
    let mode = mode.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "{0} holds a secret and is open to others (mode {mode:04o}); run `chmod 600 {0}`",
            path.display()
        );
    }
    Ok(bytes)
}

/// Writes a new secret file with mode 0600.
///
/// # Errors
/// When it is there already, or cannot be written.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(|| {
            format!(
                "{} cannot be made; an existing key is never overwritten: give another name",
                path.display()
            )
        })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Replaces a file, or makes it: whoever reads it sees the old bytes or the new ones.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Replacement::begin(path)?;
    file.write(bytes)?;
    file.keep()
}

/// A file being written beside the one that it will replace; gone again unless it is kept.
pub(crate) struct Replacement {
    file: File,
    destination: PathBuf,
    temporary: PathBuf,
    kept: bool,
}

impl Replacement {
    /// Begins to replace `path`.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = File::create(&temporary)
            .with_context(|| format!("{} cannot be written; check that its folder exists", path.display()))?;
        Ok(Self { file, destination: path.into(), temporary, kept: false })
    }

    /// Where the bytes are for now.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("{} cannot be written", self.destination.display()))
    }

    /// Makes it durable and puts it in the place of the old file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.destination))
            .with_context(|| format!("{} cannot be written", self.destination.display()))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.kept {
            // Left over at the worst; the old file is as it was.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
