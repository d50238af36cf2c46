//! What holds for all inputs: manifest and index read back, nothing panics, nothing is allocated for a claim.

mod sample;

use evenkeel_release::{ChunkIndex, ChunkVerifier, Head, ImageKind, Manifest, verity::Superblock};
use evenkeel_units::ByteCount;
use proptest::prelude::*;
use sample::{gunzip, sample};

fn head() -> Head {
    let sample = sample();
    let length = usize::try_from(sample.head.length.0).expect("small");
    let plain = gunzip(&sample.bytes[..length], sample.head.plain_length).expect("gzip");
    Head::read_unsigned(&plain, sample.head.length).expect("a head")
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let manifest = sample().manifest;
        let _ = Manifest::parse(&bytes);
        let _ = ChunkIndex::parse(&manifest, &bytes);
        let _ = Superblock::parse(&bytes);
        let _ = Head::read_unsigned(&bytes, ByteCount(1));
    }

    #[test]
    fn no_change_of_a_head_makes_its_reader_panic(at: prop::sample::Index, with: Vec<u8>) {
        let head = head();
        let mut plain = Head::plain(head.manifest(), head.index());
        let at = at.index(plain.len());
        plain.splice(at..(at + with.len()).min(plain.len()), with);
        let _ = Head::read_unsigned(&plain, head.length());
    }

    #[test]
    fn no_number_in_an_index_makes_its_reader_panic(chunk_size: u64, offset: u64, length: u64) {
        let manifest = sample().manifest;
        let text = head().index().text();
        for (field, number) in [("chunk_size", chunk_size), ("offset", offset), ("length", length)] {
            let (before, after) = text.split_once(&format!("\"{field}\":")).expect("the field");
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            let _ = ChunkIndex::parse(&manifest, format!("{before}\"{field}\":{number}{rest}").as_bytes());
        }
    }

    #[test]
    fn no_superblock_makes_its_reader_panic(at in 0usize..512, with: [u8; 8]) {
        let mut block = sample().images[1][..512].to_vec();
        let end = (at + 8).min(512);
        block[at..end].copy_from_slice(&with[..end - at]);
        if let Ok(superblock) = Superblock::parse(&block) {
            prop_assert!(superblock.tree_length().0 < superblock.data_length().0.max(16_384));
            let read = Superblock::parse(&superblock.to_block());
            prop_assert_eq!(read, Ok(superblock));
        }
    }

    #[test]
    fn no_bytes_prove_a_chunk(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        let head = head();
        for spec in head.chunks() {
            let mut verifier = ChunkVerifier::new(&head, spec.id).expect("a chunk");
            let proven = verifier.push(&bytes).and_then(|()| verifier.finish());
            prop_assert!(proven.is_err());
        }
    }
}

#[test]
fn manifest_and_index_read_back_what_they_wrote() {
    let head = head();
    let manifest = Manifest::parse(head.manifest().text().as_bytes()).expect("a manifest");
    assert_eq!(&manifest, head.manifest());
    let index = ChunkIndex::parse(&manifest, head.index().text().as_bytes()).expect("an index");
    assert_eq!(&index, head.index());
}

#[test]
fn the_members_of_a_bundle_follow_each_other_to_its_end() {
    let (sample, head) = (sample(), head());
    let end = head.chunks().fold(head.length().0, |at, spec| {
        assert_eq!(spec.member_offset.0, at);
        at + spec.member_length.0
    });
    assert_eq!(end, sample.bytes.len() as u64);
    assert_eq!(head.bundle_length().0, end);
    assert_eq!(head.chunks_of(ImageKind::Root).count(), 3);
}

#[test]
fn a_manifest_out_of_range_is_refused_and_says_what_would_do() {
    let text = sample().manifest.text();
    for (from, to, named) in [
        ("\"format\": 1", "\"format\": 2", "`format` is 2"),
        ("\"length\": 12288", "\"length\": 12289", "12289 bytes long"),
        ("\"length\": 12288", "\"length\": 0", "0 bytes"),
        ("\"length\": 8192", "\"length\": 4096", "verity.img is 4096 bytes long"),
        ("\"root.img\"", "\"../../root.img\"", "`file` is ../../root.img"),
        ("\"x86_64\"", "\"x86/64\"", "x86/64"),
        ("\"block_size\": 4096", "\"block_size\": 512", "`block_size` is 512"),
        ("\"1.1.0\"", "\"1.1\"", "`1.1` is not a version"),
        ("\"format\": 1", "\"format\": 1, \"format\": 1", "duplicate field `format`"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = Manifest::parse(changed.as_bytes()).expect_err(to).to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}
