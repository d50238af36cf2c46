//! The images that a release is built from.
//!
//! Owns: their bytes as the bundle will have them: the root image padded to whole blocks, the hash tree
//! computed from it or checked against it.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use evenkeel_release::{
    ImageMeta, VerityMeta, limits,
    verity::{BLOCK, Salt, Superblock, TreeBuilder},
};
use evenkeel_units::{ByteCount, Digest, Hasher};

/// Bytes of an image, in a file or in memory.
pub(super) enum Image {
    /// A file, and its length with padding.
    File { path: PathBuf, length: ByteCount },
    /// Memory: the hash tree, under a hundredth of the root image.
    Memory(Vec<u8>),
}

impl Image {
    /// A file as it is.
    pub(super) fn file(path: &Path) -> Result<Self> {
        Self::padded(path, 1)
    }

    /// A file, padded with zeros to a multiple of `unit` bytes.
    fn padded(path: &Path, unit: u64) -> Result<Self> {
        let length =
            std::fs::metadata(path).with_context(|| format!("{} cannot be opened", path.display()))?.len();
        if length == 0 || length > limits::IMAGE.0 {
            bail!("{} has {length} bytes; expected 1 byte to {}", path.display(), limits::IMAGE);
        }
        Ok(Self::File { path: path.into(), length: ByteCount(length.next_multiple_of(unit)) })
    }

    pub(super) const fn length(&self) -> ByteCount {
        match self {
            Self::File { length, .. } => *length,
            Self::Memory(bytes) => ByteCount(bytes.len() as u64),
        }
    }

    /// Hands all bytes on in order, in pieces of `size` but for the last one.
    pub(super) fn pieces(&self, size: usize, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (path, length) = match self {
            Self::Memory(bytes) => return bytes.chunks(size).try_for_each(take),
            Self::File { path, length } => (path, length.0),
        };
        let context = || format!("{} cannot be read", path.display());
        let mut file = File::open(path).with_context(context)?;
        let mut piece = Vec::with_capacity(size);
        let mut left = length;
        while left > 0 {
            let want = left.min(size as u64);
            piece.clear();
            (&mut file).take(want).read_to_end(&mut piece).with_context(context)?;
            piece.resize(usize::try_from(want)?, 0);
            take(&piece)?;
            left -= want;
        }
        Ok(())
    }

    pub(super) fn meta(&self) -> Result<ImageMeta> {
        let mut hasher = Hasher::new();
        self.pieces(limits::CHUNK.0.try_into()?, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(ImageMeta { length: self.length(), sha256: hasher.finish() })
    }
}

/// The root image, whole blocks of it, and its tree.
pub(super) fn root_and_tree(root: &Path, verity: Option<&Path>) -> Result<(Image, Image, VerityMeta)> {
    let root = Image::padded(root, BLOCK as u64)?;
    match verity {
        Some(path) => {
            let (tree, meta) = check_tree(&root, path)?;
            Ok((root, tree, meta))
        }
        None => {
            // Bound to the image, so that the same image has the same tree, and no table of hashes fits two.
            let digest = root.meta()?.sha256;
            let salt = Digest::of(&[b"evenkeel verity salt ".as_slice(), digest.as_bytes()].concat());
            let salt = Salt::new(salt.as_bytes()).context("a salt of 32 bytes is short enough")?;
            let superblock = Superblock::new(root.length(), salt.clone())?;
            let (tree, root_hash) = tree_of(&root, superblock)?;
            Ok((root, Image::Memory(tree), VerityMeta { root_hash, salt }))
        }
    }
}

/// The tree that `superblock` begins, computed over `root`.
fn tree_of(root: &Image, superblock: Superblock) -> Result<(Vec<u8>, Digest)> {
    let mut tree = vec![0; usize::try_from(superblock.tree_length().0)?];
    let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
        let at = usize::try_from(offset.0).unwrap_or(usize::MAX);
        tree[at..at + BLOCK].copy_from_slice(block);
    };
    let mut builder = TreeBuilder::new(superblock);
    root.pieces(BLOCK, |block| Ok(builder.push(block.try_into()?, &mut give)?))?;
    let root_hash = builder.finish(&mut give)?;
    Ok((tree, root_hash))
}

/// The tree in a file, if it is exactly the one of `root`.
fn check_tree(root: &Image, path: &Path) -> Result<(Image, VerityMeta)> {
    let given = crate::files::read(path, limits::IMAGE)?;
    let superblock = Superblock::parse(&given).with_context(|| path.display().to_string())?;
    if superblock.data_length() != root.length() {
        let (tree, image) = (superblock.data_length().0, root.length().0);
        bail!(
            "{} is the tree of an image of {tree} bytes, and the root image has {image}; compute it again",
            path.display()
        );
    }
    let salt = superblock.salt().clone();
    let (tree, root_hash) = tree_of(root, superblock)?;
    let rest = given.strip_prefix(tree.as_slice());
    if rest.is_none_or(|rest| rest.iter().any(|byte| *byte != 0)) {
        bail!(
            "{} is not the hash tree of the root image; compute it again, or leave --verity out",
            path.display()
        );
    }
    Ok((Image::Memory(tree), VerityMeta { root_hash, salt }))
}
