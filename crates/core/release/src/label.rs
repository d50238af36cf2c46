//! Names of hardware kinds and channels.

use alloc::{borrow::ToOwned, string::String};
use core::{fmt, str::FromStr};

/// A hardware kind or a channel, such as `x86_64` or `stable`: 1 to 32 lowercase letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{got}` names no hardware and no channel; expected 1 to 32 lowercase letters, digits, `-` and `_` such as `x86_64`"
)]
pub struct LabelError {
    got: String,
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LabelError { got: text.chars().take(40).collect() })
        }
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_a_short_plain_word_is_refused() {
        assert!("x86_64".parse::<Label>().is_ok());
        for text in ["", "Stable", "a b", "a/b", "..", "é", &"a".repeat(33)] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}
