//! What holds for all inputs: canonical JSON reads back, a flipped bit is refused, nothing panics.

mod repository;

use evenkeel_trust::{
    Draft, KeyFile, Object, Refresh, RoleName, SigningKey, Snapshot, Step, Targets, Timestamp, TrustedSet,
    Value, Verified,
};
use proptest::prelude::*;
use repository::{NOW, Server, fresh, key, root, signed, targets};

/// JSON values as deep and wide as metadata is.
fn value(text: &'static str) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        text.prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::btree_map(text, inner, 0..5).prop_map(|map: Object| Value::Object(map)),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_form_reads_back(value in value("(?s).{0,8}")) {
        let text = value.text();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(Value::parse(text.as_bytes()), Ok(value));
    }

    #[test]
    fn the_canonical_form_of_plain_text_is_json_that_reads_back(value in value("[ -~]{0,8}")) {
        let canonical = value.canonical();
        let read = Value::parse(&canonical);
        prop_assert_eq!(read.as_ref(), Ok(&value));
        prop_assert_eq!(read.map(|read| read.canonical()), Ok(canonical));
    }

    #[test]
    fn equal_canonical_forms_mean_equal_values(a in value("[ -~]{0,2}"), b in value("[ -~]{0,2}")) {
        prop_assert_eq!(a.canonical() == b.canonical(), a == b);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Value::parse(&bytes);
        let _ = TrustedSet::from_root(&bytes);
        let _ = KeyFile::parse(&bytes);
        let _ = fresh().root().verify::<Targets>(&bytes);
    }

    #[test]
    fn no_json_makes_a_parser_panic(signed in value("[ -~]{0,8}")) {
        for role in RoleName::ALL {
            let signed = match signed.clone() {
                Value::Object(mut object) => {
                    object.insert("_type".into(), role.as_str().into());
                    object.insert("spec_version".into(), "1.0.33".into());
                    Value::Object(object)
                }
                other => other,
            };
            let file = Object::from([("signatures".into(), Value::List(vec![])), ("signed".into(), signed)]);
            let bytes = Value::Object(file).text();
            let _ = TrustedSet::from_root(bytes.as_bytes());
            let _ = fresh().root().verify::<Targets>(bytes.as_bytes());
            let _ = fresh().root().verify::<Snapshot>(bytes.as_bytes());
            let _ = fresh().root().verify::<Timestamp>(bytes.as_bytes());
        }
    }

    #[test]
    fn no_change_of_one_field_makes_a_reader_panic(at in any::<prop::sample::Index>(), with in value("[ -~]{0,8}")) {
        for bytes in [signed(&root(1), &[&key(1)]), signed(&targets(1), &[&key(2)])] {
            let text = String::from_utf8(bytes).expect("ASCII");
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let line = at.index(lines.len());
            if let Some((name, _)) = lines[line].clone().split_once(": ") {
                let comma = if lines[line].ends_with(',') { "," } else { "" };
                lines[line] = format!("{name}: {}{comma}", with.text());
            }
            let _ = TrustedSet::from_root(lines.join("\n").as_bytes());
            let _ = fresh().root().verify::<Targets>(lines.join("\n").as_bytes());
        }
    }

    #[test]
    fn a_key_file_reads_back(seed: [u8; 32]) {
        let file = KeyFile { role: RoleName::Root, key: SigningKey::from_seed(&seed) };
        let read = KeyFile::parse(file.text().as_bytes()).map(|read| read.key.public().clone());
        prop_assert_eq!(read, Ok(file.key.public().clone()));
    }
}

#[test]
fn any_flipped_bit_of_any_metadata_file_is_refused() {
    let honest = Server::at(3);
    let mut refresh = Refresh::start(fresh(), NOW);
    let mut flipped = 0;
    while let Step::Fetch(request) = refresh.step() {
        let Some(bytes) = honest.files.get(&request.name) else {
            refresh.on_missing().expect("the chain of roots ends");
            continue;
        };
        let mut damaged = bytes.clone();
        for bit in 0..bytes.len() * 8 {
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(refresh.on_bytes(&damaged).is_err(), "bit {bit} of {}", request.name);
            assert_eq!(refresh.step(), Step::Fetch(request.clone()), "a refusal changes nothing");
            damaged[bit / 8] ^= 1 << (bit % 8);
            flipped += 1;
        }
        refresh.on_bytes(bytes).expect("an honest server");
    }
    assert!(flipped > 10_000, "{flipped}");
}

#[test]
fn any_flipped_bit_of_the_root_is_refused() {
    let bytes = signed(&root(1), &[&key(1)]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Verified::anchor(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn any_truncated_file_is_refused() {
    let bytes = signed(&targets(1), &[&key(2)]);
    let whole = bytes.iter().rposition(|byte| *byte == b'}').expect("an object") + 1;
    for length in 0..whole {
        assert!(fresh().root().verify::<Targets>(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_same_contents_and_signers_make_the_same_bytes() {
    let mut one = Draft::new(&targets(1)).expect("plain names");
    let mut other = one.clone();
    one.sign(&key(2));
    one.sign(&key(3));
    other.sign(&key(3));
    other.sign(&key(2));
    assert_eq!(one.to_bytes(), other.to_bytes());
}
