//! The verity superblock (cryptsetup, lib/verity/verity.c, `struct verity_sb`): what a tree begins with.

use evenkeel_units::{ByteCount, Digest};

use super::{BLOCK, Salt, Shape, VerityError, hash};
use crate::limits;

/// A superblock of the one kind that is used here: version 1, hash type 1, SHA-256, blocks of 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    uuid: [u8; 16],
    data_blocks: u64,
    salt: Salt,
}

/// Bytes of the fields; the rest of their block is zero.
const FIELDS: usize = 512;

impl Superblock {
    /// The superblock of the tree over an image of `image` bytes.
    ///
    /// The UUID, which only tells trees apart, is the start of the SHA-256 of the salt.
    ///
    /// # Errors
    /// The image can have no tree.
    pub fn new(image: ByteCount, salt: Salt) -> Result<Self, VerityError> {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&Digest::of(salt.as_bytes()).as_bytes()[..16]);
        Ok(Self { uuid, data_blocks: super::data_blocks(image)?, salt })
    }

    /// Reads a superblock from the first bytes of a verity image, 512 at the least.
    ///
    /// # Errors
    /// Not a superblock, or of a kind that is not used here.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerityError> {
        let wrong = |field, expected| VerityError::Superblock { field, expected };
        let fields: &[u8; FIELDS] = bytes.first_chunk().ok_or(wrong("length", "512 bytes or more"))?;
        let number = |at: usize, bytes: usize| {
            fields[at..at + bytes].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if &fields[..8] != b"verity\0\0" {
            return Err(wrong("signature", "`verity`"));
        }
        if number(8, 4) != 1 || number(12, 4) != 1 {
            return Err(wrong("version and hash type", "1 and 1"));
        }
        if &fields[32..39] != b"sha256\0" {
            return Err(wrong("algorithm", "sha256"));
        }
        if number(64, 4) != BLOCK as u64 || number(68, 4) != BLOCK as u64 {
            return Err(wrong("block sizes", "4096 and 4096"));
        }
        let data_blocks = number(72, 8);
        if data_blocks < 2 || data_blocks > limits::IMAGE.0 / BLOCK as u64 {
            return Err(wrong("number of data blocks", "2 to 524288"));
        }
        let salt_size = usize::from(u16::from_le_bytes([fields[80], fields[81]]));
        let salt = fields[88..344].get(..salt_size).and_then(Salt::new);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&fields[16..32]);
        Ok(Self { uuid, data_blocks, salt: salt.ok_or(wrong("salt", "at most 256 bytes long"))? })
    }

    /// The first block of the verity image.
    #[must_use]
    pub fn to_block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        let block_size = u32::try_from(BLOCK).unwrap_or(u32::MAX).to_le_bytes();
        let salt = self.salt.as_bytes();
        put(0, b"verity\0\0");
        put(8, &1u32.to_le_bytes());
        put(12, &1u32.to_le_bytes());
        put(16, &self.uuid);
        put(32, b"sha256");
        put(64, &block_size);
        put(68, &block_size);
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &u16::try_from(salt.len()).unwrap_or(u16::MAX).to_le_bytes());
        put(88, salt);
        block
    }

    /// Blocks of the image that the tree is over.
    #[must_use]
    pub const fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Bytes of the image that the tree is over.
    #[must_use]
    pub const fn data_length(&self) -> ByteCount {
        ByteCount(self.data_blocks * BLOCK as u64)
    }

    /// Bytes of the whole verity image.
    #[must_use]
    pub fn tree_length(&self) -> ByteCount {
        ByteCount((1 + Shape::of(self.data_blocks).blocks) * BLOCK as u64)
    }

    /// The salt.
    #[must_use]
    pub const fn salt(&self) -> &Salt {
        &self.salt
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }
}

/// The root hash of a tree, from its superblock and the block right behind it, which is the top of the tree.
///
/// That the rest of the tree is whole is not said; the kernel finds out while it reads.
#[must_use]
pub fn root_hash_of(superblock: &Superblock, top_block: &[u8; BLOCK]) -> Digest {
    hash(&superblock.salt, top_block)
}
