//! What can keep a box from starting, each with its remedy.
//!
//! Owns: the texts a person reads on the console. Leaves to others: showing them and restarting (`console`).
//! Invariant: every text names the thing and what to do, for nobody can log in to find out more.

use std::{io, path::PathBuf};

use evenkeel_units::Version;

/// Why the box cannot start this release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file of the initrd, of /proc or of /sys could not be read or written.
    #[error("{}: {source}; if this stays after a restart, install the release again", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel command line lacks a parameter, or its value cannot be used.
    #[error(
        "kernel command line: `{parameter}` {problem}; the boot image was not built by scripts/image: install it again"
    )]
    CommandLine {
        /// Which parameter.
        parameter: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A module that the box needs did not load.
    #[error(
        "kernel module {module}: {source}; the boot image is damaged or not of this kernel: install it again"
    )]
    Module {
        /// The module's file.
        module: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No disk with all of the box's partitions appeared in time.
    #[error(
        "no disk with the partitions {wanted} within {seconds} s (found: {found}); check the disk and its cable, or \
         install the box again"
    )]
    NoDisk {
        /// The labels that one disk must have.
        wanted: String,
        /// The labelled partitions that were found.
        found: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Neither slot holds the release that the boot image belongs to.
    #[error(
        "no slot holds release {version} ({found}); the update was not written completely: install it again"
    )]
    NoSlot {
        /// The release of the boot image.
        version: Version,
        /// What the two slots hold instead.
        found: String,
    },
    /// A request to the device mapper failed.
    #[error("device mapper: {step} of the root image: {source}; install the release again")]
    DeviceMapper {
        /// Which request.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file system could not be mounted.
    #[error("mounting {source_path} on {target}: {source}; {remedy}")]
    Mount {
        /// What was to be mounted.
        source_path: String,
        /// Where.
        target: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The root is mounted, but systemd could not take over.
    #[error("handing over to systemd: {step}: {source}; the release is not usable: install another one")]
    HandOver {
        /// Which step.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Makes an I/O error of `path` into an [`Error`].
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
