//! Every attack that TUF names and that is possible against the four top-level roles, each as a test.
//!
//! Each one also shows that the refusal left the trusted files as they were.

mod repository;

use evenkeel_trust::{
    Draft, FileMeta, Kept, Refresh, RoleName, Root, Snapshot, Step, Timestamp, TrustError, TrustedSet, Value,
    limits,
};
use evenkeel_units::WallTime;
use repository::{NOW, Server, TARGET, fresh, header, key, refresh, refresh_at, root, signed, targets};

/// A client that has seen version 5 of everything.
fn seen() -> TrustedSet {
    refresh(fresh(), &Server::at(5)).expect("an honest server").trusted().clone()
}

/// Refreshes a client that has seen version 5; demands a refusal that leaves `kept` files as they were.
fn refused(server: &Server) -> TrustError {
    let before = seen().kept();
    let (error, trusted) = *refresh(seen(), server).expect_err("the attack must fail");
    assert_eq!(trusted.kept().targets, before.targets, "{error}");
    error
}

#[test]
fn an_honest_server_is_followed() {
    let current = refresh(seen(), &Server::at(6)).expect("an honest server");
    assert_eq!(current.targets().header.version, 6);
    assert!(current.target(&TARGET.parse().expect("a name")).is_ok());
}

#[test]
fn arbitrary_software_signed_with_foreign_keys_is_refused() {
    let mut server = Server::at(6);
    let bytes = signed(&targets(6), &[&key(66)]);
    let meta = FileMeta::of(6, &bytes);
    server.put("6.targets.json", bytes);
    server.put_snapshot(6, &Snapshot::of_targets(header(6), meta));
    let error = refused(&server);
    assert!(
        matches!(error, TrustError::Threshold { role: RoleName::Targets, valid: 0, threshold: 1, .. }),
        "{error}"
    );
}

#[test]
fn i5_rollback_of_the_timestamp_is_refused() {
    let error = refused(&Server::at(4));
    let expected = TrustError::Rollback { what: "timestamp.json".into(), got: 4, trusted: 5 };
    assert_eq!(error, expected);
}

#[test]
fn i5_rollback_of_the_snapshot_below_a_new_timestamp_is_refused() {
    let mut server = Server::at(4);
    let old = FileMeta::of(4, &server.files["4.snapshot.json"]);
    server.put("timestamp.json", signed(&Timestamp { header: header(6), snapshot: old }, &[&key(4)]));
    let expected = TrustError::Rollback { what: "snapshot.json".into(), got: 4, trusted: 5 };
    assert_eq!(refused(&server), expected);
}

#[test]
fn i5_rollback_of_the_targets_below_a_new_snapshot_is_refused() {
    let mut server = Server::default();
    server.put_targets(6, &targets(4));
    let expected = TrustError::Rollback { what: "targets.json".into(), got: 4, trusted: 5 };
    assert_eq!(refused(&server), expected);
}

#[test]
fn i5_a_snapshot_that_drops_a_file_it_listed_is_refused() {
    let bytes = signed(&targets(5), &[&key(2)]);
    let mut with_more = Snapshot::of_targets(header(5), FileMeta::of(5, &bytes));
    with_more.meta.insert("more.json".into(), FileMeta { version: 1, length: None, sha256: None });
    let mut server = Server::at(5);
    server.put_snapshot(5, &with_more);
    let trusted = refresh(fresh(), &server).expect("an honest server").trusted().clone();
    let (error, _) = *refresh(trusted, &Server::at(6)).expect_err("the attack must fail");
    assert_eq!(error, TrustError::Dropped { version: 6, file: "more.json".into() });
}

#[test]
fn freezing_a_client_ends_when_the_timestamp_expires() {
    let later = NOW + limits::TIMESTAMP_LIFETIME;
    let (error, _) = *refresh_at(seen(), &Server::at(5), later).expect_err("expired");
    assert!(matches!(error, TrustError::Expired { role: RoleName::Root, .. }), "{error}");

    let mut long_lived = root(1);
    long_lived.header.expires = NOW + limits::ROOT_LIFETIME;
    let trusted = TrustedSet::from_root(&signed(&long_lived, &[&key(1)])).expect("a good root");
    let trusted = refresh(trusted, &Server::at(5)).expect("an honest server").trusted().clone();
    let (error, _) = *refresh_at(trusted, &Server::at(5), later).expect_err("expired");
    let expected = TrustError::Expired { role: RoleName::Timestamp, version: 5, expired: later, now: later };
    assert_eq!(error, expected);
}

#[test]
fn every_role_is_refused_at_the_second_of_its_expiry_and_not_before() {
    let before = WallTime::from_unix_seconds(NOW.unix_seconds() + limits::TIMESTAMP_LIFETIME.as_secs() - 1);
    assert!(refresh_at(seen(), &Server::at(6), before).is_ok());
    for role in RoleName::ALL {
        let ends = |name: RoleName, version: u64| {
            let lives = if name == role { limits::TIMESTAMP_LIFETIME } else { limits::ROOT_LIFETIME };
            evenkeel_trust::Header { version, expires: NOW + lives }
        };
        let mut first = root(1);
        first.header = ends(RoleName::Root, 1);
        let mut files = targets(1);
        files.header = ends(RoleName::Targets, 1);
        let files = signed(&files, &[&key(2)]);
        let snapshot = Snapshot::of_targets(ends(RoleName::Snapshot, 1), FileMeta::of(1, &files));
        let snapshot = signed(&snapshot, &[&key(3)]);
        let timestamp =
            Timestamp { header: ends(RoleName::Timestamp, 1), snapshot: FileMeta::of(1, &snapshot) };
        let mut server = Server::default();
        server.put("1.targets.json", files);
        server.put("1.snapshot.json", snapshot);
        server.put("timestamp.json", signed(&timestamp, &[&key(4)]));
        let trusted = TrustedSet::from_root(&signed(&first, &[&key(1)])).expect("a good root");
        let later = NOW + limits::TIMESTAMP_LIFETIME;
        assert!(refresh_at(trusted.clone(), &server, before).is_ok());
        let (error, _) = *refresh_at(trusted, &server, later).expect_err("expired");
        assert!(
            matches!(error, TrustError::Expired { role: refused, .. } if refused == role),
            "{role}: {error}"
        );
    }
}

#[test]
fn endless_data_is_cut_off_at_the_limit_of_each_file() {
    for (name, role) in [
        ("2.root.json", RoleName::Root),
        ("timestamp.json", RoleName::Timestamp),
        ("6.snapshot.json", RoleName::Snapshot),
        ("6.targets.json", RoleName::Targets),
    ] {
        let mut server = Server::at(6);
        server.put(name, vec![b' '; usize::try_from(limits::TARGETS.0).expect("fits") + 9]);
        let error = refused(&server);
        assert!(matches!(error, TrustError::TooLong { role: cut, .. } if cut == role), "{name}: {error}");
    }
}

#[test]
fn mix_and_match_of_files_of_different_times_is_refused() {
    let (old, mut server) = (Server::at(5), Server::at(6));
    server.put("6.snapshot.json", old.files["5.snapshot.json"].clone());
    assert!(matches!(refused(&server), TrustError::Mismatch { file, .. } if file == "snapshot.json"));
    let mut server = Server::at(6);
    server.put("6.targets.json", old.files["5.targets.json"].clone());
    assert!(matches!(refused(&server), TrustError::Mismatch { file, .. } if file == "targets.json"));
}

#[test]
fn mix_and_match_is_refused_by_version_where_no_hash_is_listed() {
    let mut server = Server::at(6);
    let listed = FileMeta { version: 6, length: None, sha256: None };
    server.put("timestamp.json", signed(&Timestamp { header: header(6), snapshot: listed }, &[&key(4)]));
    server.put("6.snapshot.json", Server::at(7).files["7.snapshot.json"].clone());
    let error = refused(&server);
    assert!(matches!(error, TrustError::Mismatch { .. }), "{error}");
}

#[test]
fn wrong_software_is_not_found_under_another_name() {
    let current = refresh(seen(), &Server::at(6)).expect("an honest server");
    let error = current.target(&"evenkeel-9.9.9.bundle".parse().expect("a name")).expect_err("not listed");
    assert_eq!(error, TrustError::NoTarget { version: 6, name: "evenkeel-9.9.9.bundle".into() });
}

#[test]
fn a_target_whose_name_leaves_its_folder_makes_the_list_unacceptable() {
    let bytes = signed(&targets(6), &[&key(2)]);
    let text = String::from_utf8(bytes).expect("ASCII").replace(TARGET, "../../etc/passwd");
    let mut draft = Draft::read(RoleName::Targets, text.as_bytes()).expect("a file");
    draft.sign(&key(2));
    let meta = FileMeta::of(6, &draft.to_bytes());
    let mut server = Server::default();
    server.put("6.targets.json", draft.to_bytes());
    server.put_snapshot(6, &Snapshot::of_targets(header(6), meta));
    assert!(matches!(refused(&server), TrustError::Field { role: RoleName::Targets, .. }));
}

/// A root whose targets role needs two of the keys 21, 22 and 23.
fn two_of_three(version: u64) -> Root {
    let mut root = root(version);
    let keys = [21, 22, 23].map(|number| key(number).public().clone());
    root.targets.keys = keys.iter().map(evenkeel_trust::PublicKey::id).collect();
    root.targets.threshold = 2;
    root.keys.extend(keys.map(|key| (key.id(), key)));
    root
}

#[test]
fn compromise_of_fewer_keys_than_the_threshold_gains_nothing() {
    let root = signed(&two_of_three(1), &[&key(1)]);
    let trusted = TrustedSet::from_root(&root).expect("a good root");
    for (signers, accepted) in [
        (vec![21], false),
        (vec![22, 2], false),
        (vec![21, 66], false),
        (vec![21, 23], true),
        (vec![22, 23], true),
        (vec![21, 22, 23], true),
    ] {
        let keys: Vec<_> = signers.iter().map(|number| key(*number)).collect();
        let bytes = signed(&targets(1), &keys.iter().collect::<Vec<_>>());
        assert_eq!(trusted.root().verify::<evenkeel_trust::Targets>(&bytes).is_ok(), accepted, "{signers:?}");
    }
}

#[test]
fn one_key_under_two_identities_counts_once() {
    // The same key with a further field has another identity; both are listed rightly, both sign.
    let plain = key(21).public().to_value();
    let mut object = plain.as_object().expect("an object").clone();
    object.insert("note".into(), "the same key again".into());
    let twin = evenkeel_trust::PublicKey::from_value(&Value::Object(object)).expect("a key");
    assert_ne!(twin.id(), key(21).public().id());
    let mut root = two_of_three(1);
    root.targets.keys.insert(twin.id());
    root.keys.insert(twin.id(), twin.clone());
    let trusted = TrustedSet::from_root(&signed(&root, &[&key(1)])).expect("a good root");

    let bytes = signed(&targets(1), &[&key(21)]);
    let signature = key(21).public().id().to_string();
    let text = String::from_utf8(bytes).expect("ASCII");
    let entry = text.split_once("[\n").and_then(|(_, rest)| rest.split_once("\n ],")).expect("a list").0;
    let doubled = format!("{entry},\n{}", entry.replace(&signature, &twin.id().to_string()));
    let error = trusted.root().verify::<evenkeel_trust::Targets>(text.replace(entry, &doubled).as_bytes());
    assert!(matches!(error, Err(TrustError::Threshold { valid: 1, threshold: 2, .. })), "{error:?}");
}

#[test]
fn a_key_listed_under_a_foreign_identity_is_refused() {
    let text = String::from_utf8(signed(&root(1), &[&key(1)])).expect("ASCII");
    let swapped = text.replace(&key(2).public().id().to_string(), &key(66).public().id().to_string());
    let mut draft = Draft::read(RoleName::Root, swapped.as_bytes()).expect("a file");
    draft.sign(&key(1));
    let error = TrustedSet::from_root(&draft.to_bytes()).expect_err("refused");
    assert!(matches!(error, TrustError::KeyId { .. }), "{error}");
}

#[test]
fn a_threshold_of_zero_is_refused() {
    let mut open = root(1);
    open.targets.threshold = 0;
    let error = TrustedSet::from_root(&signed(&open, &[&key(1)])).expect_err("refused");
    assert!(matches!(error, TrustError::Field { field, .. } if field == "signed.roles.targets.threshold"));
}

#[test]
fn a_new_root_needs_the_thresholds_of_both_roots() {
    let mut next = root(2);
    next.root.keys = [key(11).public().id()].into();
    next.keys.insert(key(11).public().id(), key(11).public().clone());
    for (signers, accepted) in [(vec![1], false), (vec![11], false), (vec![1, 11], true)] {
        let keys: Vec<_> = signers.iter().map(|number| key(*number)).collect();
        let mut server = Server::at(6);
        server.put("2.root.json", signed(&next, &keys.iter().collect::<Vec<_>>()));
        let result = refresh(seen(), &server);
        assert_eq!(result.is_ok(), accepted, "{signers:?}");
    }
}

#[test]
fn a_root_that_is_not_the_next_one_is_refused() {
    for version in [1, 3] {
        let mut server = Server::at(6);
        server.put("2.root.json", signed(&root(version), &[&key(1)]));
        assert_eq!(refused(&server), TrustError::RootVersion { got: version, expected: 2 });
    }
}

#[test]
fn a_chain_of_roots_is_followed_one_by_one_even_past_expired_ones() {
    let mut server = Server::at(6);
    for version in 2..=4 {
        let mut next = root(version);
        if version < 4 {
            next.header.expires = WallTime::from_unix_seconds(0);
        }
        server.put(&format!("{version}.root.json"), signed(&next, &[&key(1)]));
    }
    let current = refresh(seen(), &server).expect("an honest server");
    assert_eq!(current.trusted().root().header.version, 4);
}

/// A root 2 with a new timestamp key 44.
fn rotated() -> Root {
    let mut root = root(2);
    root.timestamp.keys = [key(44).public().id()].into();
    root.keys.insert(key(44).public().id(), key(44).public().clone());
    root
}

#[test]
fn fast_forward_is_undone_by_a_rotation_of_the_online_keys() {
    let last = i64::MAX.unsigned_abs();
    let attacked = refresh(fresh(), &Server::at(last)).expect("stolen keys sign well").trusted().clone();
    let (error, _) = *refresh(attacked.clone(), &Server::at(7)).expect_err("stuck");
    assert!(matches!(error, TrustError::Rollback { .. }), "{error}");

    let mut server = Server::at(7);
    server.put("2.root.json", signed(&rotated(), &[&key(1)]));
    let snapshot = FileMeta::of(7, &server.files["7.snapshot.json"]);
    server.put("timestamp.json", signed(&Timestamp { header: header(7), snapshot }, &[&key(44)]));
    let current = refresh(attacked, &server).expect("recovered");
    assert_eq!(current.targets().header.version, 7);
}

#[test]
fn a_newer_root_in_the_image_also_undoes_a_fast_forward() {
    let last = i64::MAX.unsigned_abs();
    let attacked = refresh(fresh(), &Server::at(last)).expect("stolen keys sign well").trusted().kept();
    let image = signed(&rotated(), &[&key(1)]);
    let trusted = TrustedSet::open(&image, &attacked).expect("a good image");
    assert!(trusted.timestamp().is_none() && trusted.snapshot().is_none());
    assert_eq!(trusted.root().header.version, 2);
}

#[test]
fn an_equal_timestamp_is_no_news_and_leaves_the_kept_bytes() {
    let mut server = Server::at(5);
    let snapshot = FileMeta::of(5, &server.files["5.snapshot.json"]);
    let mut again = Timestamp { header: header(5), snapshot };
    again.header.expires = NOW + limits::SNAPSHOT_LIFETIME;
    server.put("timestamp.json", signed(&again, &[&key(4)]));
    let current = refresh(seen(), &server).expect("no news is no error");
    assert_eq!(current.trusted().kept(), seen().kept());
}

#[test]
fn a_refused_timestamp_is_never_kept() {
    let mut server = Server::at(6);
    let mut expired =
        Timestamp { header: header(6), snapshot: FileMeta::of(6, &server.files["6.snapshot.json"]) };
    expired.header.expires = NOW;
    server.put("timestamp.json", signed(&expired, &[&key(4)]));
    let (error, trusted) = *refresh(seen(), &server).expect_err("expired");
    assert!(matches!(error, TrustError::Expired { .. }), "{error}");
    assert_eq!(trusted.kept(), seen().kept());
}

#[test]
fn files_that_are_here_as_listed_are_not_fetched_again() {
    let mut refresh = Refresh::start(seen(), NOW);
    let mut asked = Vec::new();
    while let Step::Fetch(request) = refresh.step() {
        let bytes = Server::at(5).files.get(&request.name).cloned();
        asked.push(request.name);
        match bytes {
            Some(bytes) => refresh.on_bytes(&bytes),
            None => refresh.on_missing(),
        }
        .expect("an honest server");
    }
    assert_eq!(asked, ["2.root.json", "timestamp.json"]);
    assert!(refresh.finish().is_some());
}

#[test]
fn without_the_end_there_is_no_proof() {
    let mut refresh = Refresh::start(seen(), NOW);
    refresh.on_missing().expect("the chain of roots ends");
    assert!(refresh.finish().is_none());
}

#[test]
fn what_was_kept_is_opened_again_and_what_is_damaged_is_left_out() {
    let image = signed(&root(1), &[&key(1)]);
    let kept = seen().kept();
    assert_eq!(TrustedSet::open(&image, &kept).expect("a good image").kept(), kept);
    let damaged = Kept { snapshot: Some(b"{}".to_vec()), ..kept.clone() };
    let opened = TrustedSet::open(&image, &damaged).expect("a good image");
    assert_eq!(opened.kept(), Kept { snapshot: None, ..kept });
    assert!(refresh(opened, &Server::at(6)).is_ok());
}

#[test]
fn metadata_of_one_role_is_none_of_another() {
    let bytes = signed(&Snapshot::of_targets(header(1), FileMeta::of(1, b"x")), &[&key(2), &key(3)]);
    let trusted = fresh();
    assert!(trusted.root().verify::<Snapshot>(&bytes).is_ok());
    assert!(trusted.root().verify::<evenkeel_trust::Targets>(&bytes).is_err());
}

#[test]
fn unknown_fields_are_signed_with_the_rest() {
    let text = String::from_utf8(signed(&targets(1), &[])).expect("ASCII");
    let text = text.replace("\"_type\"", "\"x-note\": [1, {\"b\": null}],\n\"_type\"");
    let mut draft = Draft::read(RoleName::Targets, text.as_bytes()).expect("a file");
    draft.sign(&key(2));
    let bytes = draft.to_bytes();
    let verify = |bytes: &[u8]| fresh().root().verify::<evenkeel_trust::Targets>(bytes).is_ok();
    assert!(verify(&bytes));
    assert!(!verify(String::from_utf8(bytes).expect("ASCII").replace("null", "true").as_bytes()));
}
