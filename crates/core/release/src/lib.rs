//! What a release is made of, and the proof that bytes belong to it.
//!
//! Owns: the layout of a bundle (docs/protocol.md), the manifest, the chunk index, the verification of every
//! chunk before its bytes are used, which chunks a device has already, and dm-verity's hash tree. Leaves to
//! others: gzip, files, sockets and slots (I10), and what a version means to a device.
//!
//! The invariant: a [`VerifiedChunk`] exists only if its bytes have the SHA-256 that the index of its release
//! lists, and a [`Head`] that came through [`ReleaseTarget::head`] is the one that signed targets metadata
//! names. Whatever writes a slot takes nothing else (I2).
#![no_std]

extern crate alloc;

mod chunk;
mod error;
mod head;
mod index;
mod layout;
mod manifest;
mod reuse;
mod tar;
mod target;

pub mod limits;
pub mod verity;

pub use chunk::{ChunkVerifier, VerifiedChunk};
pub use error::ReleaseError;
pub use head::Head;
pub use index::{ChunkIndex, Member};
pub use layout::{ChunkId, ChunkSpec, Framing, Layout};
pub use manifest::{Contents, ImageKind, ImageMeta, Manifest, VerityMeta};
pub use reuse::{LocalChunk, PlannedChunk, Source, reuse_plan};
pub use target::{HeadMeta, ReleaseTarget, custom, target_name};
