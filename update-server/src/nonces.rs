//! Nonces across restarts: a file of those seen, so that a request recorded before cannot be replayed after.
//!
//! Appended without sync: it survives kill -9, and what a loss of power may take are requests of its last
//! seconds, which are stale by the time that a machine has started again with a wrong clock at worst 300 s off.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use evenkeel_protocol::{Authentic, Nonce, Replayed, SIGNATURE_WINDOW, SeenNonces};
use evenkeel_units::{DeviceId, WallTime};

/// Lines after which the file is written anew with what still counts: 8 MB.
const REWRITE_AFTER: usize = 100_000;

/// The nonces that were seen, in memory and in a file.
#[derive(Debug)]
pub struct NonceFile {
    path: PathBuf,
    file: File,
    seen: SeenNonces,
    appended: usize,
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NonceError {
    /// It came before, or too many came.
    #[error(transparent)]
    Replayed(#[from] Replayed),
    /// The file cannot be read or written.
    #[error("the nonces {path} cannot be kept; free space or mend the disk")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl NonceFile {
    /// Reads what an earlier life of the server has seen.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn open(path: &Path, now: WallTime) -> Result<Self, NonceError> {
        let failed = |source| NonceError::Io { path: path.to_path_buf(), source };
        let mut seen = SeenNonces::default();
        match File::open(path) {
            Ok(file) => {
                // A last line cut short is of a request that was never answered.
                let lines = BufReader::new(file).lines().map_while(Result::ok);
                let entries = lines.filter_map(|line| read_line(&line));
                for (device, nonce, created) in entries.filter(|entry| now.since(entry.2) <= SIGNATURE_WINDOW)
                {
                    seen.recall(device, nonce, created);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let file = write_anew(path, &seen).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), file, seen, appended: 0 })
    }

    /// Takes a request in, once.
    ///
    /// # Errors
    /// When it was taken in before, too many are remembered, or the file cannot be written.
    pub fn admit(&mut self, request: &Authentic, now: WallTime) -> Result<(), NonceError> {
        self.seen.admit(request, now)?;
        let line = write_line(request.device(), request.nonce(), request.created());
        let path = &self.path;
        let failed = |source| NonceError::Io { path: path.clone(), source };
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        self.appended += 1;
        if self.appended >= REWRITE_AFTER {
            self.file = write_anew(&self.path, &self.seen).map_err(failed)?;
            self.appended = 0;
        }
        Ok(())
    }
}

fn write_line(device: DeviceId, nonce: Nonce, created: WallTime) -> String {
    format!("{} {device} {nonce}\n", created.unix_seconds())
}

fn read_line(line: &str) -> Option<(DeviceId, Nonce, WallTime)> {
    let mut parts = line.split(' ');
    let created = parts.next()?.parse().ok().map(WallTime::from_unix_seconds)?;
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, created))
}

/// Writes the file aside and renames it, so that it is the old or the new one.
fn write_anew(path: &Path, seen: &SeenNonces) -> io::Result<File> {
    let aside = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&aside)?);
    for (device, nonce, created) in seen.iter() {
        out.write_all(write_line(device, nonce, created).as_bytes())?;
    }
    out.flush()?;
    std::fs::rename(&aside, path)?;
    OpenOptions::new().append(true).open(path)
}
