//! Rules about the documentation: links lead somewhere, the map is complete, records are numbered.
//!
//! Owns: what can be checked in Markdown without understanding it. Leaves to readers: whether it is true and clear.

use crate::{File, Tree, Violation, graph::Member};

/// Relative links in Markdown lead to files that exist.
#[must_use]
pub fn links(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("md") {
        for (index, line) in file.text.lines().enumerate() {
            let dead = targets(line).filter(|target| !tree.has(&resolve(&file.path, target)));
            let message = |target| format!("links to `{target}`, which does not exist");
            violations.extend(dead.map(|target| Violation::in_line(&file.path, index, message(target))));
        }
    }
    violations
}

/// The paths that a line links to: neither other sites nor places in the same page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

/// A link's path, seen from the root.
fn resolve(from: &str, target: &str) -> String {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The map of ARCHITECTURE.md names every crate's folder, and no folder that is not there.
#[must_use]
pub fn map(tree: &Tree, members: &[Member]) -> Vec<Violation> {
    const PATH: &str = "ARCHITECTURE.md";
    let Some(file) = tree.file(PATH) else {
        return vec![Violation::in_file(PATH, "is missing: write the map, the lexicon and the invariants")];
    };
    let section = section(file, "## Map");
    let mapped: Vec<&str> = section.iter().filter_map(|(_, line)| first_code(line)).collect();
    let missing = members.iter().filter(|member| !mapped.contains(&member.folder.as_str()));
    let missing =
        missing.map(|member| Violation::in_file(PATH, format!("the map lacks `{}`", member.folder)));
    let gone = section.iter().filter_map(|(index, line)| {
        let path = first_code(line).filter(|path| !tree.has(path))?;
        Some(Violation::in_line(PATH, *index, format!("the map shows `{path}`, which does not exist")))
    });
    missing.chain(gone).collect()
}

/// The lines under a heading with their indices, up to the next heading of the same level.
pub(crate) fn section<'a>(file: &'a File, heading: &str) -> Vec<(usize, &'a str)> {
    let lines = file.text.lines().enumerate();
    lines
        .skip_while(|(_, line)| *line != heading)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .collect()
}

/// What a table row has in code marks in its first cell.
fn first_code(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

/// Decision records are named `NNNN-title.md`, numbered from 0001 without a gap, and headed by the same number.
#[must_use]
pub fn decisions(tree: &Tree) -> Vec<Violation> {
    let records = tree.with_extension("md").filter(|file| file.path.starts_with("docs/decisions/"));
    records
        .enumerate()
        .filter_map(|(index, file)| {
            let number = format!("{:04}", index + 1);
            let message = if !file.name().starts_with(&format!("{number}-")) {
                format!("expected number {number} here: records are numbered from 0001 without a gap")
            } else if !file.text.starts_with(&format!("# {number}. ")) {
                format!("head it `# {number}. Title`")
            } else {
                return None;
            };
            Some(Violation::in_file(&file.path, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(path, text)| File::new(path, text)).collect()
    }

    #[test]
    fn a_link_to_nowhere_is_found_and_a_good_one_is_not() {
        let text = "[a](../README.md#top) [b](gone.md) [c](https://example.org) [d](#here)\n";
        let found = links(&tree(&[("docs/a.md", text), ("README.md", "")]));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`gone.md`"), "{found:?}");
    }

    #[test]
    fn a_map_that_lacks_a_crate_or_shows_one_too_many_is_found() {
        let member = Member { name: "evenkeel-a".into(), folder: "crates/core/a".into(), uses: vec![] };
        let with = |map: &str| {
            let text = format!("# A\n\n## Map\n\n{map}\n\n## Words\n\n| `gone` |\n");
            map_found(&text, std::slice::from_ref(&member))
        };
        assert_eq!(with("| `crates/core/a` | a |\n"), 0);
        assert_eq!(with(""), 1);
        assert_eq!(with("| `crates/core/a` | a |\n| `crates/core/b` | b |"), 1);
        assert_eq!(map(&tree(&[]), &[]).len(), 1);
    }

    fn map_found(text: &str, members: &[Member]) -> usize {
        map(&tree(&[("ARCHITECTURE.md", text), ("crates/core/a", "")]), members).len()
    }

    #[test]
    fn a_gap_or_a_wrong_heading_among_the_decisions_is_found() {
        let good = ("docs/decisions/0001-a.md", "# 0001. A\n");
        assert!(decisions(&tree(&[good])).is_empty());
        assert_eq!(decisions(&tree(&[good, ("docs/decisions/0003-b.md", "# 0003. B\n")])).len(), 1);
        assert_eq!(decisions(&tree(&[good, ("docs/decisions/0002-b.md", "# B\n")])).len(), 1);
    }
}
