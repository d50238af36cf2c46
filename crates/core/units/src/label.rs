//! Short names that are harmless wherever they are shown.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

/// A short name such as a channel, a hardware kind or a device's name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// Longest label, in characters: what fits a column of a table and one DNS label (63) with room for one more.
const LABEL_CHARS: usize = 64;

impl Label {
    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a short name; expected 1 to 64 of A-Z a-z 0-9 . _ - such as `stable`")]
pub struct LabelError {
    got: String,
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.is_empty() || text.len() > LABEL_CHARS || !text.bytes().all(allowed) {
            return Err(LabelError { got: text.chars().take(80).collect() });
        }
        Ok(Self(text.to_string()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Label);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_only_what_is_harmless_in_a_path_and_a_page() {
        for text in ["stable", "x86_64", "Box-7.lab", &"a".repeat(64)] {
            assert_eq!(text.parse::<Label>().map(|label| label.to_string()), Ok(text.to_string()));
        }
        for text in ["", " ", "a/b", "<b>", "ü", "a b", &"a".repeat(65)] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}
