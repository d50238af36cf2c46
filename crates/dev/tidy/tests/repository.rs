//! The rules, run over this repository. One test per rule; what breaks it is printed with file, line and remedy.

use std::path::{Path, PathBuf};

use evenkeel_tidy::{
    Tree, Violation, documents, graph, invariants, licences, manifests, names, shell, source,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().expect("the repository is there")
}

fn tree() -> Tree {
    let tree = Tree::read(&root()).expect("the repository can be read");
    assert!(tree.with_extension("rs").count() > 20, "the rules would see too few files to mean anything");
    tree
}

fn members() -> Vec<graph::Member> {
    graph::members(&root()).expect("cargo metadata describes the workspace")
}

#[track_caller]
fn assert_none(violations: &[Violation]) {
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

#[test]
fn dependencies_point_from_dev_to_core() {
    assert_none(&graph::layers(&members()));
}

/// I10: core crates do no I/O, for nothing they rest upon does.
#[test]
fn core_crates_rest_only_upon_crates_without_io() {
    let members = members();
    let closure =
        graph::core_closure(&root(), &members).expect("cargo tree shows what core crates rest upon");
    assert_none(&graph::core_is_pure(&closure, &members));
}

/// I10: core crates do no I/O, for they cannot name the standard library.
#[test]
fn core_crates_do_without_the_standard_library() {
    assert_none(&source::core_is_no_std(&tree()));
}

/// I10: `scripts/test` compiles each core crate for a target without an operating system.
#[test]
fn the_test_script_compiles_every_core_crate_without_an_operating_system() {
    let tree = tree();
    let script = &tree.file("scripts/test").expect("scripts/test is there").text;
    let lines = ["for manifest in crates/core/*/Cargo.toml; do", "--target x86_64-unknown-none"];
    for line in lines {
        assert!(script.contains(line), "scripts/test no longer has `{line}`");
    }
    for member in members().iter().filter(|member| member.folder.starts_with("crates/core/")) {
        assert_eq!(member.folder.split('/').count(), 3, "{} is deeper than the script looks", member.folder);
    }
}

#[test]
fn crates_inherit_from_the_workspace() {
    assert_none(&manifests::inheritance(&tree()));
}

#[test]
fn every_dependency_is_used() {
    assert_none(&manifests::unused(&tree()));
}

#[test]
fn every_licence_and_source_is_permitted() {
    let deny = tree().file("deny.toml").expect("deny.toml is there").text.clone();
    let permitted = licences::permitted(&deny).expect("deny.toml lists licences");
    let packages = licences::outside(&root()).expect("cargo metadata describes the packages");
    assert!(packages.len() > 20, "too few packages to mean anything: {}", packages.len());
    assert_none(&licences::judge(&packages, &permitted));
}

#[test]
fn every_source_file_says_what_it_owns() {
    assert_none(&source::headers(&tree()));
}

#[test]
fn no_source_file_is_too_long() {
    let tree = tree();
    for violation in source::longer_than(&tree, source::SMELLY_LINES) {
        println!("warning: {violation}");
    }
    assert_none(&source::sizes(&tree));
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    assert_none(&source::unwraps(&tree()));
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    assert_none(&source::leftovers(&tree()));
}

#[test]
fn ignored_tests_say_why() {
    assert_none(&source::ignored_tests(&tree()));
}

#[test]
fn every_invariant_is_held_by_a_test() {
    assert_none(&invariants::held_by_tests(&tree(), invariants::COUNT));
}

#[test]
fn every_threat_is_met_by_a_test() {
    assert_none(&invariants::threats_are_met_by_tests(&tree()));
}

#[test]
fn every_rule_of_http1_is_shown_by_a_test() {
    assert_none(&invariants::rules_of_http1_are_shown_by_tests(&tree()));
}

#[test]
fn no_file_is_named_by_a_word_that_says_nothing() {
    assert_none(&names::empty_words(&tree()));
}

#[test]
fn no_package_registry_is_named() {
    assert_none(&names::registry_hosts(&tree()));
}

#[test]
fn links_lead_somewhere() {
    assert_none(&documents::links(&tree()));
}

#[test]
fn the_map_shows_every_crate() {
    assert_none(&documents::map(&tree(), &members()));
}

#[test]
fn decisions_are_numbered_without_a_gap() {
    assert_none(&documents::decisions(&tree()));
}

#[test]
fn scripts_stop_at_errors_and_can_be_started() {
    let tree = tree();
    assert_none(&shell::scripts(&tree));
    assert_none(&shell::syntax(&tree));
}
