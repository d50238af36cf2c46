//! Rules about Cargo manifests: everything that can be inherited from the workspace is.
//!
//! Owns: lints, package fields and dependency versions of each crate's `Cargo.toml`, and that each dependency is used. Leaves to others: who depends on
//! whom (`graph`), and under which licence (`licences`).

use toml::{Table, Value};

use crate::{File, Tree, Violation};

/// Fields of `[package]` that every crate takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Every crate inherits the workspace's lints, package fields and dependency versions, and says what it is.
#[must_use]
pub fn inheritance(tree: &Tree) -> Vec<Violation> {
    tree.files()
        .filter(|file| file.name() == "Cargo.toml" && file.path != "Cargo.toml")
        .flat_map(|file| match file.text.parse::<Table>() {
            Ok(manifest) => judge(file, &manifest),
            Err(error) => vec![Violation::in_file(&file.path, format!("cannot be read: {error}"))],
        })
        .collect()
}

/// Every dependency of a crate is named in its sources: one that is not only costs time to build, and says that the
/// crate knows of something that it does not.
#[must_use]
pub fn unused(tree: &Tree) -> Vec<Violation> {
    let manifests = tree.files().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        Some((file, folder, file.text.parse::<Table>().ok()?))
    });
    manifests.flat_map(|(file, folder, manifest)| unused_of(tree, file, folder, &manifest)).collect()
}

fn unused_of(tree: &Tree, file: &File, folder: &str, manifest: &Table) -> Vec<Violation> {
    let (own, all) = (sources(tree, &format!("{folder}/src/")), sources(tree, &format!("{folder}/")));
    let mut violations = Vec::new();
    for (section, text) in [("dependencies", &own), ("dev-dependencies", &all)] {
        let names =
            manifest.get(section).and_then(Value::as_table).into_iter().flatten().map(|(name, _)| name);
        let unused = names.filter(|name| !text.contains(&format!("{}::", name.replace('-', "_"))));
        violations.extend(unused.map(|name| {
            Violation::in_file(&file.path, format!("take `{name}` out of [{section}]: nothing uses it"))
        }));
    }
    violations
}

/// The sources below a folder, as one text.
fn sources(tree: &Tree, folder: &str) -> String {
    tree.with_extension("rs")
        .filter(|file| file.path.starts_with(folder))
        .map(|file| file.text.as_str())
        .collect()
}

fn judge(file: &File, manifest: &Table) -> Vec<Violation> {
    // A workspace of its own, such as that of the fuzz targets, has nothing to inherit from.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    let mut messages = Vec::new();
    if manifest.get("lints") != Some(&inherited()) {
        messages.push("inherit the lints: `[lints]` with `workspace = true`".to_owned());
    }
    let package = manifest.get("package").and_then(Value::as_table);
    let field = |name: &str| package.and_then(|package| package.get(name));
    let own = INHERITED.iter().filter(|name| field(name) != Some(&inherited()));
    messages.extend(own.map(|name| format!("inherit the field: `{name}.workspace = true`")));
    if field("description").is_none() {
        messages.push("say in `description` what the crate is".to_owned());
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(Value::as_table).into_iter().flatten();
        let own = dependencies.filter(|(_, value)| value.get("workspace") != Some(&Value::Boolean(true)));
        messages.extend(own.map(|(name, _)| {
            format!(
                "inherit the dependency `{name}`: its version belongs in the root's [workspace.dependencies]"
            )
        }));
    }
    messages.into_iter().map(|message| Violation::in_file(&file.path, message)).collect()
}

fn inherited() -> Value {
    Value::Table([("workspace".to_owned(), Value::Boolean(true))].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\ndescription = \"A\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        publish.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nb = { workspace = true }\n";

    fn found(text: &str) -> usize {
        inheritance(&[File::new("crates/a/Cargo.toml", text)].into_iter().collect()).len()
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let found = |source: &str| {
            let files = [File::new("crates/a/Cargo.toml", GOOD), File::new("crates/a/src/lib.rs", source)];
            unused(&files.into_iter().collect()).len()
        };
        assert_eq!(found("use b::c;"), 0);
        assert_eq!(found("use d::c;"), 1);
    }

    #[test]
    fn whatever_a_crate_does_not_inherit_is_found() {
        assert_eq!(found(GOOD), 0);
        let bad = [
            GOOD.replace("[lints]\nworkspace = true\n", ""),
            GOOD.replace("[lints]\nworkspace = true\n", "[lints.rust]\nunsafe_code = \"allow\"\n"),
            GOOD.replace("edition.workspace = true", "edition = \"2021\""),
            GOOD.replace("description = \"A\"\n", ""),
            GOOD.replace("b = { workspace = true }", "b = \"1\""),
            GOOD.replace("[package]", "[package"),
        ];
        for text in bad {
            assert_eq!(found(&text), 1, "{text}");
        }
    }
}
