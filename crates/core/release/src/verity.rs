//! dm-verity's hash tree (Linux, Documentation/admin-guide/device-mapper/verity.rst; hash type 1).
//!
//! Owns: the superblock that veritysetup also reads and writes, the shape of the tree, and computing it as a
//! stream: root image blocks in, tree blocks and the root hash out, with one block a level in memory. Leaves
//! to others: setting the device up. Always SHA-256 and blocks of 4 KiB on both sides.

mod salt;
mod superblock;
mod tree;

pub use salt::{Salt, SaltError};
pub use superblock::{Superblock, root_hash_of};
pub use tree::TreeBuilder;

use evenkeel_units::{ByteCount, Digest};

use crate::limits;

/// Bytes of a block, of data and of the tree: a page.
pub const BLOCK: usize = 4096;

/// Hashes in a tree block: 4,096 bytes of 32 each.
const HASHES: u64 = (BLOCK / 32) as u64;

/// Most levels that a tree within [`limits::IMAGE`] has: 2 GiB are 2^19 blocks, and 128^3 is 2^21.
const LEVELS: usize = 3;

/// Why something is not a hash tree, or can have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerityError {
    /// An image that a tree cannot be made for.
    #[error("the root image is {} bytes long; expected a multiple of 4096 from 8192 to 2147483648: pad it with zeros", got.0)]
    ImageLength {
        /// Its length.
        got: ByteCount,
    },
    /// A superblock that is not one, or not of the kind used here.
    #[error(
        "the verity superblock's {field} is not {expected}; write the hash tree that belongs to the root image"
    )]
    Superblock {
        /// The field.
        field: &'static str,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Too few or too many blocks.
    #[error(
        "the root image has {got} blocks of 4096 bytes, and {expected} were announced; read it again from its start"
    )]
    Blocks {
        /// Blocks seen.
        got: u64,
        /// Blocks announced.
        expected: u64,
    },
}

/// The length of the hash tree, superblock included, of an image of `image` bytes.
///
/// # Errors
/// The image is no multiple of 4 KiB, below two blocks, or above [`limits::IMAGE`].
pub fn tree_length(image: ByteCount) -> Result<ByteCount, VerityError> {
    let blocks = 1 + Shape::of(data_blocks(image)?).blocks;
    Ok(ByteCount(blocks * BLOCK as u64))
}

/// The number of blocks of an image.
///
/// # Errors
/// As [`tree_length`].
pub fn data_blocks(image: ByteCount) -> Result<u64, VerityError> {
    let block = BLOCK as u64;
    if image.0.is_multiple_of(block) && image.0 >= 2 * block && image <= limits::IMAGE {
        Ok(image.0 / block)
    } else {
        Err(VerityError::ImageLength { got: image })
    }
}

/// Where each level of a tree lies: the top level first, right behind the superblock.
struct Shape {
    /// The first block of each level, counted from the superblock; from the leaves up.
    first: [u64; LEVELS],
    levels: usize,
    /// Blocks of all levels.
    blocks: u64,
}

impl Shape {
    fn of(data_blocks: u64) -> Self {
        let mut counts = [0; LEVELS];
        let (mut levels, mut below) = (0, data_blocks);
        while below > 1 && levels < LEVELS {
            below = below.div_ceil(HASHES);
            counts[levels] = below;
            levels += 1;
        }
        let mut first = [0; LEVELS];
        let mut next = 1;
        for level in (0..levels).rev() {
            first[level] = next;
            next += counts[level];
        }
        Self { first, levels, blocks: next - 1 }
    }
}

/// Hash type 1: the salt comes before the block.
fn hash(salt: &Salt, block: &[u8; BLOCK]) -> Digest {
    let mut hasher = evenkeel_units::Hasher::new();
    hasher.update(salt.as_bytes());
    hasher.update(block);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lies_top_level_first_behind_its_superblock() {
        let shape = |blocks| {
            let Shape { first, levels, blocks } = Shape::of(blocks);
            (first[..levels].to_vec(), blocks)
        };
        assert_eq!(shape(2), (alloc::vec![1], 1));
        assert_eq!(shape(128), (alloc::vec![1], 1));
        assert_eq!(shape(129), (alloc::vec![2, 1], 3));
        assert_eq!(shape(128 * 128), (alloc::vec![2, 1], 129));
        assert_eq!(shape(128 * 128 + 1), (alloc::vec![4, 2, 1], 132));
    }

    #[test]
    fn the_largest_image_has_its_tree_within_the_levels() {
        let blocks = limits::IMAGE.0 / BLOCK as u64;
        assert_eq!(Shape::of(blocks).levels, LEVELS);
        assert!(128u64.pow(LEVELS as u32) >= blocks);
    }

    #[test]
    fn an_image_that_can_have_no_tree_is_refused() {
        for length in [0, 4096, 8191, 8193, limits::IMAGE.0 + 4096] {
            assert!(tree_length(ByteCount(length)).is_err(), "{length}");
        }
        assert_eq!(tree_length(ByteCount(8192)), Ok(ByteCount(8192)));
    }
}
