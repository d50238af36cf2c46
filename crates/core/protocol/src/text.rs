//! Text that others send us, held to a length and to characters that cannot do harm where it is shown.

use alloc::string::String;
use core::fmt;

/// A sentence for a person: one line of at most 1,000 characters; what is longer is cut, what is a control
/// character becomes a space.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(from = "String", into = "String")]
pub struct Sentence(String);

/// Longest sentence, in characters: ten lines of a terminal.
const SENTENCE_CHARS: usize = 1000;

impl Sentence {
    /// The sentence that `text` holds, cut to its limit.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut cut: String = plain.skip_while(|c| c.is_whitespace()).take(SENTENCE_CHARS).collect();
        // What stands behind may be a control character too, or the limit may fall into a space.
        cut.truncate(cut.trim_end().len());
        Self(cut)
    }

    /// The sentence's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Sentence {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&str> for Sentence {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Sentence> for String {
    fn from(sentence: Sentence) -> Self {
        sentence.0
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_of_bounded_length() {
        assert_eq!(Sentence::new(" two\nlines\u{1b}[31m ").as_str(), "two lines [31m");
        assert_eq!(Sentence::new("\0 failed \u{1b} \u{0}").as_str(), "failed");
        assert_eq!(Sentence::new(&"ä".repeat(5000)).as_str().chars().count(), SENTENCE_CHARS);
    }
}
