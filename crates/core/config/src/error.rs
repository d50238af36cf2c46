//! What is wrong with a configuration, in sentences for the person who must mend it.
//!
//! Owns: the wording of every refusal. Leaves to others: finding the errors. Invariant: each error names
//! file, line, key and value, says what is allowed, and what to do.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Most errors that are kept of one text; the rest is counted.
///
/// Ten screens of 100 lines are more than anyone mends before checking again, and a text of
/// [`crate::MAX_FILE_BYTES`] could hold a million.
pub const MAX_ERRORS: usize = 1000;

/// Longest part of a wrong value that is shown, in characters: one line of a terminal.
const SHOWN_CHARS: usize = 80;

/// One thing that is wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct Error {
    /// The file, as it was named to the parser.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong, and how to mend it.
///
/// `key` is the whole way to the key, such as `pool[app].server[app1].weight`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The text is not TOML 1.0.
    #[error("{message}; mend this line so that the rest can be read")]
    Syntax {
        /// What the parser expected.
        message: String,
    },
    /// The text is too long to be a configuration.
    #[error("the file has {bytes} bytes; expected at most {most}; is it the right file?")]
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        most: usize,
    },
    /// A key that does not exist.
    #[error("{key} is not a known key{}; expected one of: {}", Nearest(.nearest), List(.allowed))]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that looks most like it, when one does.
        nearest: Option<&'static str>,
        /// Every key that is allowed there.
        allowed: &'static [&'static str],
    },
    /// A key that must be there is not.
    #[error("{key} is missing; add a line such as `{example}`")]
    Missing {
        /// The key.
        key: String,
        /// A line that would do.
        example: &'static str,
    },
    /// A value that is not allowed.
    #[error("{key} is `{value}`; expected {expected}; {remedy}")]
    Invalid {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
        /// What is allowed.
        expected: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A value that must be unique is there twice.
    #[error("{key} is `{value}`, as on line {first}; expected a value of its own; {remedy}")]
    Repeated {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
        /// The line that has the same value.
        first: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// A name that nothing has.
    #[error("{key} is `{value}`; expected one of: {}{}; add it or mend the name", List(.known), Nearest(.nearest))]
    Unresolved {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
        /// The names that exist.
        known: Vec<String>,
        /// The name that looks most like it, when one does.
        nearest: Option<String>,
    },
    /// More tables of a kind than there may be.
    #[error("{key} is there {count} times; expected at most {most}; split the file over several boxes")]
    TooMany {
        /// The key.
        key: String,
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
    },
}

/// Everything that is wrong with one configuration text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    kept: Vec<Error>,
    omitted: usize,
}

impl Errors {
    /// The errors found, ordered by line; `None` when there are none.
    pub(crate) fn of(mut found: Vec<Error>) -> Option<Self> {
        found.sort_by_key(|error| error.line);
        let omitted = found.len().saturating_sub(MAX_ERRORS);
        found.truncate(MAX_ERRORS);
        (!found.is_empty()).then_some(Self { kept: found, omitted })
    }

    /// The errors, ordered by line; at most [`MAX_ERRORS`].
    #[must_use]
    pub fn as_slice(&self) -> &[Error] {
        &self.kept
    }

    /// How many errors there are, with those beyond [`MAX_ERRORS`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.omitted
    }
}

impl fmt::Display for Errors {
    /// One error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.kept.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more errors; mend these first"),
        }
    }
}

impl core::error::Error for Errors {}

/// A text from the file as it may be shown on a terminal: control characters escaped, long ones cut.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The candidate that is most like `text`, when a slip of the keyboard could lie between them.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips = |candidate: &str| 1 + candidate.chars().count().min(text.chars().count()) / 4;
    candidates
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= slips(candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Single-character edits from `a` to `b` (Levenshtein), over at most [`SHOWN_CHARS`] characters of each.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(SHOWN_CHARS).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (line, letter) in b.chars().take(SHOWN_CHARS).enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], line + 1);
        for (column, &other) in a.iter().enumerate() {
            let replaced = diagonal + usize::from(other != letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[a.len()]
}

/// Shows names one after the other, each in backquotes.
struct List<'a, T>(&'a [T]);

impl<T: AsRef<str>> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(there is none)");
        }
        for (index, name) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}`{}`", name.as_ref())?;
        }
        Ok(())
    }
}

/// Shows the guess at what was meant, when there is one.
struct Nearest<'a, T>(&'a Option<T>);

impl<T: AsRef<str>> fmt::Display for Nearest<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, " (did you mean `{}`?)", name.as_ref()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_the_key_that_was_meant() {
        let keys = ["name", "address", "weight", "health_check"];
        for (typed, meant) in [
            ("wieght", Some("weight")),
            ("adress", Some("address")),
            ("healthcheck", Some("health_check")),
            ("nmae", Some("name")),
            ("", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(typed, keys.into_iter()), meant, "{typed}");
        }
    }

    #[test]
    fn a_value_cannot_write_control_characters_to_the_terminal() {
        assert_eq!(shown("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), SHOWN_CHARS + 1);
    }
}
