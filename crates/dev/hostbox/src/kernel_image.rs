//! The kernel image of a box without a kernel: the command line alone, as text.
//!
//! Invariant: the keys are those of a real image's command line, so that what binds a boot entry to a slot is the
//! same on both.

use anyhow::{Context, Result};
use evenkeel_units::{Digest, Version};

/// What a kernel image says on its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The release.
    pub(crate) version: Version,
    /// The root hash of its root image's verity tree.
    pub(crate) root_hash: Digest,
}

impl CommandLine {
    /// The text of the image.
    pub(crate) fn text(&self) -> String {
        format!("evenkeel.version={} evenkeel.root_hash={}\n", self.version, self.root_hash)
    }

    /// Reads an image.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let value = |key: &str| {
            let mut words = text.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(key)).with_context(|| format!("the image has no `{key}`"))
        };
        Ok(Self {
            version: value("evenkeel.version=")?.parse()?,
            root_hash: value("evenkeel.root_hash=")?.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reads_back_what_it_wrote() {
        let line = CommandLine { version: Version::new(1, 2, 3), root_hash: Digest::of(b"root") };
        assert_eq!(CommandLine::parse(&line.text()).unwrap(), line);
    }

    #[test]
    fn half_an_image_is_refused() {
        assert!(CommandLine::parse("evenkeel.version=1.0.0").is_err());
        assert!(CommandLine::parse("evenkeel.version=1.0.0 evenkeel.root_hash=12").is_err());
    }
}
