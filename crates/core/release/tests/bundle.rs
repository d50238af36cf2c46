//! A bundle on its way to a slot: what is whole arrives, what is not is refused before any of it is used (I2).

mod sample;

use evenkeel_release::{
    ChunkId, ChunkVerifier, Head, ImageKind, LocalChunk, Manifest, ReleaseError, ReleaseTarget, Source,
    custom, reuse_plan,
};
use evenkeel_units::{ByteCount, Digest, Version};
use sample::{Sample, check, contents, gunzip, images, sample, take, target_of};

fn head(sample: &Sample) -> Head {
    let length = usize::try_from(sample.head.length.0).expect("small");
    let plain = gunzip(&sample.bytes[..length], sample.head.plain_length).expect("gzip");
    sample.target().head(&plain).expect("the signed head")
}

#[test]
fn every_chunk_arrives_in_its_place() {
    let sample = sample();
    let mut images = sample.images.clone().map(|image| vec![0; image.len()]);
    for chunk in take(&sample.target(), &sample.bytes).expect("a whole bundle") {
        let image = ImageKind::ALL.iter().position(|kind| *kind == chunk.image()).expect("one of three");
        let at = usize::try_from(chunk.offset().0).expect("small");
        images[image][at..at + chunk.bytes().len()].copy_from_slice(chunk.bytes());
    }
    assert_eq!(images, sample.images);
}

/// I2: whatever bit is flipped, either nothing comes out or exactly the bytes that were signed. The latter
/// happens where gzip does not care, such as its note of the operating system; the digest of the whole file,
/// which servers and operators check, differs even then.
#[test]
fn i2_any_flipped_bit_of_a_bundle_gives_an_error_or_the_signed_bytes() {
    let sample = sample();
    let (target, whole) = (sample.target(), take(&sample.target(), &sample.bytes).expect("a whole bundle"));
    let mut refused = 0;
    for bit in 0..sample.bytes.len() * 8 {
        let mut damaged = sample.bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(Digest::of(&damaged), target.target().sha256());
        match take(&target, &damaged) {
            Ok(chunks) => assert_eq!(chunks, whole, "bit {bit}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > sample.bytes.len() * 7, "{refused} of {} bits", sample.bytes.len() * 8);
}

#[test]
fn i2_any_flipped_bit_of_an_inflated_chunk_is_refused() {
    let sample = sample();
    let head = head(&sample);
    for spec in head.chunks() {
        let from = usize::try_from(spec.member_offset.0).expect("small");
        let plain = gunzip(&sample.bytes[from..], spec.member_plain).expect("gzip");
        let plain = plain[..usize::try_from(spec.member_plain.0).expect("small")].to_vec();
        assert!(check(&head, spec.id, &plain).is_ok());
        for byte in 0..plain.len() {
            let mut damaged = plain.clone();
            damaged[byte] ^= 1 << (byte % 8);
            assert!(check(&head, spec.id, &damaged).is_err(), "byte {byte} of {:?}", spec.id);
        }
    }
}

#[test]
fn a_truncated_download_is_refused_wherever_it_ends() {
    let sample = sample();
    let target = sample.target();
    for length in 0..sample.bytes.len() {
        let error = take(&target, &sample.bytes[..length]).expect_err("truncated");
        if length < usize::try_from(sample.head.length.0).expect("small") {
            assert!(error.contains("cut short"), "{error}");
        }
    }
}

#[test]
fn a_member_that_inflates_beyond_its_chunk_is_cut_off() {
    let sample = sample();
    let head = head(&sample);
    let id = ChunkId { image: ImageKind::Root, number: 1 };
    let mut verifier = ChunkVerifier::new(&head, id).expect("a chunk");
    let expected = verifier.spec().member_plain;
    verifier.push(&vec![0; usize::try_from(expected.0).expect("small")]).expect("not too long yet");
    assert_eq!(verifier.push(&[0]), Err(ReleaseError::ChunkTooLong { id, expected }));
}

#[test]
fn a_chunk_of_another_place_or_release_is_refused() {
    let sample = sample();
    let head = head(&sample);
    let id = |number| ChunkId { image: ImageKind::Root, number };
    let bytes = sample.images[0][..4096].to_vec();
    assert!(ChunkVerifier::check_local(&head, id(0), bytes.clone()).is_ok());
    assert!(matches!(
        ChunkVerifier::check_local(&head, id(1), bytes.clone()),
        Err(ReleaseError::ChunkDigest { .. })
    ));
    assert!(matches!(ChunkVerifier::check_local(&head, id(99), bytes), Err(ReleaseError::NoChunk { .. })));
}

#[test]
fn another_head_than_the_signed_one_is_refused_even_if_it_is_a_good_one() {
    let sample = sample();
    let (images, tree) = images();
    let mut other = contents(&images, tree);
    other.notes = "Worse..".into();
    let other = Manifest::new(other).expect("a good manifest");
    let plain = Head::plain(&other, head(&sample).index());
    assert!(Head::read_unsigned(&plain, sample.head.length).is_ok());
    let error = sample.target().head(&plain).expect_err("not the signed one");
    assert!(matches!(error, ReleaseError::HeadDigest { .. }), "{error}");
}

#[test]
fn a_signed_head_that_contradicts_its_target_is_refused() {
    let sample = sample();
    let length = usize::try_from(sample.head.length.0).expect("small");
    let plain = gunzip(&sample.bytes[..length], sample.head.plain_length).expect("gzip");
    let signed = |change: &dyn Fn(&mut evenkeel_release::Contents), bytes: &[u8]| {
        let (images, tree) = images();
        let mut contents = contents(&images, tree);
        change(&mut contents);
        let manifest = Manifest::new(contents).expect("a good manifest");
        let name = evenkeel_release::target_name(manifest.version());
        let target = target_of(name.as_str(), bytes, Some(custom(&manifest, sample.head)));
        ReleaseTarget::of(target).expect("a release").head(&plain).expect_err("a contradiction")
    };
    for (what, error) in [
        ("version", signed(&|contents| contents.version = Version::new(9, 0, 0), &sample.bytes)),
        (
            "hardware",
            signed(&|contents| contents.hardware.push("riscv64".parse().expect("a label")), &sample.bytes),
        ),
        ("channels", signed(&|contents| drop(contents.channels.pop()), &sample.bytes)),
        ("length", signed(&|_| (), &sample.bytes[1..])),
    ] {
        assert!(
            matches!(error, ReleaseError::Contradiction { what: got, .. } if got == what),
            "{what}: {error}"
        );
    }
}

#[test]
fn i5_a_release_for_other_hardware_or_another_channel_is_refused() {
    let target = sample().target();
    assert_eq!(target.check_for("x86_64", "stable"), Ok(()));
    let error = target.check_for("riscv64", "stable").expect_err("other hardware").to_string();
    assert_eq!(
        error,
        "release 1.1.0 is for hardware x86_64, and this is riscv64; assign a release built for it"
    );
    let error = target.check_for("x86_64", "nightly").expect_err("another channel").to_string();
    assert!(error.contains("on channel early, stable, and this device follows nightly"), "{error}");
}

#[test]
fn a_release_under_the_name_of_another_is_refused() {
    let sample = sample();
    let custom = custom(&sample.manifest, sample.head);
    for (name, custom) in [("evenkeel-9.9.9.bundle", Some(custom)), ("evenkeel-1.1.0.bundle", None)] {
        let error = ReleaseTarget::of(target_of(name, &sample.bytes, custom)).expect_err(name);
        assert!(matches!(error, ReleaseError::NotARelease { .. }), "{error}");
    }
}

#[test]
fn chunks_that_the_running_slot_has_are_not_fetched() {
    let sample = sample();
    let head = head(&sample);
    let second = head.chunks_of(ImageKind::Root).nth(1).expect("a second chunk");
    let here = LocalChunk {
        sha256: second.sha256,
        image: ImageKind::Root,
        offset: ByteCount(8192),
        length: second.length,
    };
    let short = LocalChunk { sha256: Digest::of(b""), ..here };
    let plan = reuse_plan(&head, &[short, here]);
    assert_eq!(plan.len(), head.chunks().count());
    let local: Vec<_> =
        plan.iter().filter(|chunk| chunk.source == Source::Local(here)).map(|chunk| chunk.spec).collect();
    assert_eq!(local, [second]);
    assert!(plan.iter().all(|chunk| chunk.spec == second || chunk.source == Source::Fetch));
}

#[test]
fn a_bundle_is_a_tar_that_any_tar_lists() {
    let sample = sample();
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&sample.bytes[..]), &mut tar)
        .expect("gzip");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &tar).expect("written");
    let output = std::process::Command::new("tar").arg("-tvf").arg(file.path()).env("TZ", "UTC").output();
    let listed = String::from_utf8(output.expect("tar").stdout).expect("text");
    let names: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(names, ["manifest.json", "chunks.json", "root.img", "verity.img", "uki.efi"]);
    assert!(listed.lines().all(|line| line.contains("1970-01-01 00:00")), "{listed}");
}

#[test]
fn the_same_inputs_make_the_same_bundle() {
    assert_eq!(sample().bytes, sample().bytes);
}
