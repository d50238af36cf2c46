//! Releases, the metadata that vouches for them, and the names of boot entries.

use std::collections::BTreeMap;

use evenkeel_boot::{Change, Entries, EntryName};
use evenkeel_release::{Head, Manifest, verity::Superblock};
use evenkeel_trust::{KeyFile, TargetName, TrustedSet, Value};
use evenkeel_units::{ByteCount, Digest};

use crate::Seen;

/// Length of a bundle's head as it is fetched, in bytes: any number that cannot overflow with what follows.
const HEAD_LENGTH: ByteCount = ByteCount(4096);

/// Judges the plain head of a bundle, a manifest alone, and a verity superblock.
///
/// # Panics
/// When one that is taken reads back otherwise, or its chunks leave a gap or overlap.
pub fn releases(bytes: &[u8]) -> Seen {
    let manifest = Manifest::parse(bytes);
    if let Ok(manifest) = &manifest {
        let again = Manifest::parse(manifest.text().as_bytes());
        assert!(again.is_ok_and(|again| again == *manifest), "{}", manifest.text());
    }
    let superblock = Superblock::parse(bytes);
    if let Ok(superblock) = &superblock {
        let again = Superblock::parse(&superblock.to_block());
        assert!(again.is_ok_and(|again| again == *superblock), "{superblock:?}");
    }
    let head = Head::read_unsigned(bytes, HEAD_LENGTH);
    if let Ok(head) = &head {
        let again = Head::read_unsigned(&Head::plain(head.manifest(), head.index()), HEAD_LENGTH);
        assert!(again.is_ok_and(|again| again == *head), "a head reads back otherwise");
        follow_each_other(head);
    }
    Seen::when(manifest.is_ok() || superblock.is_ok() || head.is_ok())
}

/// Each chunk begins where the one before ends, in its image and in the bundle.
fn follow_each_other(head: &Head) {
    let mut images: BTreeMap<String, u64> = BTreeMap::new();
    let mut member = head.length().0;
    for chunk in head.chunks() {
        let image = images.entry(chunk.id.image.to_string()).or_default();
        assert_eq!((chunk.offset.0, chunk.member_offset.0), (*image, member), "{chunk:?}");
        assert!(chunk.length.0 > 0 && chunk.member_plain >= chunk.length, "{chunk:?}");
        *image += chunk.length.0;
        member += chunk.member_length.0;
    }
    assert_eq!(member, head.bundle_length().0);
}

/// Judges JSON as metadata holds it, a root, a key's file, and the name of a target.
///
/// # Panics
/// When one that is taken reads back otherwise, means something else to another reader of JSON, or leads out of its
/// folder.
pub fn trust_metadata(bytes: &[u8]) -> Seen {
    let value = Value::parse(bytes);
    if let Ok(value) = &value {
        let text = value.text();
        assert!(text.is_ascii() && Value::parse(text.as_bytes()).as_ref() == Ok(value), "{text}");
        let other: serde_json::Value =
            serde_json::from_slice(bytes).expect("what the strict reader takes is JSON");
        assert!(is_same(value, &other), "{text} and {other}");
    }
    // A signature of the anchor is by a key that stands in it: the bytes are kept as they are.
    let root = TrustedSet::from_root(bytes);
    if let Ok(root) = &root {
        let kept = TrustedSet::open(bytes, &root.kept());
        assert!(kept.is_ok(), "what is kept of a root is not taken again");
    }
    let key = KeyFile::parse(bytes);
    if let Ok(key) = &key {
        let again = KeyFile::parse(key.text().as_bytes());
        assert!(again.is_ok_and(|again| again.text() == key.text()), "a key reads back otherwise");
    }
    let name = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<TargetName>().ok());
    for path in
        name.iter().flat_map(|name| [name.request_path(None), name.request_path(Some(Digest::of(b"")))])
    {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/%".contains(&b);
        let stays = !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        assert!(stays && path.bytes().all(plain), "{path}");
    }
    Seen::when(value.is_ok() || name.is_some())
}

fn is_same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        (Value::Integer(ours), serde_json::Value::Number(theirs)) => theirs.as_i64() == Some(*ours),
        (Value::Text(ours), serde_json::Value::String(theirs)) => ours == theirs,
        (Value::List(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            let same =
                |(name, ours): (&String, &Value)| theirs.get(name).is_some_and(|other| is_same(ours, other));
            ours.len() == theirs.len() && ours.iter().all(same)
        }
        (
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Object(_),
            _,
        ) => false,
    }
}

/// Judges the names in a folder of boot entries, one a line.
///
/// # Panics
/// When a name reads back as another, the order of the folder changes the choice, or a change leaves a bad entry first
/// where there is a good one.
pub fn boot_entries(bytes: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(bytes) else { return Seen::Refused };
    for name in text.lines().filter_map(|line| line.parse::<EntryName>().ok()) {
        assert_eq!(name.to_string().parse().ok(), Some(name));
    }
    let entries = Entries::from_names(text.lines());
    assert_eq!(entries, Entries::from_names(text.lines().rev()), "the order of the folder says something");
    let Some(selection) = entries.select() else { return Seen::Refused };
    let good = entries.as_slice().iter().filter(|entry| !entry.is_bad()).map(|entry| entry.version).max();
    assert!(good.is_none_or(|newest| selection.start.version == newest), "{entries:?} starts {selection:?}");
    if let Some(Change::Rename { from, to }) = selection.count {
        let (before, after) = (from.tries.map(|tries| tries.left), to.tries.map(|tries| tries.left));
        assert_eq!(after, before.map(|left| left.saturating_sub(1)), "a start uses up a try");
    }
    for version in entries.as_slice().iter().map(|entry| entry.version) {
        for change in [entries.bless(version), entries.condemn(version)].into_iter().flatten() {
            assert_eq!(entries.with(change).with(change), entries.with(change), "{change:?} may be repeated");
        }
        let freed = entries.free_inactive(version).fold(entries.clone(), |left, change| left.with(change));
        assert!(freed.as_slice().iter().all(|entry| entry.version == version), "{freed:?} without {version}");
        assert_eq!(freed.of(version), entries.of(version), "the running entry stays");
    }
    Seen::Taken
}
