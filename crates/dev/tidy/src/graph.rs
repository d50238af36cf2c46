//! Rules about who may depend on whom: layers, and what core crates may rest upon.
//!
//! Owns: the layers by folder, the direction `core ← io ← bin ← dev`, and the list of outside crates in core. Leaves
//! to others: which features those crates are built with; the `no-std` stage of `scripts/test` compiles that. A crate
//! in a folder that is not listed here breaks the rules.

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::{collections::BTreeSet, path::Path, process::Command};

use crate::Violation;

/// Outside crates that core crates may rest upon, directly or not: no I/O, clock, entropy or threads in any of them.
pub const CORE_MAY_USE: &[&str] = &[
    "base64",
    "block-buffer",
    "bytes",
    "cfg-if",
    "cmov",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "curve25519-dalek",
    "digest",
    "ed25519",
    "ed25519-dalek",
    "hmac",
    "httparse",
    "hybrid-array",
    "itoa",
    "memchr",
    "prost",
    "regex-automata",
    "regex-syntax",
    "serde",
    "serde_core",
    "serde_json",
    "serde_spanned",
    "sha2",
    "signature",
    "subtle",
    "thiserror",
    "toml",
    "toml_datetime",
    "toml_parser",
    "typenum",
    "winnow",
    "zeroize",
    "zmij",
];

/// A layer; each may depend on those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Pure: values in, values out.
    Core,
    /// System calls, no decisions.
    Io,
    /// Wiring: what is shipped.
    Bin,
    /// Never shipped.
    Dev,
}

impl Layer {
    /// The layer of a crate's folder, relative to the root.
    #[must_use]
    pub fn of(folder: &str) -> Option<Self> {
        match folder.split('/').collect::<Vec<_>>()[..] {
            ["crates", "core", _] => Some(Self::Core),
            ["crates", "io", _] => Some(Self::Io),
            ["crates", "bin", _] | ["update-server"] => Some(Self::Bin),
            ["crates", "dev", _] | ["tests" | "fuzz", ..] => Some(Self::Dev),
            _ => None,
        }
    }
}

/// When a dependency is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To build and to run.
    Always,
    /// For tests only.
    Tests,
}

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its package name.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: String,
    /// The crates of the workspace it depends on.
    pub uses: Vec<(String, Need)>,
}

/// Reads the members from `cargo metadata`.
///
/// # Errors
/// When cargo fails, or a member lies outside of `root`.
pub fn members(root: &Path) -> Result<Vec<Member>> {
    let mut command = MetadataCommand::new();
    command.current_dir(root).no_deps().other_options(["--locked".to_owned()]);
    let metadata = command.exec().context("cargo metadata")?;
    let root = metadata.workspace_root.clone();
    let names: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let member = |package: &cargo_metadata::Package| {
        let folder = package.manifest_path.parent().context("a manifest without a folder")?;
        let folder = folder.strip_prefix(&root).with_context(|| format!("{folder} is outside of {root}"))?;
        let ours = package.dependencies.iter().filter(|dependency| names.contains(&dependency.name));
        let need = |kind| if kind == DependencyKind::Development { Need::Tests } else { Need::Always };
        Ok(Member {
            name: package.name.to_string(),
            folder: folder.to_string(),
            uses: ours.map(|dependency| (dependency.name.clone(), need(dependency.kind))).collect(),
        })
    };
    metadata.packages.iter().map(member).collect()
}

/// Every crate is in a folder of a layer, is named after it, and depends on nothing above itself.
#[must_use]
pub fn layers(members: &[Member]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in members {
        let place = format!("{}/Cargo.toml", member.folder);
        let Some(layer) = Layer::of(&member.folder) else {
            violations.push(Violation::in_file(
                &place,
                "is in no layer; move it under crates/core, io, bin or dev",
            ));
            continue;
        };
        if let Some(expected) = expected_name(&member.folder).filter(|expected| *expected != member.name) {
            let message = format!("package `{}`; its folder makes it `{expected}`", member.name);
            violations.push(Violation::in_file(&place, message));
        }
        let upward =
            member.uses.iter().filter(|(name, need)| !allowed(layer, layer_of(members, name), *need));
        violations.extend(upward.map(|(name, _)| {
            let message =
                format!("{layer:?} may not depend on `{name}`: the direction is core ← io ← bin ← dev");
            Violation::in_file(&place, message)
        }));
    }
    violations
}

fn expected_name(folder: &str) -> Option<String> {
    folder.rsplit('/').next().map(|last| format!("evenkeel-{last}"))
}

fn layer_of(members: &[Member], name: &str) -> Option<Layer> {
    members.iter().find(|member| member.name == name).and_then(|member| Layer::of(&member.folder))
}

/// Nothing but dev depends on a binary; tests may also use what is made for testing.
fn allowed(user: Layer, used: Option<Layer>, need: Need) -> bool {
    match (user, used, need) {
        (_, None, _) | (Layer::Bin, Some(Layer::Bin), _) => false,
        (_, Some(Layer::Dev), Need::Tests) => true,
        (user, Some(used), _) => used <= user,
    }
}

/// Every package that the core crates rest upon when they are built as they are shipped, by `cargo tree`.
///
/// # Errors
/// When cargo fails, or names nothing at all.
pub fn core_closure(root: &Path, members: &[Member]) -> Result<BTreeSet<String>> {
    let core = members.iter().filter(|member| Layer::of(&member.folder) == Some(Layer::Core));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["tree", "--locked", "--edges", "normal,no-proc-macro"]);
    command.args(["--target", "x86_64-unknown-none", "--prefix", "none", "--format", "{p}"]);
    command.args(core.flat_map(|member| ["--package".to_owned(), member.name.clone()]));
    let output = command.output().context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("cargo tree's output")?;
    let names: BTreeSet<_> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "cargo tree names no package");
    Ok(names.into_iter().filter(|name| !name.is_empty()).collect())
}

/// I10, in the graph: core crates rest upon core crates and on [`CORE_MAY_USE`], nothing else.
#[must_use]
pub fn core_is_pure(closure: &BTreeSet<String>, members: &[Member]) -> Vec<Violation> {
    closure
        .iter()
        .filter(|name| layer_of(members, name) != Some(Layer::Core) && !CORE_MAY_USE.contains(&name.as_str()))
        .map(|name| {
            let message = format!(
                "a core crate rests upon `{name}`; drop it, or make sure that it does no I/O and reads no clock \
                 or entropy, and list it in CORE_MAY_USE (I10)"
            );
            Violation::in_file("crates/core", message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, folder: &str, uses: &[(&str, Need)]) -> Member {
        let uses = uses.iter().map(|(name, need)| ((*name).to_owned(), *need)).collect();
        Member { name: name.to_owned(), folder: folder.to_owned(), uses }
    }

    fn workspace(user: Member) -> Vec<Member> {
        vec![
            member("evenkeel-a", "crates/core/a", &[]),
            member("evenkeel-b", "crates/io/b", &[]),
            member("evenkeel-c", "crates/bin/c", &[]),
            member("evenkeel-d", "crates/dev/d", &[]),
            user,
        ]
    }

    #[test]
    fn an_edge_that_runs_upward_is_found_and_one_that_runs_downward_is_not() {
        let cases = [
            ("crates/core/u", "evenkeel-a", Need::Always, true),
            ("crates/core/u", "evenkeel-b", Need::Always, false),
            ("crates/core/u", "evenkeel-b", Need::Tests, false),
            ("crates/core/u", "evenkeel-d", Need::Tests, true),
            ("crates/io/u", "evenkeel-a", Need::Always, true),
            ("crates/io/u", "evenkeel-c", Need::Always, false),
            ("crates/bin/u", "evenkeel-b", Need::Always, true),
            ("crates/bin/u", "evenkeel-c", Need::Always, false),
            ("crates/bin/u", "evenkeel-d", Need::Always, false),
            ("crates/dev/u", "evenkeel-c", Need::Always, true),
        ];
        for (folder, used, need, fine) in cases {
            let violations = layers(&workspace(member("evenkeel-u", folder, &[(used, need)])));
            assert_eq!(violations.is_empty(), fine, "{folder} on {used} for {need:?}: {violations:?}");
        }
    }

    #[test]
    fn a_crate_in_an_unknown_folder_is_found() {
        assert_eq!(layers(&workspace(member("evenkeel-u", "crates/u", &[]))).len(), 1);
    }

    #[test]
    fn a_crate_not_named_after_its_folder_is_found() {
        assert_eq!(layers(&workspace(member("evenkeel-other", "crates/io/u", &[]))).len(), 1);
    }

    #[test]
    fn an_unlisted_crate_under_core_is_found() {
        let closure = ["evenkeel-a", "evenkeel-b", "serde", "tokio"].map(str::to_owned).into();
        let found = core_is_pure(&closure, &workspace(member("evenkeel-u", "crates/core/u", &[])));
        let named =
            |name: &str| found.iter().any(|violation| violation.message.contains(&format!("`{name}`")));
        assert!(found.len() == 2 && named("evenkeel-b") && named("tokio"), "{found:?}");
    }
}
