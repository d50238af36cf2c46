//! Which chunks of a release a device has already.
//!
//! Owns: the choice, by digest alone. Leaves to others: reading the running slot and hashing it in chunks of
//! the same size; what is read back is verified again before it is used.

use alloc::{collections::BTreeMap, vec::Vec};

use evenkeel_units::{ByteCount, Digest};

use crate::{ChunkSpec, Head, ImageKind};

/// Bytes that the running slot has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalChunk {
    /// Their SHA-256.
    pub sha256: Digest,
    /// The image they are in.
    pub image: ImageKind,
    /// Where they are in it.
    pub offset: ByteCount,
    /// How many they are.
    pub length: ByteCount,
}

/// Where a chunk comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the server.
    Fetch,
    /// From the running slot.
    Local(LocalChunk),
}

/// A chunk and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedChunk {
    /// The chunk.
    pub spec: ChunkSpec,
    /// Where it comes from.
    pub source: Source,
}

/// Every chunk of the release in the order of the bundle, each from the running slot where that has it.
#[must_use]
pub fn reuse_plan(head: &Head, local: &[LocalChunk]) -> Vec<PlannedChunk> {
    let here: BTreeMap<Digest, &LocalChunk> = local.iter().map(|chunk| (chunk.sha256, chunk)).collect();
    let source = |spec: &ChunkSpec| match here.get(&spec.sha256) {
        Some(chunk) if chunk.length == spec.length => Source::Local(**chunk),
        Some(_) | None => Source::Fetch,
    };
    head.chunks().map(|spec| PlannedChunk { source: source(&spec), spec }).collect()
}
