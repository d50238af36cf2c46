//! `evenkeel key`: keys that only their owner reads, and roots that only thresholds of keys make.

mod operator;

use std::{fs, os::unix::fs::PermissionsExt as _};

use evenkeel_trust::Verified;
use operator::{BUILD, Operator, SIGN, VERIFY};

#[test]
fn a_new_key_is_for_its_owner_alone_and_never_overwrites_another() {
    let operator = Operator::new();
    operator.does("key new --role root --out root.key");
    let mode = fs::metadata(operator.path("root.key")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = operator.read("root.key");
    let error = operator.fails("key new --role root --out root.key");
    assert!(error.contains("an existing key is never overwritten"), "{error}");
    assert!(operator.read("root.key") == key);
}

#[test]
fn a_key_open_to_others_is_refused() {
    let operator = Operator::with_root();
    operator.does(BUILD);
    fs::set_permissions(operator.path("targets.key"), fs::Permissions::from_mode(0o644)).expect("own file");
    let error = operator.fails(SIGN);
    assert!(error.contains("open to others (mode 0644); run `chmod 600 targets.key`"), "{error}");
}

#[test]
fn a_key_shows_its_identity_and_its_public_half_but_never_its_seed() {
    let operator = Operator::new();
    operator.does("key new --role targets --out targets.key");
    let text = String::from_utf8(operator.read("targets.key")).expect("ASCII");
    let seed = text.split("\"seed\": \"").nth(1).and_then(|rest| rest.get(..64)).expect("a seed");
    let shown = operator.does("key show targets.key");
    let public = operator.does("key show --public targets.key");
    assert!(!shown.contains(seed) && !public.contains(seed));
    operator.write("targets.pub", public.as_bytes());
    let id = shown.split_whitespace().last().expect("an identity");
    assert!(operator.does("key show targets.pub").contains(id));
}

#[test]
fn a_key_of_another_role_or_none_at_all_is_refused() {
    let operator = Operator::with_root();
    operator.does(BUILD);
    let error = operator.fails(&SIGN.replace("targets.key", "root.key"));
    assert!(error.contains("root.key is a root key, and a targets key is needed"), "{error}");
    operator.does("key new --role targets --out foreign.key");
    let error = operator.fails(&SIGN.replace("targets.key", "foreign.key"));
    assert!(error.contains("is not among the targets keys of root version 1"), "{error}");
    let error = operator.fails(&SIGN.replace("targets.key", "uki.efi"));
    assert!(error.contains("uki.efi"), "{error}");
}

#[test]
fn two_of_three_sign_a_release_one_after_the_other() {
    let operator = Operator::new();
    operator.write_online_keys();
    operator.does("key new --role root --out root.key");
    for name in ["a", "b", "c"] {
        operator.does(&format!("key new --role targets --out {name}.key"));
        let public = operator.does(&format!("key show --public {name}.key"));
        operator.write(&format!("{name}.pub"), public.as_bytes());
    }
    // Targets keys need not be at hand for the root: their public halves do.
    operator.does(
        "key root --root-key root.key --targets-key a.pub --targets-key b.pub --targets-key c.pub \
         --targets-threshold 2 --online-keys online.json --out meta/root.json",
    );
    operator.does(BUILD);
    let said = operator.does(&SIGN.replace("targets.key", "a.key"));
    assert!(said.contains("has 1 valid signatures") && said.contains("2 are needed"), "{said}");
    let error = operator.fails(VERIFY);
    assert!(error.contains("2 are needed"), "{error}");
    // The same key again is still one key.
    operator.does("key sign meta/targets.json --key a.key");
    operator.fails(VERIFY);
    let said = operator.does("key sign meta/targets.json --key c.key");
    assert!(said.contains("All signatures are there."), "{said}");
    operator.does(VERIFY);
}

#[test]
fn a_root_is_followed_by_one_that_both_sets_of_keys_signed() {
    let operator = Operator::with_release();
    operator.does("key new --role root --out new.key");
    let said = operator.does(
        "key root --root-key new.key --targets-key targets.key --previous meta/root.json --out meta/root.json",
    );
    assert!(said.contains("version 2") && said.contains("Signatures are missing"), "{said}");
    operator.fails("release verify r.bundle --root meta/1.root.json --metadata meta");
    operator.does("key sign meta/root.json --key root.key");
    operator.does("release verify r.bundle --root meta/1.root.json --metadata meta");
    let first = Verified::anchor(&operator.read("meta/1.root.json")).expect("the first root");
    assert!(first.next(&operator.read("meta/2.root.json")).is_ok());
    assert!(operator.read("meta/2.root.json") == operator.read("meta/root.json"));
}

#[test]
fn thresholds_that_cannot_be_reached_are_refused() {
    let operator = Operator::with_root();
    let before = operator.metadata();
    let line = "key root --root-key root.key --targets-key targets.key --targets-key targets.key \
                --targets-threshold 2 --previous meta/root.json --out meta/root.json";
    let error = operator.fails(line);
    assert!(error.contains("the targets threshold is 2, but there are 1 distinct targets keys"), "{error}");
    assert!(operator.metadata() == before);
}

#[test]
fn a_root_without_online_keys_says_where_to_get_them() {
    let operator = Operator::new();
    operator.does("key new --role root --out root.key");
    operator.does("key new --role targets --out targets.key");
    let line = "key root --root-key root.key --targets-key targets.key --out meta/root.json";
    let error = operator.fails(line);
    assert!(error.contains("--server URL, --online-keys FILE or --previous FILE"), "{error}");
    let error = operator.fails(&format!("{line} --server http://127.0.0.1:1"));
    assert!(error.contains("http://127.0.0.1:1 cannot be reached; is it running?"), "{error}");
    assert!(!operator.path("meta").exists());
}
