//! Secrets of the server: made once, at first start, in files that only its user may read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use evenkeel_trust::{KeyFile, KeyFileError, RoleName, SigningKey};
use evenkeel_units::Digest;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error(
        "the secret {path} cannot be read or made; the data directory has to belong to the server's user"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the secret {path} may be read by others (mode {mode:o}); take it back with `chmod 600 {path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not what it should be.
    #[error("the key {path} is damaged; restore it from a copy")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyFileError,
    },
    /// It is not what it should be.
    #[error("{path} does not hold an operator's token; remove it, and a new one is made at the next start")]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The system has no entropy.
    #[error("the system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
}

/// 32 random bytes.
///
/// # Errors
/// When the system gives none.
pub fn random() -> Result<[u8; 32], SecretError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(SecretError::Entropy)?;
    Ok(bytes)
}

/// A token of 256 random bits, as 64 hexadecimal digits.
///
/// # Errors
/// When the system gives no entropy.
pub fn new_token() -> Result<String, SecretError> {
    Ok(Digest::from_bytes(random()?).to_string())
}

/// The digest of the operator's token. Tokens are compared by digest, so time tells nothing about them.
#[derive(Clone, Copy)]
pub struct OperatorToken(Digest);

impl OperatorToken {
    /// Reads the token from `folder`, or makes one.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no token.
    pub fn open(folder: &Path) -> Result<Self, SecretError> {
        let path = folder.join("operator-token");
        let text = read_or_make(&path, || Ok(new_token()? + "\n"))?;
        let token = text.trim();
        if token.len() < 32 {
            return Err(SecretError::Token { path });
        }
        Ok(Self(Digest::of(token.as_bytes())))
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is(&self, token: &str) -> bool {
        Digest::of(token.as_bytes()) == self.0
    }
}

/// The keys that sign snapshot and timestamp.
#[derive(Debug)]
pub struct OnlineKeys {
    /// Signs snapshots.
    pub snapshot: SigningKey,
    /// Signs timestamps.
    pub timestamp: SigningKey,
}

impl OnlineKeys {
    /// Reads the keys from `folder`, or makes them.
    ///
    /// # Errors
    /// When a file cannot be read or made, or is damaged.
    pub fn open(folder: &Path) -> Result<Self, SecretError> {
        let snapshot = open_key(&folder.join("snapshot-key.json"), RoleName::Snapshot)?;
        let timestamp = open_key(&folder.join("timestamp-key.json"), RoleName::Timestamp)?;
        Ok(Self { snapshot, timestamp })
    }
}

fn open_key(path: &Path, role: RoleName) -> Result<SigningKey, SecretError> {
    let text = read_or_make(path, || Ok(KeyFile { role, key: SigningKey::from_seed(&random()?) }.text()))?;
    let file = KeyFile::parse(text.as_bytes());
    file.map(|file| file.key).map_err(|source| SecretError::Key { path: path.to_path_buf(), source })
}

/// The text of a secret; a new one is written aside, synced and renamed, so that it is whole or not there.
fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<String, SecretError>,
) -> Result<String, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_path_buf(), source };
    match fs::read_to_string(path) {
        Ok(text) => {
            let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(SecretError::Open { path: path.to_path_buf(), mode });
            }
            return Ok(text);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = make()?;
    let aside = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&aside, path).and_then(|()| crate::store::sync_folder_of(path)).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let token = OperatorToken::open(folder.path()).unwrap();
        let keys = OnlineKeys::open(folder.path()).unwrap();
        for file in ["operator-token", "snapshot-key.json", "timestamp-key.json"] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let text = fs::read_to_string(folder.path().join("operator-token")).unwrap();
        assert!(token.is(text.trim()) && !token.is("") && !token.is(&text));
        assert!(OperatorToken::open(folder.path()).unwrap().is(text.trim()));
        assert_eq!(OnlineKeys::open(folder.path()).unwrap().snapshot.public(), keys.snapshot.public());
        assert_ne!(keys.snapshot.public(), keys.timestamp.public());
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        OperatorToken::open(folder.path()).unwrap();
        let path = folder.path().join("operator-token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let Err(error) = OperatorToken::open(folder.path()) else { panic!("it was taken") };
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
