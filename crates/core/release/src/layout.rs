//! How a bundle is arranged: which bytes of tar framing stand around each chunk, and the plain head.
//!
//! Owns: the arrangement, for writers and readers alike. Leaves to others: gzip around each member.

use alloc::vec::Vec;

use evenkeel_units::{ByteCount, Digest};

use crate::{ChunkIndex, ImageKind, Manifest, index, manifest, tar};

/// One chunk of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId {
    /// The image it is a part of.
    pub image: ImageKind,
    /// Its number in the image, from 0.
    pub number: u32,
}

/// Where a chunk is in its image and in the bundle, and what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSpec {
    /// Which chunk it is.
    pub id: ChunkId,
    /// SHA-256 of its plain bytes.
    pub sha256: Digest,
    /// Where it belongs in its image.
    pub offset: ByteCount,
    /// How many plain bytes it has.
    pub length: ByteCount,
    /// Where its gzip member begins in the bundle, head included.
    pub member_offset: ByteCount,
    /// How long its gzip member is: what to fetch.
    pub member_length: ByteCount,
    /// How many bytes its gzip member inflates to, framing included: inflate no more.
    pub member_plain: ByteCount,
}

/// The tar framing within one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framing {
    /// The header of the image's file, before its first chunk.
    pub before: Option<[u8; 512]>,
    /// Zeros after the chunk: padding after the last one of an image, and the end of the archive after the
    /// last of all.
    pub after: usize,
}

impl Framing {
    /// The plain bytes of a member around `chunk`.
    #[must_use]
    pub fn around(&self, chunk: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(chunk.len() + self.length());
        plain.extend(self.before.iter().flatten());
        plain.extend(chunk);
        plain.resize(plain.len() + self.after, 0);
        plain
    }

    /// How many bytes it adds to a chunk.
    #[must_use]
    pub fn length(&self) -> usize {
        self.before.map_or(0, |header| header.len()) + self.after
    }
}

/// The arrangement of the bundle of one manifest, in chunks of one size.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    manifest: &'a Manifest,
    chunk_size: ByteCount,
}

impl<'a> Layout<'a> {
    /// The arrangement of `manifest`'s images in chunks of `chunk_size`, which is not 0.
    #[must_use]
    pub const fn new(manifest: &'a Manifest, chunk_size: ByteCount) -> Self {
        Self { manifest, chunk_size }
    }

    /// Every chunk in the order of the bundle, with its offset in the image and its length.
    pub fn chunks(self) -> impl Iterator<Item = (ChunkId, ByteCount, ByteCount)> + 'a {
        ImageKind::ALL.into_iter().flat_map(move |image| {
            (0..self.count(image)).map(move |number| {
                let id = ChunkId { image, number };
                let (offset, length) = self.extent(id);
                (id, offset, length)
            })
        })
    }

    /// How many chunks an image has.
    #[must_use]
    pub fn count(&self, image: ImageKind) -> u32 {
        let count = self.manifest.image(image).length.0.div_ceil(self.chunk_size.0);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// A chunk's offset in its image, and its length.
    fn extent(&self, id: ChunkId) -> (ByteCount, ByteCount) {
        let offset = u64::from(id.number) * self.chunk_size.0;
        let rest = self.manifest.image(id.image).length.0.saturating_sub(offset);
        (ByteCount(offset), ByteCount(rest.min(self.chunk_size.0)))
    }

    /// The framing within a chunk's member.
    #[must_use]
    pub fn framing(&self, id: ChunkId) -> Framing {
        let length = self.manifest.image(id.image).length.0;
        let before = (id.number == 0).then(|| tar::header(id.image.file(), length));
        let ends_image = id.number + 1 == self.count(id.image);
        let ends_all = ends_image && id.image == ImageKind::Uki;
        let padding = if ends_image { tar::padding(length) } else { 0 };
        Framing { before, after: padding + if ends_all { tar::END } else { 0 } }
    }

    /// Everything about one chunk, with its place from `index` in a bundle whose head has `head` bytes.
    pub(crate) fn spec(&self, id: ChunkId, index: &ChunkIndex, head: ByteCount) -> Option<ChunkSpec> {
        let member = index.members(id.image).get(usize::try_from(id.number).ok()?)?;
        let (offset, length) = self.extent(id);
        Some(ChunkSpec {
            id,
            sha256: member.sha256,
            offset,
            length,
            member_offset: ByteCount(head.0 + member.offset.0),
            member_length: member.length,
            member_plain: ByteCount(length.0 + self.framing(id).length() as u64),
        })
    }
}

/// The plain bytes of the first member: `manifest.json` and `chunks.json` in their framing.
#[must_use]
pub(crate) fn head_plain(manifest: &Manifest, index: &ChunkIndex) -> Vec<u8> {
    let mut plain = Vec::new();
    for (name, text) in [(manifest::FILE, manifest.text()), (index::FILE, index.text())] {
        let length = text.len() as u64;
        plain.extend(tar::header(name, length));
        plain.extend(text.as_bytes());
        plain.resize(plain.len() + tar::padding(length), 0);
    }
    plain
}
