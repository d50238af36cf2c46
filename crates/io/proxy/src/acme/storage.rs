//! What is kept of ACME: an account for each authority, and a certificate with its key for each listener.
//!
//! Owns: two files in one folder. Invariants: a file is replaced as a whole or not at all; nobody but the data plane's
//! user can read a key.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use evenkeel_config::balancer::Acme;

/// Where the certificate of a listener is kept, which has its key in it.
pub(crate) fn certificate_path(folder: &Path, acme: &Acme, listener: &str) -> PathBuf {
    folder.join(acme.storage.as_str()).join(format!("{listener}.pem"))
}

/// Where the account with an authority is kept.
pub(super) fn account_path(folder: &Path, acme: &Acme) -> PathBuf {
    let authority = acme.directory.trim_start_matches("https://");
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let name: String = authority.chars().map(plain).take(200).collect();
    folder.join(acme.storage.as_str()).join(format!("account-{name}.json"))
}

/// What keeps the folder from being made: a file in its place, or in the place of a folder that it is to be in.
pub(crate) fn obstacle(folder: &Path, acme: &Acme) -> Option<PathBuf> {
    let storage = folder.join(acme.storage.as_str());
    let is_file = |path: &&Path| fs::metadata(path).is_ok_and(|found| !found.is_dir());
    storage.ancestors().find(is_file).map(Path::to_owned)
}

/// Replaces a file so that after a power cut it is either the old or the new one.
///
/// # Errors
/// What the system said.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}
