//! The head of a bundle: manifest and index, read and found to belong together.

use alloc::{string::ToString, vec::Vec};

use evenkeel_units::ByteCount;

use crate::{
    ChunkId, ChunkIndex, ChunkSpec, Framing, ImageKind, Layout, Manifest, ReleaseError, index, layout,
    limits, manifest, tar,
};

/// The manifest and the index of one bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    manifest: Manifest,
    index: ChunkIndex,
    length: ByteCount,
}

impl Head {
    /// Reads the inflated head of a bundle of one's own making; `length` is that of its gzip member.
    ///
    /// For whoever made the file or got it by hand: building, looking, a first installation. A device comes by
    /// its heads through [`crate::ReleaseTarget::head`], which demands the signed digest.
    ///
    /// # Errors
    /// Not the head of a bundle, or one whose parts do not belong together.
    pub fn read_unsigned(plain: &[u8], length: ByteCount) -> Result<Self, ReleaseError> {
        if plain.len() as u64 > limits::HEAD_PLAIN.0 {
            return Err(ReleaseError::HeadLength {
                got: ByteCount(plain.len() as u64),
                expected: limits::HEAD_PLAIN,
            });
        }
        let (manifest_json, rest) = take_file(manifest::FILE, plain)?;
        let (index_json, rest) = take_file(index::FILE, rest)?;
        if !rest.is_empty() {
            return Err(ReleaseError::Framing { what: "the head after chunks.json".into() });
        }
        let manifest = Manifest::parse(manifest_json)?;
        let index = ChunkIndex::parse(&manifest, index_json)?;
        Ok(Self { manifest, index, length })
    }

    /// The plain bytes of the head of `manifest` and `index`, to be compressed into the first gzip member.
    #[must_use]
    pub fn plain(manifest: &Manifest, index: &ChunkIndex) -> Vec<u8> {
        layout::head_plain(manifest, index)
    }

    /// What the release is.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where its chunks are.
    #[must_use]
    pub const fn index(&self) -> &ChunkIndex {
        &self.index
    }

    /// The length of the head's gzip member.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        self.length
    }

    /// The length of the whole bundle.
    #[must_use]
    pub const fn bundle_length(&self) -> ByteCount {
        ByteCount(self.length.0 + self.index.total().0)
    }

    /// Every chunk in the order of the bundle.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkSpec> + '_ {
        self.layout().chunks().filter_map(|(id, ..)| self.chunk(id))
    }

    /// The chunks of one image, in order.
    pub fn chunks_of(&self, image: ImageKind) -> impl Iterator<Item = ChunkSpec> + '_ {
        (0..self.layout().count(image)).filter_map(move |number| self.chunk(ChunkId { image, number }))
    }

    /// One chunk; `None` if the release has no such chunk.
    #[must_use]
    pub fn chunk(&self, id: ChunkId) -> Option<ChunkSpec> {
        self.layout().spec(id, &self.index, self.length)
    }

    /// The tar framing within a chunk's member.
    #[must_use]
    pub fn framing(&self, id: ChunkId) -> Framing {
        self.layout().framing(id)
    }

    fn layout(&self) -> Layout<'_> {
        Layout::new(&self.manifest, self.index.chunk_size())
    }
}

/// Takes the file `name` with its framing off the front of a tar; every byte of framing is the one it has to be.
fn take_file<'a>(name: &str, tar: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), ReleaseError> {
    let wrong = || ReleaseError::Framing { what: name.to_string() };
    let (header, rest) = tar.split_at_checked(tar::BLOCK).ok_or_else(wrong)?;
    let digits = str::from_utf8(&header[124..135]).map_err(|_| wrong())?;
    let length = u64::from_str_radix(digits, 8).map_err(|_| wrong())?;
    if header != tar::header(name, length) {
        return Err(wrong());
    }
    let (file, rest) =
        usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)).ok_or_else(wrong)?;
    let (zeros, rest) = rest.split_at_checked(tar::padding(length)).ok_or_else(wrong)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(wrong());
    }
    Ok((file, rest))
}
