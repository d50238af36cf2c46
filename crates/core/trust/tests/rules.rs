//! Rules of the specification one by one, where no named attack already shows them.

mod repository;

use evenkeel_trust::{
    Draft, FileMeta, Header, Refresh, RoleName, Root, Snapshot, Step, Targets, Timestamp, TrustError,
    TrustedSet, Verified, limits,
};
use evenkeel_units::{ByteCount, Digest, WallTime};
use repository::{NOW, Server, fresh, header, key, refresh, root, signed, targets};

/// Fetches once from `server`, and says what is trusted then.
fn step_once(trusted: TrustedSet, server: &Server) -> TrustedSet {
    let mut refresh = Refresh::start(trusted, NOW);
    let Step::Fetch(request) = refresh.step() else { panic!("something to fetch") };
    refresh.on_bytes(&server.files[&request.name]).expect("an honest server");
    refresh.trusted().clone()
}

/// A root of this version whose `role` has the keys 1 to 4 and this threshold.
fn with_role(version: u64, role: RoleName, threshold: u32) -> Root {
    Root::new(header(version), |name| {
        let own = match name {
            RoleName::Root => 1,
            RoleName::Targets => 2,
            RoleName::Snapshot => 3,
            RoleName::Timestamp => 4,
        };
        if name == role {
            ([1, 2, 3, 4].map(|number| key(number).public().clone()).to_vec(), threshold)
        } else {
            (vec![key(own).public().clone()], 1)
        }
    })
}

#[test]
fn a_key_added_to_an_online_role_is_a_rotation_too() {
    for role in [RoleName::Timestamp, RoleName::Snapshot] {
        let trusted = refresh(fresh(), &Server::at(5)).expect("an honest server").trusted().clone();
        let mut server = Server::at(3);
        server.put("2.root.json", signed(&with_role(2, role, 1), &[&key(1)]));
        let after = step_once(trusted.clone(), &server);
        assert!(after.timestamp().is_none() && after.snapshot().is_none(), "{role}");
        assert!(refresh(trusted, &server).is_ok(), "{role}");
    }
}

#[test]
fn what_a_new_root_no_longer_vouches_for_is_not_trusted_longer() {
    for role in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets] {
        let first = TrustedSet::from_root(&signed(&with_role(1, role, 1), &[&key(1)])).expect("a good root");
        let trusted = refresh(first, &Server::at(5)).expect("an honest server").trusted().clone();
        let mut server = Server::at(5);
        server.put("2.root.json", signed(&with_role(2, role, 2), &[&key(1)]));
        let after = step_once(trusted, &server);
        let stays = [
            (RoleName::Timestamp, after.timestamp().is_some()),
            (RoleName::Snapshot, after.snapshot().is_some()),
            (RoleName::Targets, after.targets().is_some()),
        ];
        for (name, stays) in stays {
            assert_eq!(stays, name != role, "{name} after {role} needs two signatures");
        }
    }
}

#[test]
fn the_newer_of_the_image_s_and_the_kept_root_is_trusted() {
    let mut server = Server::at(5);
    server.put("2.root.json", signed(&root(2), &[&key(1)]));
    let kept = refresh(fresh(), &server).expect("an honest server").trusted().kept();
    let image = |version| signed(&root(version), &[&key(1)]);
    for (version, trusted) in [(1, 2), (2, 2), (3, 3)] {
        let opened = TrustedSet::open(&image(version), &kept).expect("a good image");
        assert_eq!(opened.root().header.version, trusted, "image {version}");
        assert!(opened.timestamp().is_some(), "image {version}");
    }
}

#[test]
fn a_snapshot_that_lists_no_targets_is_never_kept() {
    let mut server = Server::default();
    server.put_snapshot(1, &Snapshot { header: header(1), meta: [].into() });
    let (error, trusted) = *refresh(fresh(), &server).expect_err("no targets");
    assert!(matches!(error, TrustError::Field { field, .. } if field == "signed.meta.targets.json"));
    assert!(trusted.snapshot().is_none());
}

#[test]
fn another_file_of_the_same_version_is_not_the_listed_one() {
    let listed = Server::at(1);
    for (expires, length_differs) in
        [(WallTime::from_unix_seconds(NOW.unix_seconds() + 9), false), (NOW, true)]
    {
        let mut other = targets(1);
        other.header.expires = expires;
        if length_differs {
            other.delegations = Some("more".into());
        }
        let mut server = listed.clone();
        server.put("1.targets.json", signed(&other, &[&key(2)]));
        let (error, _) = *refresh(fresh(), &server).expect_err("not the listed one");
        let too_long = matches!(error, TrustError::TooLong { .. });
        let differs = matches!(&error, TrustError::Mismatch { file, .. } if file == "targets.json");
        assert!(if length_differs { too_long } else { differs }, "{error}");
        // Shorter ones are within the limit, and still not the listed one.
        server.put("1.targets.json", b"{}".to_vec());
        let (error, _) = *refresh(fresh(), &server).expect_err("not the listed one");
        assert!(error.to_string().contains("is 2 bytes long"), "{error}");
    }
}

#[test]
fn a_listed_file_may_be_no_longer_than_listed() {
    let server = Server::at(1);
    let mut refresh = Refresh::start(fresh(), NOW);
    refresh.on_missing().expect("the chain of roots ends");
    refresh.on_bytes(&server.files["timestamp.json"]).expect("an honest server");
    let Step::Fetch(request) = refresh.step() else { panic!("a snapshot to fetch") };
    assert_eq!(request.limit, ByteCount(server.files["1.snapshot.json"].len() as u64));
}

#[test]
fn a_list_cannot_raise_the_limit() {
    let listed = FileMeta { version: 1, length: Some(ByteCount(u64::MAX >> 1)), sha256: None };
    let timestamp = signed(&Timestamp { header: header(1), snapshot: listed }, &[&key(4)]);
    let mut refresh = Refresh::start(fresh(), NOW);
    refresh.on_missing().expect("the chain of roots ends");
    refresh.on_bytes(&timestamp).expect("a strange but signed claim");
    let Step::Fetch(request) = refresh.step() else { panic!("a snapshot to fetch") };
    assert_eq!(request.limit, limits::SNAPSHOT);
}

#[test]
fn without_a_listed_hash_the_signed_version_still_has_to_match() {
    let bytes = signed(&targets(2), &[&key(2)]);
    let listed = FileMeta { version: 1, length: None, sha256: None };
    let mut server = Server::default();
    server.put("1.targets.json", bytes);
    server.put_snapshot(1, &Snapshot::of_targets(header(1), listed));
    let (error, _) = *refresh(fresh(), &server).expect_err("another version");
    assert!(error.to_string().contains("targets.json is version 2, but snapshot lists version 1"), "{error}");
}

#[test]
fn a_repository_without_consistent_snapshots_has_plain_names() {
    let mut plain = root(1);
    plain.consistent_snapshot = false;
    let trusted = TrustedSet::from_root(&signed(&plain, &[&key(1)])).expect("a good root");
    let mut server = Server::at(3);
    for role in ["snapshot", "targets"] {
        let bytes = server.files.remove(&format!("3.{role}.json")).expect("a file");
        server.put(&format!("{role}.json"), bytes);
    }
    assert!(refresh(trusted, &server).is_ok());
}

#[test]
fn one_refresh_follows_no_more_roots_than_its_limit() {
    let mut server = Server::at(1);
    for version in 2..=limits::ROOT_ROTATIONS + 10 {
        let version = u64::from(version);
        server.put(&format!("{version}.root.json"), signed(&root(version), &[&key(1)]));
    }
    let current = refresh(fresh(), &server).expect("an honest server");
    assert_eq!(current.trusted().root().header.version, u64::from(limits::ROOT_ROTATIONS) + 1);
}

#[test]
fn a_file_beyond_its_role_s_limit_is_not_even_read() {
    let bytes = vec![b' '; usize::try_from(limits::TIMESTAMP.0).expect("small") + 1];
    let error = fresh().root().verify::<Timestamp>(&bytes).expect_err("too long");
    assert_eq!(error, TrustError::TooLong { role: RoleName::Timestamp, limit: limits::TIMESTAMP });
}

#[test]
fn more_signatures_than_the_limit_are_refused_before_any_is_checked() {
    let keys: Vec<_> = (0..=u8::try_from(limits::SIGNATURES).expect("small")).map(key).collect();
    let sign = |count: usize| signed(&targets(1), &keys[..count].iter().collect::<Vec<_>>());
    assert!(fresh().root().verify::<Targets>(&sign(limits::SIGNATURES)).is_ok());
    let error = fresh().root().verify::<Targets>(&sign(limits::SIGNATURES + 1)).expect_err("too many");
    assert!(matches!(error, TrustError::Field { field, .. } if field == "signatures"));
}

/// The root as text with one change, signed.
fn changed_root(from: &str, to: &str) -> Result<Verified<Root>, TrustError> {
    let text = String::from_utf8(signed(&root(1), &[])).expect("ASCII");
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text, "{from}");
    let mut draft = Draft::read(RoleName::Root, changed.as_bytes()).expect("a file");
    draft.sign(&key(1));
    Verified::anchor(&draft.to_bytes())
}

#[test]
fn root_metadata_out_of_range_is_refused_and_names_the_field() {
    let twice = format!("\"{0}\",\n\"{0}\"", key(2).public().id());
    let once = format!("\"{}\"\n", key(2).public().id());
    for (from, to, field) in [
        ("\"_type\": \"root\"", "\"_type\": \"targets\"", "signed._type"),
        ("1.0.33", "2.0.0", "signed.spec_version"),
        ("\"version\": 1", "\"version\": 0", "signed.version"),
        ("\"version\": 1", "\"version\": \"1\"", "signed.version"),
        ("\"expires\": \"2", "\"expires\": \"x", "signed.expires"),
        ("\"threshold\": 1", "\"threshold\": -1", "signed.roles.root.threshold"),
        ("\"threshold\": 1", "\"threshold\": 4294967296", "signed.roles.root.threshold"),
        ("\"consistent_snapshot\": true", "\"consistent_snapshot\": 1", "signed.consistent_snapshot"),
        ("\"snapshot\": {", "\"snapshots\": {", "signed.roles.snapshot"),
        (once.as_str(), twice.as_str(), "signed.roles.targets.keyids"),
    ] {
        let error = changed_root(from, to).expect_err(to);
        assert!(matches!(&error, TrustError::Field { field: got, .. } if got == field), "{to}: {error}");
    }
}

#[test]
fn a_signature_has_one_spelling() {
    let text = String::from_utf8(signed(&targets(1), &[&key(2)])).expect("ASCII");
    let (before, rest) = text.split_once("\"sig\": \"").expect("a signature");
    let upper = format!("{before}\"sig\": \"{}{}", rest[..128].to_uppercase(), &rest[128..]);
    assert!(fresh().root().verify::<Targets>(text.as_bytes()).is_ok());
    assert!(fresh().root().verify::<Targets>(upper.as_bytes()).is_err());
}

#[test]
fn text_that_writers_of_canonical_json_disagree_about_is_never_signed() {
    let mut list = targets(1);
    let file = list.targets.values().next().expect("a target").clone();
    list.targets.insert("é.bundle".parse().expect("a harmless name"), file);
    assert_eq!(Draft::new(&list).expect_err("not plain"), TrustError::NotPlain { role: RoleName::Targets });
}

#[test]
fn lists_tell_length_and_hash_of_what_they_list() {
    let header = Header { version: 7, expires: NOW };
    let meta = FileMeta::of(3, b"abc");
    assert_eq!((meta.length, meta.sha256), (Some(ByteCount(3)), Some(Digest::of(b"abc"))));
    assert_eq!(Snapshot::of_targets(header, meta).targets(), Ok(meta));
}
