//! Which release the signed boot image belongs to, read from the kernel command line.
//!
//! Owns: the parameters `evenkeel.version=` and `evenkeel.root_hash=`. Leaves to others: finding that release on a
//! disk (`slot`). Invariant: a parameter given twice is refused, so that nothing appended to the command line can
//! replace what was signed.

use std::{fs, path::Path};

use evenkeel_units::{Digest, Version};

use crate::error::Error;

/// The release that the boot image starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// Its version.
    pub(crate) version: Version,
    /// The dm-verity root hash of its root image.
    pub(crate) root_hash: Digest,
}

impl Release {
    /// Reads the kernel command line from `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&fs::read_to_string(path).map_err(Error::file(path))?)
    }

    fn parse(cmdline: &str) -> Result<Self, Error> {
        let version = value(cmdline, "evenkeel.version")?;
        let root_hash = value(cmdline, "evenkeel.root_hash")?;
        Ok(Self {
            version: version.parse().map_err(|error| unusable("evenkeel.version", &error))?,
            root_hash: root_hash.parse().map_err(|error| unusable("evenkeel.root_hash", &error))?,
        })
    }
}

/// The value of the one `parameter=value` in the command line.
fn value<'a>(cmdline: &'a str, parameter: &'static str) -> Result<&'a str, Error> {
    let mut values = cmdline.split_ascii_whitespace().filter_map(|word| {
        word.split_once('=').filter(|(name, _)| *name == parameter).map(|(_, value)| value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Error::CommandLine { parameter, problem: "is missing".to_owned() }),
        (Some(_), Some(_)) => Err(Error::CommandLine { parameter, problem: "is there twice".to_owned() }),
    }
}

fn unusable(parameter: &'static str, error: &impl ToString) -> Error {
    Error::CommandLine { parameter, problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_release_is_read_from_between_other_parameters() {
        let cmdline =
            format!("console=ttyS0 evenkeel.version=1.10.2 panic=5 evenkeel.root_hash={HASH} quiet\n");
        let release = Release::parse(&cmdline).unwrap();
        assert_eq!(release, Release { version: Version::new(1, 10, 2), root_hash: Digest::of(b"abc") });
    }

    #[test]
    fn a_command_line_that_is_incomplete_doubled_or_malformed_is_refused_with_the_parameter() {
        let cases = [
            (format!("evenkeel.root_hash={HASH}"), "`evenkeel.version` is missing"),
            ("evenkeel.version=1.0.0".to_owned(), "`evenkeel.root_hash` is missing"),
            (
                format!("evenkeel.version=1.0.0 evenkeel.root_hash={HASH} evenkeel.version=1.0.0"),
                "is there twice",
            ),
            (format!("evenkeel.version=1 evenkeel.root_hash={HASH}"), "`1` is not a version"),
            ("evenkeel.version=1.0.0 evenkeel.root_hash=ba78".to_owned(), "`ba78` is not a SHA-256 digest"),
        ];
        for (cmdline, expected) in cases {
            let message = Release::parse(&cmdline).unwrap_err().to_string();
            assert!(message.contains(expected), "{cmdline}: {message}");
        }
    }
}
