//! Why storage could not be used.

use std::{io, path::PathBuf};

use evenkeel_units::{ByteCount, Slot};

/// Why storage could not be used: the file or partition, what was tried, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open {}; check that it exists and that the agent may write it", path.display())]
    Open {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}; check the storage that it is on", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written, or not durably.
    #[error("cannot write {}; check the storage that it is on", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no room left.
    #[error("no room left to write {}; free space on its partition, or give it a larger one", path.display())]
    Full {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image is larger than its place.
    #[error(
        "{} has {have}, but the release needs {need}; flash the box with larger slots", path.display()
    )]
    TooSmall {
        /// The place.
        path: PathBuf,
        /// What it holds.
        have: ByteCount,
        /// What the image needs.
        need: ByteCount,
    },
    /// A slot is written that was not opened for it: a fault of ours.
    #[error("slot {slot} is not open; the agent begins the release again")]
    NotOpened {
        /// The slot.
        slot: Slot,
    },
    /// What was read back is not what was written.
    #[error(
        "{} reads back {got}, expected {expected}; the storage may be failing: replace it if this is \
         said again", path.display()
    )]
    ReadBack {
        /// What.
        path: PathBuf,
        /// What came.
        got: String,
        /// What should have come.
        expected: String,
    },
    /// The file that says what runs is not in its form.
    #[error("{} is not the record of a start: {reason}; the init of the release writes it", path.display())]
    BootRecord {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The restart could not be asked for.
    #[error("cannot restart the box by `{command}`: {reason}; restart it by hand")]
    Restart {
        /// What was tried.
        command: &'static str,
        /// What came of it.
        reason: String,
    },
}

impl Error {
    /// Whether another attempt cannot help, because the release does not fit this box.
    #[must_use]
    pub const fn is_unfit(&self) -> bool {
        matches!(self, Self::TooSmall { .. })
    }

    /// The error of a write; being full has a remedy of its own.
    pub(crate) fn write(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Write { path, source },
        }
    }

    pub(crate) fn read(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }
}
