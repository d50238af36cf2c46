//! The repository's rules, as functions from its files to what breaks a rule.
//!
//! Owns: the rules that no compiler, formatter or linter holds. Each is a pure function with a test of itself on a
//! small bad example; `tests/repository.rs` runs them all over this repository. Leaves to others: what rustc, clippy
//! and rustfmt can check. A rule fails closed: what it cannot read or does not know breaks it.

pub mod documents;
pub mod graph;
pub mod invariants;
pub mod licences;
pub mod manifests;
pub mod names;
pub mod shell;
pub mod source;
pub mod text;
pub mod tree;

pub use tree::{File, Tree};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file, relative to the repository's root.
    pub path: String,
    /// The line, counted from 1; nothing where the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong there and what to do about it.
    pub message: String,
}

impl Violation {
    /// A file that breaks a rule as a whole.
    #[must_use]
    pub fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    /// A line that breaks a rule; `index` counts from 0, as `enumerate` does.
    #[must_use]
    pub fn in_line(path: &str, index: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(index + 1), message: message.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}
