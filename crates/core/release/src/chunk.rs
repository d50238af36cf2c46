//! A chunk from unknown bytes to proven ones (I2).
//!
//! Owns: [`VerifiedChunk`], which nothing outside this file can make. A verifier holds one chunk in memory
//! and takes no byte beyond it.

use alloc::vec::Vec;

use evenkeel_units::{ByteCount, Digest};

use crate::{ChunkId, ChunkSpec, Framing, Head, ImageKind, ReleaseError};

/// The plain bytes of a chunk, known to have the SHA-256 that its release's index lists.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedChunk {
    id: ChunkId,
    offset: ByteCount,
    bytes: Vec<u8>,
}

impl VerifiedChunk {
    /// Which chunk it is.
    #[must_use]
    pub const fn id(&self) -> ChunkId {
        self.id
    }

    /// The image it is a part of.
    #[must_use]
    pub const fn image(&self) -> ImageKind {
        self.id.image
    }

    /// Where it belongs in its image.
    #[must_use]
    pub const fn offset(&self) -> ByteCount {
        self.offset
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its buffer, for the next chunk to use.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

impl core::fmt::Debug for VerifiedChunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ChunkId { image, number } = self.id;
        write!(f, "VerifiedChunk({image} {number}, {} bytes)", self.bytes.len())
    }
}

/// Takes the inflated bytes of one chunk's member, piece by piece.
#[derive(Debug)]
pub struct ChunkVerifier {
    spec: ChunkSpec,
    framing: Framing,
    /// Member bytes taken so far, framing included.
    taken: usize,
    bytes: Vec<u8>,
}

impl ChunkVerifier {
    /// A verifier for the chunk `id` of the release; `None` if it has no such chunk.
    #[must_use]
    pub fn new(head: &Head, id: ChunkId) -> Option<Self> {
        Self::with_buffer(head, id, Vec::new())
    }

    /// The same, in a buffer from [`VerifiedChunk::into_buffer`].
    #[must_use]
    pub fn with_buffer(head: &Head, id: ChunkId, mut buffer: Vec<u8>) -> Option<Self> {
        let spec = head.chunk(id)?;
        buffer.clear();
        buffer.reserve_exact(usize::try_from(spec.length.0).ok()?);
        Some(Self { spec, framing: head.framing(id), taken: 0, bytes: buffer })
    }

    /// What is expected.
    #[must_use]
    pub const fn spec(&self) -> &ChunkSpec {
        &self.spec
    }

    /// Takes the next inflated bytes.
    ///
    /// # Errors
    /// More than the member has, or framing that is not exactly what it has to be.
    pub fn push(&mut self, mut inflated: &[u8]) -> Result<(), ReleaseError> {
        if self.taken as u64 + inflated.len() as u64 > self.spec.member_plain.0 {
            let expected = self.spec.member_plain;
            return Err(ReleaseError::ChunkTooLong { id: self.spec.id, expected });
        }
        while !inflated.is_empty() {
            let used = self.take(inflated)?;
            self.taken += used;
            inflated = &inflated[used..];
        }
        Ok(())
    }

    /// Takes bytes up to the end of the part they begin in: header, chunk, or zeros.
    fn take(&mut self, inflated: &[u8]) -> Result<usize, ReleaseError> {
        let header: &[u8] = self.framing.before.as_ref().map_or(&[], |header| header);
        let wrong = || Err(ReleaseError::ChunkFraming { id: self.spec.id });
        if let Some(rest) = header.get(self.taken..).filter(|rest| !rest.is_empty()) {
            let used = rest.len().min(inflated.len());
            return if rest[..used] == inflated[..used] { Ok(used) } else { wrong() };
        }
        let missing = usize::try_from(self.spec.length.0).unwrap_or(usize::MAX) - self.bytes.len();
        if missing > 0 {
            let used = missing.min(inflated.len());
            self.bytes.extend_from_slice(&inflated[..used]);
            return Ok(used);
        }
        if inflated.iter().all(|byte| *byte == 0) { Ok(inflated.len()) } else { wrong() }
    }

    /// The proof, once the member is complete.
    ///
    /// # Errors
    /// Bytes are missing, or they are not the listed ones.
    pub fn finish(self) -> Result<VerifiedChunk, ReleaseError> {
        let (got, expected) = (ByteCount(self.taken as u64), self.spec.member_plain);
        if got != expected {
            return Err(ReleaseError::ChunkTruncated { id: self.spec.id, got, expected });
        }
        prove(&self.spec, self.bytes)
    }

    /// The proof for bytes that are here without framing, such as those of the running slot.
    ///
    /// # Errors
    /// They are not the listed ones, or the release has no such chunk.
    pub fn check_local(head: &Head, id: ChunkId, bytes: Vec<u8>) -> Result<VerifiedChunk, ReleaseError> {
        let spec = head.chunk(id).ok_or(ReleaseError::NoChunk { id })?;
        prove(&spec, bytes)
    }
}

fn prove(spec: &ChunkSpec, bytes: Vec<u8>) -> Result<VerifiedChunk, ReleaseError> {
    let got = Digest::of(&bytes);
    if got == spec.sha256 {
        Ok(VerifiedChunk { id: spec.id, offset: spec.offset, bytes })
    } else {
        Err(ReleaseError::ChunkDigest { id: spec.id, got, expected: spec.sha256 })
    }
}
