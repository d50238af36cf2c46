//! Rules about shell scripts: they stop at the first error and can be started.
//!
//! Owns: what makes a script fail loudly. Leaves to readers: what it does. Whatever starts with `#!` is a script; a
//! file `*.sh` without it is there to be sourced.

use std::process::Command;

use crate::{File, Tree, Violation};

/// The line that makes bash stop at a failing command, an unset name and a failing pipe.
const STRICT: &str = "set -euo pipefail";

/// Scripts are bash, strict, executable, and say in a comment what they are for.
#[must_use]
pub fn scripts(tree: &Tree) -> Vec<Violation> {
    shell_files(tree).flat_map(judge).collect()
}

fn judge(file: &File) -> Vec<Violation> {
    let started = file.text.starts_with("#!");
    let mut messages = Vec::new();
    if started && file.text.lines().next() != Some("#!/usr/bin/env bash") {
        messages.push("start it with `#!/usr/bin/env bash`");
    }
    if started && !file.executable {
        messages.push("make it executable: `chmod +x`");
    }
    if !file.text.lines().any(|line| line == STRICT) {
        messages.push("make it stop at errors: `set -euo pipefail` on a line of its own");
    }
    if !file.text.lines().nth(usize::from(started)).is_some_and(|line| line.starts_with("# ")) {
        messages.push("open it with a comment: what it does");
    }
    messages.into_iter().map(|message| Violation::in_file(&file.path, message)).collect()
}

/// Every script can be parsed by the bash that is here.
#[must_use]
pub fn syntax(tree: &Tree) -> Vec<Violation> {
    shell_files(tree)
        .filter_map(|file| {
            let parsed = Command::new("bash").args(["-n", "-c", &file.text]).output();
            let message = match parsed {
                Ok(output) if output.status.success() => return None,
                Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => format!("bash cannot be started: {error}"),
            };
            Some(Violation::in_file(&file.path, message))
        })
        .collect()
}

fn shell_files(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files().filter(|file| {
        let first = file.text.lines().next().unwrap_or_default();
        file.has_extension("sh") || (first.starts_with("#!") && first.ends_with("sh"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#!/usr/bin/env bash\n# Does a.\nset -euo pipefail\n";

    fn found(text: &str, executable: bool) -> usize {
        scripts(&[File { executable, ..File::new("scripts/a", text) }].into_iter().collect()).len()
    }

    #[test]
    fn a_script_that_would_go_on_after_an_error_is_found() {
        assert_eq!(found(GOOD, true), 0);
        assert_eq!(found(GOOD, false), 1);
        assert_eq!(found(&GOOD.replace("set -euo pipefail", "set -e"), true), 1);
        assert_eq!(found(&GOOD.replace("/usr/bin/env bash", "/bin/sh"), true), 1);
        assert_eq!(found(&GOOD.replace("# Does a.\n", ""), true), 1);
    }

    #[test]
    fn a_script_that_bash_cannot_parse_is_found() {
        let tree = |text: &str| [File::new("a.sh", text)].into_iter().collect();
        assert!(syntax(&tree("if true; then :; fi\n")).is_empty());
        assert_eq!(syntax(&tree("if true; then\n")).len(), 1);
    }
}
