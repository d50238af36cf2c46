//! `evenkeel release verify`: the whole chain from a root to every chunk, as a device judges it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use evenkeel_release::{
    ImageKind, Manifest, ReleaseTarget, VerifiedChunk, target_name,
    verity::{BLOCK, Superblock, TreeBuilder},
};
use evenkeel_trust::{
    Refresh, RoleName, Root, Step, TargetName, TrustedSet, Verified, VerifiedTarget, limits,
};
use evenkeel_units::{ByteCount, Digest, Hasher};

use super::{Metadata, bundle::Bundle, shown};
use crate::{clock, files};

/// Verify a bundle as a device would
///
/// From the root given, over later roots and targets metadata in the folder, to the bundle's digest, every
/// chunk, every image and the hash tree. Where the folder also has timestamp.json and snapshot metadata, as
/// a copy of a server's folder has, they are verified too.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle
    bundle: PathBuf,
    /// The root metadata to start from
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    #[command(flatten)]
    metadata: Metadata,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut bundle = Bundle::open(&arguments.bundle)?;
    let name = target_name(bundle.head().manifest().version());
    let anchor = files::read(&arguments.root, limits::ROOT)?;
    let has_timestamp = arguments.metadata.path(RoleName::Timestamp).exists();
    let target = if has_timestamp {
        whole_chain(&anchor, &arguments.metadata.folder, &name)?
    } else {
        offline_chain(&anchor, &arguments.root, &arguments.metadata, &name)?
    };
    let release = ReleaseTarget::of(target)?;
    check_file(&arguments.bundle, &mut bundle, &release)?;
    check_images(&arguments.bundle, &mut bundle)?;
    println!("{}: release {} verified, every chunk of it", arguments.bundle.display(), release.version());
    if !has_timestamp {
        println!("Snapshot and timestamp are the update server's; the folder has none to verify.");
    }
    Ok(())
}

/// Root, timestamp, snapshot, targets: what a device fetches, from a folder.
fn whole_chain(anchor: &[u8], folder: &Path, name: &TargetName) -> Result<VerifiedTarget> {
    let mut refresh = Refresh::start(TrustedSet::from_root(anchor)?, clock::now());
    while let Step::Fetch(request) = refresh.step() {
        let versioned = files::read_if_there(&folder.join(&request.name), request.limit)?;
        let result = match versioned {
            Some(bytes) => refresh.on_bytes(&bytes),
            None => refresh.on_missing(),
        };
        result.with_context(|| shown(&folder.join(&request.name)))?;
    }
    let current = refresh.finish().context("the chain has no end")?;
    Ok(current.target(name)?)
}

/// Roots and targets alone: what the operator's folder has.
fn offline_chain(
    anchor: &[u8],
    path: &Path,
    metadata: &Metadata,
    name: &TargetName,
) -> Result<VerifiedTarget> {
    let now = clock::now();
    let mut root = Verified::anchor(anchor).with_context(|| shown(path))?;
    while let Some(next) = next_root(&root, &metadata.folder)? {
        root = next;
    }
    root.check_unexpired(now)?;
    let targets = metadata.targets(&root)?.with_context(|| {
        format!(
            "{} is missing; make it with `evenkeel release sign`",
            shown(&metadata.path(RoleName::Targets))
        )
    })?;
    targets.check_unexpired(now)?;
    Ok(targets.target(name)?)
}

fn next_root(root: &Verified<Root>, folder: &Path) -> Result<Option<Verified<Root>>> {
    let path = folder.join(format!("{}.root.json", root.header.version + 1));
    let bytes = files::read_if_there(&path, limits::ROOT)?;
    bytes.map(|bytes| root.next(&bytes).with_context(|| shown(&path))).transpose()
}

/// The file is the signed one, and so is its head.
fn check_file(path: &Path, bundle: &mut Bundle, release: &ReleaseTarget) -> Result<()> {
    let (length, signed) = (bundle.length().0, release.target().length().0);
    if length != signed {
        bail!(
            "{} has {length} bytes, and {signed} are signed; it was cut short or is another file: copy it again",
            path.display()
        );
    }
    let (digest, signed) = (bundle.digest()?, release.target().sha256());
    if digest != signed {
        bail!(
            "{} has SHA-256 {digest}, and {signed} is signed; it is damaged or forged: copy it again",
            path.display()
        );
    }
    release.head(bundle.head_plain())?;
    Ok(())
}

/// Every chunk, every image as a whole, and the tree over the root image.
fn check_images(path: &Path, bundle: &mut Bundle) -> Result<()> {
    let manifest = bundle.head().manifest().clone();
    let mut hashers = [(); 3].map(|()| Hasher::new());
    let superblock = Superblock::new(manifest.image(ImageKind::Root).length, manifest.verity().salt.clone())?;
    let mut tree = Tree { builder: TreeBuilder::new(superblock), computed: Vec::new(), given: Vec::new() };
    bundle.each_chunk(|chunk| {
        hashers[chunk.image() as usize].update(chunk.bytes());
        match chunk.image() {
            ImageKind::Root => tree.take_root(chunk.bytes()),
            ImageKind::Verity => tree.take_tree(&chunk, &manifest),
            ImageKind::Uki => Ok(()),
        }
    })?;
    for (kind, hasher) in ImageKind::ALL.into_iter().zip(hashers) {
        let (digest, listed) = (hasher.finish(), manifest.image(kind).sha256);
        if digest != listed {
            bail!(
                "{kind} in {} has SHA-256 {digest}, and its manifest says {listed}; build the bundle again",
                path.display()
            );
        }
    }
    tree.check(manifest.verity().root_hash).with_context(|| shown(path))
}

/// The hash tree as it follows from the root image, and as it is in the bundle: digests of its blocks.
struct Tree {
    builder: TreeBuilder,
    computed: Vec<(ByteCount, Digest)>,
    given: Vec<(ByteCount, Digest)>,
}

impl Tree {
    fn take_root(&mut self, bytes: &[u8]) -> Result<()> {
        let computed = &mut self.computed;
        for block in bytes.chunks_exact(BLOCK) {
            self.builder.push(block.try_into()?, &mut |offset, block| {
                computed.push((offset, Digest::of(block)));
            })?;
        }
        Ok(())
    }

    /// Takes a chunk of the tree; its superblock has to be one of this image, but its UUID is free.
    fn take_tree(&mut self, chunk: &VerifiedChunk, manifest: &Manifest) -> Result<()> {
        if chunk.offset() == ByteCount(0) {
            let superblock = Superblock::parse(chunk.bytes())?;
            let image = manifest.image(ImageKind::Root).length;
            if superblock.data_length() != image || *superblock.salt() != manifest.verity().salt {
                bail!("the superblock of verity.img belongs to another root image; build the bundle again");
            }
        }
        let blocks = chunk.bytes().chunks(BLOCK).zip((chunk.offset().0..).step_by(BLOCK));
        self.given.extend(blocks.map(|(block, at)| (ByteCount(at), Digest::of(block))));
        Ok(())
    }

    fn check(self, root_hash: Digest) -> Result<()> {
        let mut computed = self.computed;
        let got = self.builder.finish(&mut |offset, block| computed.push((offset, Digest::of(block))))?;
        computed.sort_unstable();
        if got != root_hash || !computed.iter().skip(1).eq(self.given.iter().skip(1)) {
            bail!("verity.img is not the hash tree of the root image; build the bundle again");
        }
        Ok(())
    }
}
