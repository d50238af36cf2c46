//! Names of targets: a path that cannot leave the folder it is put in.

use alloc::{borrow::ToOwned, format, string::String};
use core::{fmt, str::FromStr};

use evenkeel_units::Digest;

/// The path of a target below the repository's targets folder, such as `evenkeel-1.1.0.bundle`.
///
/// Parts are separated by `/`; none is empty, `.` or `..`; none holds `\`, `:` or a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(String);

/// Longest target name in bytes: the longest file name of Linux (`NAME_MAX` 255) less the 65 of the hash prefix.
const NAME_BYTES: usize = 190;

impl TargetName {
    /// The name as it is written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path to ask a server for, percent-encoded (RFC 3986 §2.1); with consistent snapshots the last part
    /// is prefixed by the file's hash (TUF 1.0.33 §6.2).
    #[must_use]
    pub fn request_path(&self, sha256: Option<Digest>) -> String {
        let (folder, file) = self.0.rsplit_once('/').map_or(("", self.0.as_str()), |parts| parts);
        let folder = if folder.is_empty() { String::new() } else { encode(folder) + "/" };
        match sha256 {
            Some(sha256) => format!("{folder}{sha256}.{}", encode(file)),
            None => folder + &encode(file),
        }
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986 §2.3 and `/`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            out + char::from(byte).encode_utf8(&mut [0; 4])
        }
        byte => out + &format!("%{byte:02X}"),
    })
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot name a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{got}` cannot name a target; expected up to 190 bytes of parts between `/`, none empty, `.` or `..`, without `\\`, `:` and control characters"
)]
pub struct TargetNameError {
    got: String,
}

impl FromStr for TargetName {
    type Err = TargetNameError;

    fn from_str(text: &str) -> Result<Self, TargetNameError> {
        let stays = |part: &str| !matches!(part, "" | "." | "..");
        let harmless = |c: char| !c.is_control() && c != '\\' && c != ':';
        if text.len() <= NAME_BYTES && text.split('/').all(stays) && text.chars().all(harmless) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TargetNameError { got: text.chars().take(80).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            &"a".repeat(191),
        ] {
            assert!(text.parse::<TargetName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_hash_stands_before_the_last_part_and_odd_characters_are_encoded() {
        let name: TargetName = "boxes/evenkeel 1.1.0?.bundle".parse().expect("a harmless name");
        assert_eq!(name.request_path(None), "boxes/evenkeel%201.1.0%3F.bundle");
        let hash = Digest::of(b"");
        assert_eq!(
            name.request_path(Some(hash)),
            "boxes/".to_string() + &hash.to_string() + ".evenkeel%201.1.0%3F.bundle"
        );
    }
}
