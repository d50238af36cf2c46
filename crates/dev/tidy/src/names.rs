//! Rules about words: names that say nothing, and addresses that do not belong in the repository.
//!
//! Owns: the forbidden part of the lexicon, as file and crate names, and the list of registry hosts. Leaves to readers:
//! whether a permitted word is the right one.

use crate::{Tree, Violation};

/// Words that say nothing about what is inside.
const EMPTY_WORDS: [&str; 9] =
    ["util", "utils", "helper", "helpers", "manager", "common", "misc", "part2", "stuff"];

/// Hosts of package registries, in pieces so that this file does not name them either.
const REGISTRIES: [[&str; 2]; 10] = [
    ["crates", ".io"],
    ["pypi", ".org"],
    ["pythonhosted", ".org"],
    ["npmjs", ".org"],
    ["npmjs", ".com"],
    ["deb.debian", ".org"],
    ["ftp.debian", ".org"],
    ["security.debian", ".org"],
    ["snapshot.debian", ".org"],
    ["proxy.golang", ".org"],
];

/// Written by cargo, with the registry in every entry.
const WRITTEN_BY_TOOLS: [&str; 1] = ["Cargo.lock"];

/// No file or folder is named by a word that says nothing.
#[must_use]
pub fn empty_words(tree: &Tree) -> Vec<Violation> {
    tree.files()
        .filter_map(|file| {
            let mut words = file.path.split(['/', '.', '-', '_']);
            let word = words.find(|word| EMPTY_WORDS.contains(&word.to_lowercase().as_str()))?;
            let message =
                format!("`{word}` says nothing; name it after what it owns (lexicon, ARCHITECTURE.md)");
            Some(Violation::in_file(&file.path, message))
        })
        .collect()
}

/// No text names the host of a package registry: each machine has its own, configured in its package clients.
#[must_use]
pub fn registry_hosts(tree: &Tree) -> Vec<Violation> {
    let hosts = REGISTRIES.map(|pieces| pieces.concat());
    let mut violations = Vec::new();
    for file in tree.files().filter(|file| !WRITTEN_BY_TOOLS.contains(&file.name())) {
        for (index, line) in file.text.lines().enumerate() {
            let host = hosts.iter().find(|host| line.contains(host.as_str()));
            let message = |host| format!("names `{host}`; leave the registry to the client's configuration");
            violations.extend(host.map(|host| Violation::in_line(&file.path, index, message(host))));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;

    #[test]
    fn a_file_named_by_an_empty_word_is_found() {
        for path in
            ["crates/core/common/src/lib.rs", "a/util.rs", "a/slot_manager.rs", "scripts/lib/helpers.sh"]
        {
            assert_eq!(empty_words(&[File::new(path, "")].into_iter().collect()).len(), 1, "{path}");
        }
        assert!(empty_words(&[File::new("a/utility_room.rs", "")].into_iter().collect()).is_empty());
    }

    #[test]
    fn a_registry_host_is_found_with_its_line() {
        let host = REGISTRIES[3].concat();
        let found =
            registry_hosts(&[File::new("a.md", &format!("a\nfrom registry.{host}\n"))].into_iter().collect());
        assert_eq!(found.iter().map(|violation| violation.line).collect::<Vec<_>>(), [Some(2)]);
    }
}
