//! Why a bundle, or a part of one, is not accepted. Every message names the thing, the value and the remedy.

use alloc::string::String;

use evenkeel_units::{ByteCount, Digest, Version};

use crate::{ChunkId, verity::VerityError};

/// Why a bundle was refused; nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// A file of the head cannot be read.
    #[error("{file} of the bundle cannot be read: {reason}; build the bundle again")]
    Json {
        /// The file.
        file: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// A field of the head is out of range.
    #[error("{file} of the bundle: `{field}` is {got}; expected {expected}; build the bundle again")]
    Field {
        /// The file.
        file: &'static str,
        /// The field.
        field: String,
        /// What stands there.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The hash tree has not the length that the root image's tree has.
    #[error("verity.img is {} bytes long, but the hash tree of a root image of {} bytes has {}; compute it from this root image", got.0, root.0, expected.0)]
    TreeLength {
        /// The root image's length.
        root: ByteCount,
        /// The tree's length.
        got: ByteCount,
        /// What it has to be.
        expected: ByteCount,
    },
    /// The hash tree or its superblock is not acceptable.
    #[error(transparent)]
    Verity(#[from] VerityError),
    /// Tar framing is not what a bundle has.
    #[error(
        "the tar framing of {what} is not that of a bundle; it is damaged or was packed by another program: build it with `evenkeel release build`"
    )]
    Framing {
        /// Where.
        what: String,
    },
    /// The head has another length than the signed one.
    #[error("the head of the bundle has {} bytes, expected {}; the download was cut short or the file is another one: fetch it again", got.0, expected.0)]
    HeadLength {
        /// What came.
        got: ByteCount,
        /// What is signed.
        expected: ByteCount,
    },
    /// The head is not the signed one.
    #[error(
        "the head of the bundle has SHA-256 {got}, but {expected} is signed; it is damaged or forged: fetch it again, then publish it again"
    )]
    HeadDigest {
        /// What came.
        got: Digest,
        /// What is signed.
        expected: Digest,
    },
    /// A target is no release.
    #[error("target {name} is no release: {reason}; sign the bundle with `evenkeel release sign`")]
    NotARelease {
        /// The target.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest and the signed target differ.
    #[error(
        "the {what} in the manifest of release {version} differs from the signed one; sign the bundle again with `evenkeel release sign`"
    )]
    Contradiction {
        /// The signed version.
        version: Version,
        /// What differs.
        what: &'static str,
    },
    /// The release is for other hardware (I5).
    #[error("release {version} is for hardware {listed}, and this is {own}; assign a release built for it")]
    Hardware {
        /// The release.
        version: Version,
        /// The device's hardware.
        own: String,
        /// The release's.
        listed: String,
    },
    /// The release is on other channels (I5).
    #[error(
        "release {version} is on channel {listed}, and this device follows {own}; change the device's channel or build the release for it"
    )]
    Channel {
        /// The release.
        version: Version,
        /// The device's channel.
        own: String,
        /// The release's.
        listed: String,
    },
    /// The release has no such chunk.
    #[error("the release has no chunk {} of {}", id.number, id.image)]
    NoChunk {
        /// The chunk that was asked for.
        id: ChunkId,
    },
    /// A member inflates to more than it may.
    #[error("chunk {} of {} inflates to more than {} bytes; the bundle is damaged: fetch it again", id.number, id.image, expected.0)]
    ChunkTooLong {
        /// The chunk.
        id: ChunkId,
        /// What it has to have.
        expected: ByteCount,
    },
    /// A member ended early.
    #[error("chunk {} of {} ended after {} of {} bytes; the download was cut short: fetch it again", id.number, id.image, got.0, expected.0)]
    ChunkTruncated {
        /// The chunk.
        id: ChunkId,
        /// What came.
        got: ByteCount,
        /// What it has to have.
        expected: ByteCount,
    },
    /// The framing around a chunk is not what it has to be.
    #[error("the tar framing around chunk {} of {} is damaged; fetch it again", id.number, id.image)]
    ChunkFraming {
        /// The chunk.
        id: ChunkId,
    },
    /// A chunk's bytes are not the listed ones (I2).
    #[error("chunk {} of {} has SHA-256 {got}, but {expected} is signed; it is damaged or forged: fetch it again", id.number, id.image)]
    ChunkDigest {
        /// The chunk.
        id: ChunkId,
        /// What came.
        got: Digest,
        /// What is signed.
        expected: Digest,
    },
}
