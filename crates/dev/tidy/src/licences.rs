//! The rule that everything the workspace rests upon may be used: its licence and its source are permitted.
//!
//! Owns: comparing `cargo metadata` with the list of `deny.toml`, so that the rule holds without cargo-deny installed.
//! Leaves to cargo-deny: advisories and bans. A licence expression that cannot be read breaks the rule.

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use std::path::Path;

use crate::Violation;

/// A package from outside.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Name and version.
    pub name: String,
    /// Its licence as an SPDX expression, where it has one.
    pub licence: Option<String>,
    /// Where cargo has it from.
    pub source: String,
}

/// Every outside package of the resolved graph for the platform that Evenkeel runs on.
///
/// # Errors
/// When cargo fails.
pub fn outside(root: &Path) -> Result<Vec<Outside>> {
    let platform = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    let metadata = MetadataCommand::new().current_dir(root).other_options(platform).exec();
    let metadata = metadata.context("cargo metadata")?;
    let resolved = metadata.resolve.as_ref().context("cargo metadata without a resolved graph")?;
    let used = |package: &&cargo_metadata::Package| resolved.nodes.iter().any(|node| node.id == package.id);
    let from_outside = metadata.packages.iter().filter(used).filter_map(|package| {
        let source = package.source.as_ref()?.to_string();
        let name = format!("{} {}", package.name, package.version);
        Some(Outside { name, licence: package.license.clone(), source })
    });
    Ok(from_outside.collect())
}

/// The licences that a `deny.toml` permits.
///
/// # Errors
/// When the text is no TOML or lists none.
pub fn permitted(deny: &str) -> Result<Vec<String>> {
    let table: toml::Table = deny.parse().context("deny.toml")?;
    let allow =
        table.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    let allow = allow.context("deny.toml: no list `allow` in [licenses]")?;
    Ok(allow.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
}

/// Every package has a permitted licence and comes from the registry that cargo has by default.
#[must_use]
pub fn judge(packages: &[Outside], permitted: &[String]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        if !package.source.starts_with("registry+") {
            let message = format!("`{}` comes from {}; use the registry", package.name, package.source);
            violations.push(Violation::in_file("Cargo.lock", message));
        }
        let licence = package.licence.as_deref().unwrap_or("none");
        if !satisfied(licence, permitted) {
            let message =
                format!("`{}` has the licence {licence}; deny.toml does not permit it", package.name);
            violations.push(Violation::in_file("Cargo.lock", message));
        }
    }
    violations
}

/// Whether an SPDX expression is met: every part of `AND`, one part of `OR`, `/` being the old spelling of `OR`.
///
/// `AND` binds tighter than `OR` (SPDX 2.3, annex D.4.5); parentheses are followed one level deep, which is as deep as
/// any package goes.
fn satisfied(expression: &str, permitted: &[String]) -> bool {
    let expression = expression.trim();
    if let Some((before, rest)) = expression.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else { return false };
        let inside = if satisfied(inside, permitted) { "permitted" } else { "refused" };
        return satisfied(&format!("{before}{inside}{after}"), permitted);
    }
    let met = |part: &str| part == "permitted" || permitted.iter().any(|licence| licence == part);
    let every = |alternative: &str| alternative.split(" AND ").all(|part| met(part.trim()));
    expression.replace('/', " OR ").split(" OR ").any(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<String> {
        permitted("[licenses]\nallow = [\"MIT\", \"Zlib\"]\n").unwrap()
    }

    #[test]
    fn an_expression_is_met_as_spdx_says() {
        let met =
            ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND Zlib", "MIT AND Zlib OR GPL-3.0"];
        for expression in met {
            assert!(satisfied(expression, &list()), "{expression}");
        }
        for expression in ["GPL-3.0", "MIT AND GPL-3.0", "none", "", "(MIT", "(GPL-3.0 OR X) AND MIT"] {
            assert!(!satisfied(expression, &list()), "{expression}");
        }
    }

    #[test]
    fn a_package_with_another_licence_or_source_is_found() {
        let package = |licence: Option<&str>, source: &str| Outside {
            name: "a 1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            source: source.to_owned(),
        };
        let found = |package| judge(&[package], &list()).len();
        assert_eq!(found(package(Some("MIT"), "registry+https://example.org")), 0);
        assert_eq!(found(package(Some("MIT"), "git+https://example.org/a")), 1);
        assert_eq!(found(package(Some("GPL-3.0"), "registry+https://example.org")), 1);
        assert_eq!(found(package(None, "registry+https://example.org")), 1);
    }
}
