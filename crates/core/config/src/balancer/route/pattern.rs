//! Regular expressions over paths and values.
//!
//! Owns: compiling, and the limits on what an expression may cost. Invariants: a search takes time in proportion to the
//! text (no backtracking), an expression's automaton has a bounded size, and an expression always describes the whole
//! text: one that matched anywhere within it would let `/x/admin` pass where `/admin` was meant.

use alloc::{borrow::ToOwned as _, format, string::String};
use core::fmt;

use regex_automata::{
    meta::{self, Regex},
    util::{captures::Captures, syntax},
};

use crate::document::Field;

/// Longest expression, in bytes: one line of a terminal and more than anyone reads.
const MAX_PATTERN_BYTES: usize = 1024;

/// Largest automaton of one expression, in bytes.
///
/// `/[a-z]{1,32}/[0-9]{1,10}` needs about 10 KiB; 256 KiB lets 1,000 expressions stay below 256 MiB, the most that a box
/// with 1 GiB can spare, and refuses `(.{1,1000}){1,1000}`.
const MAX_AUTOMATON_BYTES: usize = 256 << 10;

/// Room in which a search builds its states while it runs, in bytes and for each worker: twice the automaton at least.
const CACHE_BYTES: usize = 512 << 10;

/// A regular expression that describes a whole text, as bytes.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    pub(crate) const EXPECTED: &str =
        "a regular expression for the whole text, such as `/user/[0-9]+`, of at most 1024 bytes";

    /// Compiles an expression; `None` when it is malformed or too costly.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return None;
        }
        let config = meta::Config::new()
            .nfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .hybrid_cache_capacity(CACHE_BYTES)
            .utf8_empty(false);
        let syntax = syntax::Config::new().unicode(false).utf8(false).nest_limit(50);
        let whole = format!(r"\A(?:{text})\z");
        // Alone first: `a)(b` would become well-formed by what is put around it.
        meta::Builder::new().configure(config.clone()).syntax(syntax).build(text).ok()?;
        let regex = meta::Builder::new().configure(config).syntax(syntax).build(&whole).ok()?;
        Some(Self { text: text.to_owned(), regex })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it describes all of `text`.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The parts of `text` that its groups describe; `None` when it does not describe all of `text`.
    #[must_use]
    pub fn groups(&self, text: &[u8]) -> Option<Groups> {
        let mut captures = self.regex.create_captures();
        self.regex.captures(text, &mut captures);
        captures.is_match().then_some(Groups(captures))
    }

    /// The number of a group, by its number or name.
    pub(crate) fn group(&self, name: &str) -> Option<GroupIndex> {
        let info = self.regex.group_info();
        let index = match name.parse::<usize>() {
            Ok(number) => Some(number).filter(|&number| number < info.all_group_len()),
            Err(_) => info.to_index(regex_automata::PatternID::ZERO, name),
        };
        index.map(GroupIndex)
    }

    /// The text that everything it describes begins with: its start up to the first character with a meaning.
    ///
    /// Shorter than could be known, never longer.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        const SPECIAL: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$'];
        if self.text.contains('|') {
            return "";
        }
        let end = self.text.find(SPECIAL).unwrap_or(self.text.len());
        let literal = &self.text[..end];
        match self.text[end..].chars().next() {
            // The last character may be left out or is part of a repetition.
            Some('?' | '*' | '{') => {
                let last = literal.char_indices().next_back().map_or(0, |(at, _)| at);
                &literal[..last]
            }
            Some(_) | None => literal,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// The number of a group of a pattern; 0 stands for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupIndex(usize);

/// The groups of a text that a pattern describes.
#[derive(Debug, Clone)]
pub struct Groups(Captures);

impl Groups {
    /// The part of `text`, which must be the one that was looked at, that a group describes; empty when it took no part.
    #[must_use]
    pub fn of<'t>(&self, text: &'t [u8], group: GroupIndex) -> &'t [u8] {
        self.0.get_group(group.0).and_then(|span| text.get(span.start..span.end)).unwrap_or_default()
    }
}

pub(crate) fn pattern(field: &Field<'_>) -> Option<Pattern> {
    let remedy = "close its groups and brackets, and keep its repetitions small";
    field.text(Pattern::EXPECTED, remedy, Pattern::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn an_expression_describes_the_whole_text() {
        for (text, path, matches) in [
            ("/admin", "/admin", true),
            ("/admin", "/admin/", false),
            ("/admin", "/x/admin", false),
            ("a|b", "ab", false),
            ("a|b", "b", true),
            ("/user/[0-9]+", "/user/12", true),
            ("(?i)/User", "/uSER", true),
            (".*", "\n", false),
        ] {
            assert_eq!(parse(text).is_match(path.as_bytes()), matches, "{text} {path}");
        }
    }

    #[test]
    fn what_is_malformed_or_costly_is_refused() {
        let long = "a".repeat(MAX_PATTERN_BYTES + 1);
        for text in ["", "(", "a)(b", "[", "*", "(.{1,1000}){1,1000}", "(?<n>a)(?<n>b)", &long] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn everything_that_is_described_begins_with_the_literal_prefix() {
        for (text, prefix) in [
            ("/user/[0-9]+", "/user/"),
            ("/abc?", "/ab"),
            ("/abc+", "/abc"),
            ("/abc{0,2}", "/ab"),
            ("/a|/b", ""),
            (r".*\.png", ""),
            ("(?i)/a", ""),
            ("/plain", "/plain"),
        ] {
            assert_eq!(parse(text).literal_prefix(), prefix, "{text}");
        }
    }

    #[test]
    fn groups_are_found_by_number_and_name() {
        let pattern = parse("/(?<lang>[a-z]+)/(x)?(.*)");
        let groups = pattern.groups(b"/de/rest").unwrap();
        let part = |name: &str| groups.of(b"/de/rest", pattern.group(name).unwrap());
        assert_eq!(
            (part("lang"), part("1"), part("2"), part("3")),
            (&b"de"[..], &b"de"[..], &b""[..], &b"rest"[..])
        );
        assert_eq!((pattern.group("4"), pattern.group("nope")), (None, None));
    }
}
