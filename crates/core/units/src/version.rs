//! Release versions, in the order in which they replace each other.

use alloc::string::String;
use core::{fmt, str::FromStr};

/// A release's version: `major.minor.patch`, each 0 to 65,535, ordered by number (Semantic Versioning 2.0.0 §2).
///
/// Differs from the specification: no pre-release and no build part. A release is one set of bytes that a
/// whole fleet may run; what is still being tried has a channel of its own instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Version {
    /// The version `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a version; expected three numbers up to 65535 such as `1.4.0`")]
pub struct VersionError {
    got: String,
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = text.split('.').map(number);
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            (Some(_), Some(_), Some(_), Some(_)) | (None, ..) | (_, None, ..) | (_, _, None, _) => {
                Err(VersionError { got: text.chars().take(40).collect() })
            }
        }
    }
}

/// A number in its one form: no sign and no leading zero, so that no two texts name one version.
fn number(text: &str) -> Option<u16> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

serde_as_text!(Version);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_by_number_not_by_text() {
        assert!(Version::new(1, 10, 0) > Version::new(1, 9, 9));
    }

    #[test]
    fn anything_but_three_plain_numbers_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "1.2.+3", "1.2.65536", " 1.2.3", "1..3"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_version_reads_back_what_it_wrote(major: u16, minor: u16, patch: u16) {
            let version = Version::new(major, minor, patch);
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }
    }
}
