//! The rules that every invariant of ARCHITECTURE.md, every threat of SECURITY.md and every rule of HTTP/1.1 in
//! `docs/conformance-http1.md` names tests that exist.
//!
//! Owns: reading these tables and finding the tests that they name. Leaves to readers: whether a test really holds what
//! it is named for. A missing row, a row without a test and a test that is gone all break the rules.

use std::collections::BTreeSet;

use crate::{Tree, Violation, documents, text};

/// Where the invariants are listed.
const PATH: &str = "ARCHITECTURE.md";

/// How many there are: I1 to I10.
pub const COUNT: usize = 10;

/// Each of `I1` to `I<count>` has a row whose last cell names tests, and each named test exists.
#[must_use]
pub fn held_by_tests(tree: &Tree, count: usize) -> Vec<Violation> {
    let Some(file) = tree.file(PATH) else {
        return vec![Violation::in_file(PATH, "is missing: write the map, the lexicon and the invariants")];
    };
    let rows = documents::section(file, "## Invariants");
    let tests = tests(tree);
    (1..=count)
        .flat_map(|number| {
            let name = format!("I{number}");
            match rows.iter().find(|(_, line)| line.starts_with(&format!("| {name} |"))) {
                Some((index, row)) => judge(PATH, &name, *index, row, &tests),
                None => vec![Violation::in_file(PATH, format!("lacks a row for {name}"))],
            }
        })
        .collect()
}

/// Each row of the table of threats names tests, and each named test exists.
#[must_use]
pub fn threats_are_met_by_tests(tree: &Tree) -> Vec<Violation> {
    const PATH: &str = "SECURITY.md";
    let Some(file) = tree.file(PATH) else {
        return vec![Violation::in_file(PATH, "is missing: write the threat model")];
    };
    let section = documents::section(file, "## Threats");
    // A table opens with its head and a line of dashes.
    let rows: Vec<_> = section.into_iter().filter(|(_, line)| line.starts_with('|')).skip(2).collect();
    if rows.is_empty() {
        return vec![Violation::in_file(PATH, "has no table of threats under `## Threats`")];
    }
    let tests = tests(tree);
    rows.into_iter().flat_map(|(index, row)| judge(PATH, "the threat", index, row, &tests)).collect()
}

/// Each row of the tables of HTTP/1.1's rules names tests, and each named test exists.
#[must_use]
pub fn rules_of_http1_are_shown_by_tests(tree: &Tree) -> Vec<Violation> {
    const PATH: &str = "docs/conformance-http1.md";
    let Some(file) = tree.file(PATH) else {
        return vec![Violation::in_file(PATH, "is missing: list the rules of HTTP/1.1 and their tests")];
    };
    let is_rule =
        |line: &str| line.starts_with('|') && !line.starts_with("| section |") && !line.starts_with("|--");
    let rows: Vec<_> = file.text.lines().enumerate().filter(|(_, line)| is_rule(line)).collect();
    if rows.is_empty() {
        return vec![Violation::in_file(PATH, "has no table of rules")];
    }
    let tests = tests(tree);
    rows.into_iter().flat_map(|(index, row)| judge(PATH, "the rule", index, row, &tests)).collect()
}

fn judge(path: &str, name: &str, index: usize, row: &str, tests: &BTreeSet<String>) -> Vec<Violation> {
    let named = named_tests(row);
    if named.is_empty() {
        return vec![Violation::in_line(path, index, format!("{name} names no test that holds it"))];
    }
    let gone = named.into_iter().filter(|test| !tests.contains(*test));
    gone.map(|test| {
        Violation::in_line(path, index, format!("{name} names the test `{test}`, which does not exist"))
    })
    .collect()
}

/// The names in code marks in the last cell of a table row.
fn named_tests(row: &str) -> Vec<&str> {
    let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
    last.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')).collect()
}

/// The name of every function with a test attribute.
fn tests(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in tree.with_extension("rs") {
        let code = text::code(&file.text);
        for rest in code.split("test]").skip(1).chain(code.split("test(").skip(1)) {
            names.extend(next_function(rest));
        }
    }
    names
}

/// The function that follows an attribute, if nothing but attributes stands between.
fn next_function(rest: &str) -> Option<String> {
    let (before, after) = rest.split_once("fn ")?;
    if before.contains(['{', '}', ';']) {
        return None;
    }
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(after[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;

    fn found(row: &str) -> Vec<String> {
        let page = format!("# A\n\n## Invariants\n\n{row}\n");
        messages(&held_by_tests(&tree(PATH, &page), 1))
    }

    fn messages(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(|violation| violation.message.clone()).collect()
    }

    fn tree(path: &str, page: &str) -> Tree {
        let code = "//! A.\n#[test]\nfn held() {}\n#[test]\n#[ignore = \"b\"]\nfn slow() {}\nfn other() {}\n\
            #[tokio::test]\nasync fn later() {}\n// #[test]\n// fn gone() {}\n";
        [File::new(path, page), File::new("a.rs", code)].into_iter().collect()
    }

    #[test]
    fn an_invariant_with_an_existing_test_is_fine() {
        for test in ["held", "slow", "later"] {
            assert_eq!(found(&format!("| I1 | a | `crates/core/a`: `{test}` |")), Vec::<String>::new());
        }
    }

    #[test]
    fn an_invariant_without_a_row_a_test_or_an_existing_test_is_found() {
        let rows = ["", "| I1 | `held` | by nobody |", "| I1 | a | `held`, `gone` |", "| I1 | a | `other` |"];
        for row in rows {
            assert_eq!(found(row).len(), 1, "{row}");
        }
    }

    #[test]
    fn a_threat_without_an_existing_test_is_found() {
        let found = |table: &str| {
            let page = format!("# A\n\n## Threats\n\n{table}");
            messages(&threats_are_met_by_tests(&tree("SECURITY.md", &page))).len()
        };
        assert_eq!(found("| a | b |\n|---|---|\n| c | `held`, `slow` |\n"), 0);
        assert_eq!(found("| a | b |\n|---|---|\n| c | `held` |\n| d | trust us |\n| e | `gone` |\n"), 2);
        assert_eq!(found("no table\n"), 1);
    }

    #[test]
    fn a_rule_of_http1_without_an_existing_test_is_found() {
        let found = |table: &str| {
            messages(&rules_of_http1_are_shown_by_tests(&tree("docs/conformance-http1.md", table))).len()
        };
        let head = "| section | rule | shown by |\n|---|---|---|\n";
        assert_eq!(found(&format!("{head}| 1 | a | `held`, `later` |\n")), 0);
        assert_eq!(found(&format!("{head}| 1 | a | `held`, `gone` |\n\n{head}| 2 | b | nobody |\n")), 2);
        assert_eq!(found("no table\n"), 1);
    }
}
