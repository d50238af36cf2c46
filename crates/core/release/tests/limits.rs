//! What is out of range is refused: heads, manifests, indexes and members, one limit at a time.

mod sample;

use evenkeel_release::{
    ChunkIndex, ChunkVerifier, Contents, Head, HeadMeta, ImageKind, ImageMeta, LocalChunk, Manifest, Member,
    ReleaseError, ReleaseTarget, Source, custom, limits, reuse_plan, verity::tree_length,
};
use evenkeel_trust::TargetFile;
use evenkeel_units::{ByteCount, Digest};
use sample::{CHUNK, Sample, contents, gunzip, images, sample, target_of, target_with};

fn head(sample: &Sample) -> (Head, Vec<u8>) {
    let length = usize::try_from(sample.head.length.0).expect("small");
    let plain = gunzip(&sample.bytes[..length], sample.head.plain_length).expect("gzip");
    (sample.target().head(&plain).expect("the signed head"), plain)
}

#[test]
fn framing_that_is_not_exactly_that_of_a_bundle_is_refused() {
    let sample = sample();
    let (head, plain) = head(&sample);
    let read = |plain: &[u8]| Head::read_unsigned(plain, head.length());
    assert!(read(&plain).is_ok());
    let manifest = head.manifest().text().len();
    // The mode of manifest.json, its last byte of padding, and one block too many.
    for (at, byte) in [(104, b'7'), (512 + manifest, 1)] {
        let mut changed = plain.clone();
        changed[at] = byte;
        assert!(
            matches!(read(&changed), Err(ReleaseError::Framing { what }) if what == "manifest.json"),
            "{at}"
        );
    }
    let longer = [plain.as_slice(), &[0; 512]].concat();
    assert!(matches!(read(&longer), Err(ReleaseError::Framing { .. })));
    let too_long = vec![0; usize::try_from(limits::HEAD_PLAIN.0).expect("small") + 1];
    assert!(matches!(read(&too_long), Err(ReleaseError::HeadLength { .. })));
}

#[test]
fn a_member_that_ends_within_its_framing_is_refused() {
    let sample = sample();
    let (head, _) = head(&sample);
    let last = head.chunks().last().expect("a chunk");
    let from = usize::try_from(last.member_offset.0).expect("small");
    let plain = gunzip(&sample.bytes[from..], last.member_plain).expect("gzip");
    let mut verifier = ChunkVerifier::new(&head, last.id).expect("a chunk");
    verifier.push(&plain[..plain.len() - 1]).expect("good so far");
    let (got, expected) = (ByteCount(plain.len() as u64 - 1), last.member_plain);
    assert_eq!(verifier.finish(), Err(ReleaseError::ChunkTruncated { id: last.id, got, expected }));
}

#[test]
fn a_local_chunk_of_another_length_is_not_reused() {
    let sample = sample();
    let (head, _) = head(&sample);
    let spec = head.chunks().next().expect("a chunk");
    let local = LocalChunk {
        sha256: spec.sha256,
        image: ImageKind::Root,
        offset: ByteCount(0),
        length: ByteCount(1),
    };
    assert!(reuse_plan(&head, &[local]).iter().all(|chunk| chunk.source == Source::Fetch));
}

#[test]
fn a_head_that_claims_to_be_too_long_is_not_fetched() {
    let sample = sample();
    let longest = HeadMeta { length: sample.head.length, ..sample.head };
    let too_long = ByteCount(limits::HEAD_PLAIN.0 + 1);
    let beyond_bundle = ByteCount(sample.bytes.len() as u64 + 1);
    for (head, accepted) in [
        (longest, true),
        (HeadMeta { plain_length: too_long, ..longest }, false),
        (HeadMeta { length: beyond_bundle, ..longest }, false),
    ] {
        let custom = custom(&sample.manifest, head);
        let target = target_of("evenkeel-1.1.0.bundle", &sample.bytes, Some(custom));
        assert_eq!(ReleaseTarget::of(target).is_ok(), accepted, "{head:?}");
    }
    // In a bundle that is long enough for it.
    let most = limits::member(limits::HEAD_PLAIN);
    for (length, accepted) in [(most, true), (ByteCount(most.0 + 1), false)] {
        let custom = custom(&sample.manifest, HeadMeta { length, ..longest });
        let file = TargetFile { length: limits::IMAGE, sha256: Digest::of(b""), custom: Some(custom) };
        let target = target_with("evenkeel-1.1.0.bundle", file);
        assert_eq!(ReleaseTarget::of(target).is_ok(), accepted, "{length}");
    }
}

/// The index of the sample after a change to its members.
fn index(chunk_size: ByteCount, change: impl Fn(&mut [Vec<Member>; 3])) -> Result<ChunkIndex, ReleaseError> {
    let sample = sample();
    let (head, _) = head(&sample);
    let mut members = ImageKind::ALL.map(|kind| head.index().members(kind).to_vec());
    change(&mut members);
    ChunkIndex::new(&sample.manifest, chunk_size, members)
}

#[test]
fn members_that_do_not_follow_each_other_are_refused() {
    assert!(index(CHUNK, |_| ()).is_ok());
    let shift =
        |to: fn(u64) -> u64| index(CHUNK, |members| members[0][1].offset.0 = to(members[0][1].offset.0));
    assert!(shift(|offset| offset + 1).is_err());
    assert!(shift(|offset| offset - 1).is_err());
    assert!(shift(|_| 0).is_err());
    assert!(shift(|_| u64::MAX).is_err());
}

#[test]
fn members_that_cannot_be_are_refused() {
    let last = |length: u64| {
        index(CHUNK, |members| {
            let last = members[2].last_mut().expect("a member");
            last.length.0 = length;
        })
    };
    assert!(last(1).is_ok());
    assert!(last(0).is_err());
    assert!(last(limits::member(ByteCount(CHUNK.0 + 4096)).0).is_err());
    assert!(index(CHUNK, |members| members[2].truncate(0)).is_err());
    assert!(
        index(CHUNK, |members| {
            let more = *members[2].last().expect("a member");
            members[2].push(Member { offset: ByteCount(more.offset.0 + more.length.0), ..more });
        })
        .is_err()
    );
}

#[test]
fn chunk_sizes_that_are_not_used_are_refused() {
    for size in [0, 1, 2048, 4095, 5000, 6144, 2 << 20, u64::MAX] {
        let error = index(ByteCount(size), |_| ()).expect_err("not used");
        assert!(
            matches!(&error, ReleaseError::Field { field, .. } if field == "chunk_size"),
            "{size}: {error}"
        );
    }
}

fn manifest(change: impl Fn(&mut Contents)) -> Result<Manifest, ReleaseError> {
    let (images, tree) = images();
    let mut contents = contents(&images, tree);
    change(&mut contents);
    Manifest::new(contents)
}

#[test]
fn more_chunks_than_the_limit_are_refused_before_they_are_counted() {
    let manifest = manifest(|contents| {
        let tree = tree_length(limits::IMAGE).expect("the largest image");
        contents.images[0] = ImageMeta { length: limits::IMAGE, ..contents.images[0] };
        contents.images[1] = ImageMeta { length: tree, ..contents.images[1] };
    });
    let manifest = manifest.expect("a large release");
    let error = ChunkIndex::new(&manifest, CHUNK, [const { Vec::new() }; 3]).expect_err("too many");
    assert!(error.to_string().contains("at most 32768 chunks"), "{error}");
}

#[test]
fn a_manifest_beyond_its_limits_is_refused() {
    let label = |number: usize| format!("kind-{number}").parse().expect("a label");
    assert!(manifest(|contents| contents.notes = "x".repeat(limits::NOTES)).is_ok());
    assert!(manifest(|contents| contents.notes = "x".repeat(limits::NOTES + 1)).is_err());
    assert!(manifest(|contents| contents.hardware = (0..limits::LABELS).map(label).collect()).is_ok());
    assert!(manifest(|contents| contents.hardware = (0..=limits::LABELS).map(label).collect()).is_err());
    assert!(manifest(|contents| contents.channels.clear()).is_err());
    assert!(manifest(|contents| contents.images[2].length = ByteCount(limits::IMAGE.0 + 1)).is_err());
    assert!(manifest(|contents| contents.images[2].sha256 = Digest::of(b"")).is_ok());
    let long = vec![b' '; usize::try_from(limits::MANIFEST.0).expect("small") + 1];
    assert!(Manifest::parse(&long).expect_err("too long").to_string().contains("longer than 128 KiB"));
}

#[test]
fn a_release_at_every_limit_still_fits_its_head() {
    // Names, texts and numbers as long as they can be: the limits of the head hold what the others allow.
    let label = |number: usize| format!("{number:0>64}").parse().expect("a label");
    let manifest = manifest(|contents| {
        contents.notes = "\u{1}".repeat(limits::NOTES);
        contents.hardware = (0..limits::LABELS).map(label).collect();
        contents.channels = (0..limits::LABELS).map(label).collect();
    });
    let text = manifest.expect("at every limit").text();
    assert!(text.len() as u64 <= limits::MANIFEST.0, "{} bytes", text.len());
    let member = Member {
        sha256: Digest::of(b""),
        offset: ByteCount(3 * limits::IMAGE.0),
        length: limits::CHUNK_RANGE[1],
    };
    let one = serde_json::to_string(&member).expect("JSON").len() as u64 + 1;
    assert!(one * limits::CHUNKS + 100 <= limits::INDEX.0, "{one} bytes a chunk");
}
