//! Every limit of this crate, with its arithmetic.

use evenkeel_units::ByteCount;

/// Largest image: 2 GiB, the size of a slot's root partition, twenty times the root image of today.
pub const IMAGE: ByteCount = ByteCount::mib(2048);

/// Plain bytes of a chunk in a new bundle.
///
/// 256 KiB: a root image of 107 MiB makes 428 chunks and an index of 50 KiB; two chunks in memory are 512 KiB;
/// gzip's window is 32 KiB, so cutting costs well under 1 % of size.
pub const CHUNK: ByteCount = ByteCount::kib(256);

/// Smallest and largest chunk that is read: a verity block, and what a device can spare twice over.
pub const CHUNK_RANGE: [ByteCount; 2] = [ByteCount::kib(4), ByteCount::mib(1)];

/// Most chunks of a bundle: three images of 2 GiB would be 24,576 of 256 KiB; the next power of two.
pub const CHUNKS: u64 = 32_768;

/// Longest manifest: notes of 16 KiB, escaped sixfold at the worst, are 96 KiB; labels and numbers fit the rest.
pub const MANIFEST: ByteCount = ByteCount::kib(128);

/// Longest chunk index: 32,768 chunks of at most 130 bytes of JSON are 4.1 MiB.
pub const INDEX: ByteCount = ByteCount::mib(5);

/// Longest head, plain: manifest and index, and below 4 KiB of tar framing.
pub const HEAD_PLAIN: ByteCount = ByteCount(MANIFEST.0 + INDEX.0 + 4096);

/// Longest notes of a release in bytes: eight screens of text.
pub const NOTES: usize = 16 * 1024;

/// Most hardware kinds, and most channels, of one release.
pub const LABELS: usize = 16;

/// Longest gzip member around `plain` bytes.
///
/// Deflate stores what it cannot compress with 5 bytes for every 16 KiB at the worst, gzip adds 18; a
/// thousandth and 64 bytes are more than both.
#[must_use]
pub const fn member(plain: ByteCount) -> ByteCount {
    ByteCount(plain.0 + plain.0 / 1000 + 64)
}
