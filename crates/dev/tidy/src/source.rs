//! Rules about Rust source files: header, size, panics, leftovers, and what core crates may name.
//!
//! Owns: what can be seen in one file's text. Leaves to clippy: everything that needs types (`unwrap` by another name,
//! function length, wildcard arms). The invariant: a rule looks at code or at comments, never at both.

use crate::{File, Tree, Violation, text};

/// Lines without tests from which on a file fails: nobody reads it in one sitting.
pub const MAX_LINES: usize = 800;

/// Lines without tests from which on a file is worth splitting.
pub const SMELLY_LINES: usize = 500;

/// Every file opens with `//!`.
#[must_use]
pub fn headers(tree: &Tree) -> Vec<Violation> {
    rust(tree)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| Violation::in_file(&file.path, "open it with `//!`: what it owns and leaves to others"))
        .collect()
}

/// No file is longer than [`MAX_LINES`] without its tests.
#[must_use]
pub fn sizes(tree: &Tree) -> Vec<Violation> {
    longer_than(tree, MAX_LINES)
}

/// The files longer than `limit` lines without their tests.
#[must_use]
pub fn longer_than(tree: &Tree, limit: usize) -> Vec<Violation> {
    rust(tree)
        .filter_map(|file| {
            let lines = text::without_tests(&file.text).lines().count();
            let message = format!("{lines} lines without tests, at most {limit}; split it by responsibility");
            (lines > limit).then(|| Violation::in_file(&file.path, message))
        })
        .collect()
}

/// No `unwrap` outside tests; `expect` states the invariant.
#[must_use]
pub fn unwraps(tree: &Tree) -> Vec<Violation> {
    let message =
        "`unwrap` outside a test; return the error, or `expect` with the invariant that rules it out";
    in_lines(rust(tree).filter(|file| !is_test(file)), production_code, |line| {
        line.contains(".unwrap()").then(|| message.to_owned())
    })
}

/// Nothing is left for later in a comment, and no comment is a banner.
#[must_use]
pub fn leftovers(tree: &Tree) -> Vec<Violation> {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat(), ["HA", "CK"].concat()];
    in_lines(
        rust(tree),
        |file| text::comments(&file.text),
        |line| {
            let mark = marks
                .iter()
                .find(|mark| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == *mark));
            if let Some(mark) = mark {
                return Some(format!(
                    "`{mark}`: do it, or file it; the code says what is, not what is missing"
                ));
            }
            let banner =
                ["====", "----", "****", "####", "////", "~~~~"].iter().any(|run| line.contains(run));
            (banner && !line.contains('|'))
                .then(|| "a banner; let a module or a function do the dividing".to_owned())
        },
    )
}

/// A test that is ignored says why.
#[must_use]
pub fn ignored_tests(tree: &Tree) -> Vec<Violation> {
    in_lines(
        rust(tree),
        |file| text::code(&file.text),
        |line| {
            let silent = line.trim() == "#[ignore]";
            silent.then(|| "an ignored test without its reason; write `#[ignore = \"…\"]`".to_owned())
        },
    )
}

/// I10, in the text: core crates are `no_std` and name `std` in tests only.
#[must_use]
pub fn core_is_no_std(tree: &Tree) -> Vec<Violation> {
    let core =
        || rust(tree).filter(|file| file.path.starts_with("crates/core/") && file.path.contains("/src/"));
    let unmarked = core()
        .filter(|file| file.path.ends_with("/src/lib.rs"))
        .filter(|file| !file.text.lines().any(|line| line == "#![no_std]"))
        .map(|file| Violation::in_file(&file.path, "a core crate without `#![no_std]` (I10)"));
    let named = in_lines(core().filter(|file| !is_test(file)), production_code, |line| {
        line.contains("std::")
            .then(|| line.split("std::").next().unwrap_or_default())
            .filter(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            .map(|_| "`std` in a core crate; use `core` or `alloc`, take I/O as an argument (I10)".to_owned())
    });
    unmarked.chain(named).collect()
}

fn rust(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.with_extension("rs")
}

/// Whether the whole file is test code.
fn is_test(file: &File) -> bool {
    file.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

fn production_code(file: &File) -> String {
    text::code(text::without_tests(&file.text))
}

/// What `judge` says of each line of what `view` makes of each file.
fn in_lines<'a>(
    files: impl Iterator<Item = &'a File>,
    view: impl Fn(&File) -> String,
    judge: impl Fn(&str) -> Option<String>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for (index, line) in view(file).lines().enumerate() {
            violations.extend(judge(line).map(|message| Violation::in_line(&file.path, index, message)));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(path: &str, text: &str) -> Tree {
        [File::new(path, text)].into_iter().collect()
    }

    fn lines(violations: &[Violation]) -> Vec<Option<usize>> {
        violations.iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(headers(&tree("a.rs", "use b;\n")).len(), 1);
        assert!(headers(&tree("a.rs", "//! Owns b.\n")).is_empty());
    }

    #[test]
    fn a_file_of_801_lines_is_found_and_tests_do_not_count() {
        let code = "a\n".repeat(MAX_LINES);
        assert_eq!(sizes(&tree("a.rs", &format!("{code}b\n"))).len(), 1);
        assert!(sizes(&tree("a.rs", &format!("{code}#[cfg(test)]\nmod tests {{}}\n"))).is_empty());
    }

    #[test]
    fn an_unwrap_in_production_code_is_found_with_its_line() {
        let text = "//! .unwrap()\n\"a.unwrap()\";\na.unwrap();\n#[cfg(test)]\nmod tests { a.unwrap(); }\n";
        assert_eq!(lines(&unwraps(&tree("a/src/b.rs", text))), [Some(3)]);
        assert!(unwraps(&tree("a/tests/b.rs", text)).is_empty());
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        let text = ["//! A.\n// TO", "DO: b\n\"TO", "DO\";\n// --", "------\n"].concat();
        assert_eq!(lines(&leftovers(&tree("a.rs", &text))), [Some(2), Some(4)]);
        assert!(leftovers(&tree("a.rs", "/// | a | b |\n/// |----|----|\n")).is_empty());
    }

    #[test]
    fn an_ignored_test_without_a_reason_is_found() {
        assert_eq!(ignored_tests(&tree("a.rs", "#[ignore]\n")).len(), 1);
        assert!(ignored_tests(&tree("a.rs", "#[ignore = \"needs a disk\"]\n")).is_empty());
    }

    #[test]
    fn std_in_a_core_crate_is_found() {
        let path = "crates/core/a/src/lib.rs";
        assert_eq!(core_is_no_std(&tree(path, "//! A.\n")).len(), 1);
        assert_eq!(lines(&core_is_no_std(&tree(path, "#![no_std]\nuse std::fs;\n"))), [Some(2)]);
        assert!(core_is_no_std(&tree(path, "#![no_std]\nuse not_std::fs; // std::fs\n")).is_empty());
        assert!(core_is_no_std(&tree("crates/io/a/src/lib.rs", "use std::fs;\n")).is_empty());
    }
}
