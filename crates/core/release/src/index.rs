//! `chunks.json`: where every chunk is and which SHA-256 its plain bytes have.
//!
//! Owns: the numbers. The members follow each other without gap or overlap, so that an index describes
//! exactly one arrangement of a bundle.

use alloc::{format, string::String, string::ToString, vec::Vec};

use evenkeel_units::{ByteCount, Digest};
use serde::{Deserialize, Serialize};

use crate::{ImageKind, Manifest, ReleaseError, limits};

/// One chunk's place: its gzip member, counted from the end of the head, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// SHA-256 of the chunk's plain bytes, without tar framing.
    pub sha256: Digest,
    /// Where its gzip member begins, from the end of the head.
    pub offset: ByteCount,
    /// How long its gzip member is.
    pub length: ByteCount,
}

/// The chunks of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkIndex {
    chunk_size: ByteCount,
    /// By [`ImageKind::ALL`].
    images: [Vec<Member>; 3],
    total: ByteCount,
}

/// The file's name in the bundle.
pub(crate) const FILE: &str = "chunks.json";

impl ChunkIndex {
    /// An index of these members for the images of `manifest`.
    ///
    /// # Errors
    /// A chunk size that is not used, a wrong number of chunks, a member that does not follow its predecessor
    /// or is longer than its plain bytes can make it.
    pub fn new(
        manifest: &Manifest,
        chunk_size: ByteCount,
        images: [Vec<Member>; 3],
    ) -> Result<Self, ReleaseError> {
        let [least, most] = limits::CHUNK_RANGE;
        if !chunk_size.0.is_power_of_two() || chunk_size < least || chunk_size > most {
            return Err(refuse(
                "chunk_size",
                chunk_size.0.to_string(),
                "a power of two from 4096 to 1048576",
            ));
        }
        let count = |kind| manifest.image(kind).length.0.div_ceil(chunk_size.0);
        if ImageKind::ALL.into_iter().map(count).sum::<u64>() > limits::CHUNKS {
            return Err(refuse("images", "more".into(), "at most 32768 chunks"));
        }
        let mut total = ByteCount(0);
        for (kind, members) in ImageKind::ALL.into_iter().zip(&images) {
            if members.len() as u64 != count(kind) {
                let got = format!("{} chunks of {kind}", members.len());
                return Err(refuse("images", got, "as many as the image's length makes"));
            }
            // Framing of a member is a tar header, padding and the end of the archive at the most.
            let longest = limits::member(ByteCount(chunk_size.0 + 3 * 512 + 511));
            for member in members {
                if member.offset != total || member.length.0 == 0 || member.length > longest {
                    let got = format!("a member of {kind} at {} of {}", member.offset.0, member.length);
                    return Err(refuse(
                        "images",
                        got,
                        "members that follow each other, none longer than its chunk allows",
                    ));
                }
                total = ByteCount(total.0 + member.length.0);
            }
        }
        Ok(Self { chunk_size, images, total })
    }

    /// Reads `chunks.json` of the bundle that `manifest` describes.
    ///
    /// # Errors
    /// Not an index, or not one for these images.
    pub fn parse(manifest: &Manifest, json: &[u8]) -> Result<Self, ReleaseError> {
        let refused = |reason: String| ReleaseError::Json { file: FILE, reason };
        if json.len() as u64 > limits::INDEX.0 {
            return Err(refused(format!("it is longer than {}", limits::INDEX)));
        }
        let file: File = serde_json::from_slice(json).map_err(|error| refused(error.to_string()))?;
        Self::new(manifest, file.chunk_size, [file.images.root, file.images.verity, file.images.uki])
    }

    /// The text of `chunks.json`, the same for the same chunks.
    ///
    /// # Panics
    /// Never: every value of an index can be written as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        let [root, verity, uki] = self.images.clone();
        let file = File { chunk_size: self.chunk_size, images: Images { root, verity, uki } };
        serde_json::to_string(&file).expect("an index is strings and numbers") + "\n"
    }

    /// Plain bytes of every chunk but the last of an image.
    #[must_use]
    pub const fn chunk_size(&self) -> ByteCount {
        self.chunk_size
    }

    /// The members of an image, in order.
    #[must_use]
    pub fn members(&self, kind: ImageKind) -> &[Member] {
        let [root, verity, uki] = &self.images;
        match kind {
            ImageKind::Root => root,
            ImageKind::Verity => verity,
            ImageKind::Uki => uki,
        }
    }

    /// The length of all members: the bundle without its head.
    #[must_use]
    pub const fn total(&self) -> ByteCount {
        self.total
    }
}

fn refuse(field: &str, got: String, expected: &'static str) -> ReleaseError {
    ReleaseError::Field { file: FILE, field: field.into(), got, expected }
}

#[derive(Serialize, Deserialize)]
struct File {
    chunk_size: ByteCount,
    images: Images,
}

#[derive(Serialize, Deserialize)]
struct Images {
    root: Vec<Member>,
    verity: Vec<Member>,
    uki: Vec<Member>,
}
