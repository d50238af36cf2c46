//! A small release in memory: images, the bundle of gzip members, and the target that signs for it.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use evenkeel_release::{
    ChunkIndex, ChunkVerifier, Contents, Head, HeadMeta, ImageKind, ImageMeta, Layout, Manifest, Member,
    ReleaseError, ReleaseTarget, VerifiedChunk, VerityMeta, custom, target_name,
    verity::{BLOCK, Salt, Superblock, TreeBuilder},
};
use evenkeel_trust::{
    Draft, Header, RoleName, Root, SigningKey, TargetFile, Targets, Value, Verified, VerifiedTarget,
};
use evenkeel_units::{ByteCount, Digest, Version, WallTime};

pub(crate) const CHUNK: ByteCount = ByteCount(4096);

/// A bundle, what is in it, and what signs for it.
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    pub(crate) images: [Vec<u8>; 3],
    pub(crate) manifest: Manifest,
    pub(crate) head: HeadMeta,
}

/// Images of two and a bit chunks of root, its tree, and a UKI that is no multiple of anything.
pub(crate) fn images() -> ([Vec<u8>; 3], VerityMeta) {
    let root: Vec<u8> = (0u32..3 * 4096).map(|at| (at / 97).to_le_bytes()[0]).collect();
    let salt = Salt::new(&[9; 32]).expect("short enough");
    let superblock = Superblock::new(ByteCount(root.len() as u64), salt.clone()).expect("a good length");
    let mut tree = vec![0; usize::try_from(superblock.tree_length().0).expect("small")];
    let mut builder = TreeBuilder::new(superblock);
    let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
        let at = usize::try_from(offset.0).expect("small");
        tree[at..at + BLOCK].copy_from_slice(block);
    };
    for block in root.chunks_exact(BLOCK) {
        builder.push(block.try_into().expect("a block"), &mut give).expect("in range");
    }
    let root_hash = builder.finish(&mut give).expect("complete");
    ([root, tree, b"the kernel".repeat(50)], VerityMeta { root_hash, salt })
}

pub(crate) fn contents(images: &[Vec<u8>; 3], tree: VerityMeta) -> Contents {
    let meta =
        |image: &Vec<u8>| ImageMeta { length: ByteCount(image.len() as u64), sha256: Digest::of(image) };
    Contents {
        version: Version::new(1, 1, 0),
        hardware: vec!["x86_64".parse().expect("a label")],
        channels: vec!["stable".parse().expect("a label"), "early".parse().expect("a label")],
        minimum_agent: Version::new(1, 0, 0),
        state_schema: 1,
        notes: "Better.".into(),
        images: [meta(&images[0]), meta(&images[1]), meta(&images[2])],
        tree,
    }
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(plain).expect("into memory");
    writer.finish().expect("into memory")
}

/// Inflates one member, at most `limit` bytes and one more.
pub(crate) fn gunzip(member: &[u8], limit: ByteCount) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(member).take(limit.0 + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

pub(crate) fn sample() -> Sample {
    let (images, tree) = images();
    let manifest = Manifest::new(contents(&images, tree)).expect("a good manifest");
    let layout = Layout::new(&manifest, CHUNK);
    let mut members: BTreeMap<ImageKind, Vec<Member>> = BTreeMap::new();
    let mut body = Vec::new();
    for (id, offset, length) in layout.chunks() {
        let image = &images[ImageKind::ALL.iter().position(|kind| *kind == id.image).expect("one of three")];
        let [from, count] = [offset, length].map(|count| usize::try_from(count.0).expect("small"));
        let chunk = &image[from..from + count];
        let member = gzip(&layout.framing(id).around(chunk));
        let [offset, length] = [body.len(), member.len()].map(|count| ByteCount(count as u64));
        members.entry(id.image).or_default().push(Member { sha256: Digest::of(chunk), offset, length });
        body.extend(member);
    }
    let members = ImageKind::ALL.map(|kind| members.remove(&kind).unwrap_or_default());
    let index = ChunkIndex::new(&manifest, CHUNK, members).expect("a good index");
    let plain = Head::plain(&manifest, &index);
    let head = gzip(&plain);
    let meta = HeadMeta {
        length: ByteCount(head.len() as u64),
        sha256: Digest::of(&head),
        plain_length: ByteCount(plain.len() as u64),
        plain_sha256: Digest::of(&plain),
    };
    Sample { bytes: [head, body].concat(), images, manifest, head: meta }
}

/// A verified target with this `custom` object.
pub(crate) fn target_of(name: &str, bytes: &[u8], custom: Option<Value>) -> VerifiedTarget {
    let file = TargetFile { length: ByteCount(bytes.len() as u64), sha256: Digest::of(bytes), custom };
    target_with(name, file)
}

/// A verified target that says this of its file.
pub(crate) fn target_with(name: &str, file: TargetFile) -> VerifiedTarget {
    let key = SigningKey::from_seed(&[1; 32]);
    let header = Header { version: 1, expires: WallTime::from_unix_seconds(u64::MAX) };
    let root = Root::new(header, |_: RoleName| (vec![key.public().clone()], 1));
    let mut draft = Draft::new(&root).expect("plain");
    draft.sign(&key);
    let root = Verified::anchor(&draft.to_bytes()).expect("a good root");
    let name: evenkeel_trust::TargetName = name.parse().expect("a name");
    let targets = Targets { header, targets: BTreeMap::from([(name.clone(), file)]), delegations: None };
    let mut draft = Draft::new(&targets).expect("plain");
    draft.sign(&key);
    root.verify::<Targets>(&draft.to_bytes()).expect("signed").target(&name).expect("listed")
}

impl Sample {
    pub(crate) fn target(&self) -> ReleaseTarget {
        let name = target_name(self.manifest.version());
        let custom = custom(&self.manifest, self.head);
        ReleaseTarget::of(target_of(name.as_str(), &self.bytes, Some(custom))).expect("a release")
    }
}

/// What a device does: the head by its signed digest, then every chunk by the index.
pub(crate) fn take(target: &ReleaseTarget, bundle: &[u8]) -> Result<Vec<VerifiedChunk>, String> {
    let meta = target.head_meta();
    let part = |offset: ByteCount, length: ByteCount| {
        let [from, count] = [offset, length].map(|count| usize::try_from(count.0).expect("small"));
        &bundle[from.min(bundle.len())..(from + count).min(bundle.len())]
    };
    let compressed = part(ByteCount(0), meta.length);
    target.check_head(compressed).map_err(|error| error.to_string())?;
    let plain = gunzip(compressed, meta.plain_length).map_err(|error| error.to_string())?;
    let head = target.head(&plain).map_err(|error| error.to_string())?;
    head.chunks()
        .map(|spec| {
            let plain = gunzip(part(spec.member_offset, spec.member_length), spec.member_plain)
                .map_err(|error| error.to_string())?;
            check(&head, spec.id, &plain).map_err(|error| error.to_string())
        })
        .collect()
}

pub(crate) fn check(
    head: &Head,
    id: evenkeel_release::ChunkId,
    plain: &[u8],
) -> Result<VerifiedChunk, ReleaseError> {
    let mut verifier = ChunkVerifier::new(head, id).expect("a chunk of the release");
    // In pieces that do not fall on any border.
    for piece in plain.chunks(301) {
        verifier.push(piece)?;
    }
    verifier.finish()
}
