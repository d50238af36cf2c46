//! `evenkeel release`: bundles built, signed and verified; what is damaged, forged or stale is refused with a
//! sentence that names the thing and the remedy.

mod operator;

use evenkeel_trust::{Draft, FileMeta, Header, RoleName, SigningKey, Snapshot, Timestamp};
use evenkeel_units::WallTime;
use operator::{BUILD, Operator, SIGN, VERIFY};

#[test]
fn a_bundle_is_built_signed_and_verified() {
    let operator = Operator::with_release();
    let said = operator.does(VERIFY);
    assert!(said.contains("release 1.1.0 verified, every chunk of it"), "{said}");
    let shown = operator.does("release show r.bundle");
    assert!(shown.contains("release        1.1.0") && shown.contains("notes          Better."), "{shown}");
}

#[test]
fn the_same_inputs_make_the_same_bundle() {
    let operator = Operator::new();
    operator.does(BUILD);
    let first = operator.read("r.bundle");
    operator.does(BUILD);
    assert!(operator.read("r.bundle") == first);
    let left: Vec<_> = std::fs::read_dir(operator.path(".")).expect("a folder").collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn tar_unpacks_a_bundle_to_the_images() {
    let operator = Operator::new();
    operator.does(BUILD);
    operator.unpack();
    let (root, image) = (operator.read("root.raw"), operator.read("root.img"));
    assert!(image.starts_with(&root) && image[root.len()..].iter().all(|byte| *byte == 0));
    assert_eq!(image.len() % 4096, 0);
    assert!(operator.read("uki.efi").len() == 9_999);
}

#[test]
fn a_flipped_bit_anywhere_in_a_bundle_is_refused_with_a_remedy() {
    let operator = Operator::with_release();
    let (bundle, before) = (operator.read("r.bundle"), operator.metadata());
    let places = (0..40).chain((40..bundle.len()).step_by(bundle.len() / 120)).chain([bundle.len() - 1]);
    for at in places {
        let mut damaged = bundle.clone();
        damaged[at] ^= 1 << (at % 8);
        operator.write("r.bundle", &damaged);
        for line in [VERIFY, "release publish r.bundle --metadata meta --server http://127.0.0.1:9"] {
            let error = operator.fails(line);
            let names = error.contains("r.bundle") || error.contains("release");
            let remedies = ["again", "new version", "evenkeel release"];
            assert!(names && remedies.iter().any(|remedy| error.contains(remedy)), "byte {at}: {error}");
        }
        assert!(operator.metadata() == before, "byte {at}");
    }
}

#[test]
fn a_damaged_bundle_is_not_signed() {
    let operator = Operator::with_root();
    operator.does(BUILD);
    let mut bundle = operator.read("r.bundle");
    let middle = bundle.len() / 2;
    bundle[middle] ^= 1;
    operator.write("r.bundle", &bundle);
    let error = operator.fails(SIGN);
    assert!(error.contains("chunk") && error.contains("damaged"), "{error}");
    assert!(!operator.path("meta/targets.json").exists());
}

#[test]
fn a_truncated_bundle_is_refused_wherever_it_ends() {
    let operator = Operator::with_release();
    let bundle = operator.read("r.bundle");
    for length in [0, 1, 9, 10, 400, bundle.len() / 2, bundle.len() - 1] {
        operator.write("r.bundle", &bundle[..length]);
        let error = operator.fails(VERIFY);
        assert!(error.contains("r.bundle"), "{length} bytes: {error}");
    }
    let error = operator.fails(VERIFY);
    assert!(error.contains("cut short or damaged: copy or build it again"), "{error}");
}

#[test]
fn a_flipped_bit_anywhere_in_signed_metadata_is_refused() {
    let operator = Operator::with_release();
    for name in ["meta/root.json", "meta/targets.json"] {
        let whole = operator.read(name);
        for at in (0..whole.len()).step_by(17) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            operator.write(name, &damaged);
            let error = operator.fails(VERIFY);
            assert!(error.contains(name) || error.contains("metadata"), "byte {at} of {name}: {error}");
        }
        operator.write(name, &whole);
    }
    operator.does(VERIFY);
}

#[test]
fn a_wrong_signature_is_refused_and_says_how_many_are_missing() {
    let operator = Operator::with_release();
    let mut draft = Draft::read(RoleName::Targets, &operator.read("meta/targets.json")).expect("metadata");
    let mut targets: evenkeel_trust::Targets = draft.contents().expect("targets");
    targets.header.version += 1;
    draft = Draft::new(&targets).expect("plain");
    draft.sign(&SigningKey::from_seed(&[66; 32]));
    operator.write("meta/targets.json", &draft.to_bytes());
    let error = operator.fails(VERIFY);
    assert!(error.contains("has 0 valid signatures") && error.contains("and 1 are needed"), "{error}");
    let error = operator.fails(SIGN);
    assert!(error.contains("restore it from a copy"), "{error}");
}

/// Puts a snapshot and a timestamp of a server with the online keys into the folder.
fn serve(operator: &Operator, version: u64, expires: WallTime) {
    let header = Header { version, expires };
    let sign = |mut draft: Draft, seed| {
        draft.sign(&SigningKey::from_seed(&[seed; 32]));
        draft.to_bytes()
    };
    let targets = operator.read("meta/targets.json");
    operator.write("meta/1.targets.json", &targets);
    let meta = FileMeta::of(1, &targets);
    let snapshot = sign(Draft::new(&Snapshot::of_targets(header, meta)).expect("plain"), 3);
    operator.write(&format!("meta/{version}.snapshot.json"), &snapshot);
    let timestamp = Timestamp { header, snapshot: FileMeta::of(version, &snapshot) };
    operator.write("meta/timestamp.json", &sign(Draft::new(&timestamp).expect("plain"), 4));
}

#[test]
fn the_whole_chain_of_a_server_is_verified_and_an_expired_timestamp_refused() {
    let operator = Operator::with_release();
    serve(&operator, 1, WallTime::from_unix_seconds(u64::MAX));
    let said = operator.does(VERIFY);
    assert!(!said.contains("none to verify"), "{said}");
    serve(&operator, 2, WallTime::from_unix_seconds(1_700_000_000));
    let error = operator.fails(VERIFY);
    assert!(error.contains("timestamp metadata version 2 expired at 2023-11-14T22:13:20Z"), "{error}");
    assert!(error.contains("see that the update server runs") && error.contains("clock"), "{error}");
}

#[test]
fn expired_targets_and_roots_are_refused_and_renewed_by_signing_again() {
    let operator = Operator::with_root();
    operator.does(BUILD);
    operator.does(&format!("{SIGN} --days 0"));
    let error = operator.fails(VERIFY);
    assert!(error.contains("targets metadata version 1 expired at"), "{error}");
    operator.does(SIGN);
    operator.does(VERIFY);
    operator.does(
        "key root --root-key root.key --targets-key targets.key --previous meta/root.json --days 0 --out meta/root.json",
    );
    let error = operator.fails("release verify r.bundle --root meta/1.root.json --metadata meta");
    assert!(error.contains("root metadata version 2 expired at"), "{error}");
}

#[test]
fn earlier_releases_stay_and_the_version_counts_up() {
    let operator = Operator::with_release();
    operator.does(&BUILD.replace("1.1.0", "1.2.0").replace("r.bundle", "s.bundle"));
    let said = operator.does(&SIGN.replace("r.bundle", "s.bundle"));
    assert!(said.contains("targets metadata version 2, release 1.2.0 added"), "{said}");
    operator.does(VERIFY);
    operator.does(&VERIFY.replace("r.bundle", "s.bundle"));
    let draft = Draft::read(RoleName::Targets, &operator.read("meta/targets.json")).expect("metadata");
    let targets: evenkeel_trust::Targets = draft.contents().expect("targets");
    assert_eq!(targets.targets.len(), 2);
}

#[test]
fn one_version_is_never_signed_for_two_sets_of_bytes() {
    let operator = Operator::with_release();
    operator.does(&BUILD.replace("Better.", "Worse."));
    let before = operator.metadata();
    let error = operator.fails(SIGN);
    assert!(
        error.contains("signed already, with other bytes; build this one under a new version"),
        "{error}"
    );
    let error = operator.fails(VERIFY);
    assert!(error.contains("r.bundle"), "{error}");
    assert!(operator.metadata() == before);
}

#[test]
fn a_hash_tree_of_another_image_is_refused() {
    let operator = Operator::new();
    operator.does(BUILD);
    operator.unpack();
    operator.does(&format!("{BUILD} --verity verity.img"));
    let mut tree = operator.read("verity.img");
    tree[5000] ^= 1;
    operator.write("wrong.img", &tree);
    let error = operator.fails(&format!("{BUILD} --verity wrong.img"));
    assert!(error.contains("wrong.img is not the hash tree of the root image"), "{error}");
    let error = operator.fails(&format!("{BUILD} --verity uki.efi"));
    assert!(error.contains("uki.efi: the verity superblock's signature is not `verity`"), "{error}");
}

#[test]
fn what_cannot_be_an_image_or_a_bundle_is_refused() {
    let operator = Operator::with_root();
    operator.write("empty", b"");
    for (line, named) in [
        (BUILD.replace("root.raw", "missing"), "missing cannot be opened"),
        (BUILD.replace("root.raw", "empty"), "empty has 0 bytes"),
        (BUILD.replace("r.bundle", "no/such/r.bundle"), "check that its folder exists"),
        ("release show root.raw".to_string(), "root.raw is no whole bundle (copy it or build it again)"),
        (SIGN.to_string(), "r.bundle cannot be opened"),
        (
            "release verify root.raw --root meta/root.json --metadata meta".to_string(),
            "root.raw is no whole bundle (copy it or build it again)",
        ),
    ] {
        let error = operator.fails(&line);
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn an_unsigned_release_says_how_to_sign_it() {
    let operator = Operator::with_root();
    operator.does(BUILD);
    for line in
        [VERIFY.to_string(), VERIFY.replace("verify", "publish").replace(" --root meta/root.json", "")]
    {
        let error = operator.fails(&line);
        assert!(error.contains("evenkeel release sign"), "{error}");
    }
}
