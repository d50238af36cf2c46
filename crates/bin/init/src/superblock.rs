//! The header of a dm-verity hash partition, and the root hash of what it holds.
//!
//! Owns: reading superblock and top hash block. Leaves to others: checking anything below the top block, which the
//! kernel does at every read. Invariant: only the one format that releases are built in is accepted.

use std::{fs::File, io::Read, path::Path};

use evenkeel_units::{Digest, Hasher};

/// Bytes of a data block and of a hash block.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// What a hash partition says of its tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The hash of the top block: names the whole root image.
    pub(crate) root_hash: Digest,
    /// How many blocks of [`BLOCK_BYTES`] the root image has.
    pub(crate) data_blocks: u64,
    /// What every block is hashed with, 0 to 256 bytes.
    pub(crate) salt: Vec<u8>,
}

/// Reads superblock and top hash block from the start of `device`; `None` when it holds no tree of a release.
pub(crate) fn read(device: &Path) -> std::io::Result<Option<Tree>> {
    let mut blocks = [0; 2 * BLOCK_BYTES];
    File::open(device)?.read_exact(&mut blocks)?;
    let (superblock, top) = blocks.split_at(BLOCK_BYTES);
    Ok(parse(superblock, top))
}

/// The superblock of format 1 (cryptsetup, "DMVerity": "Verity superblock format"): signature, version, hash type,
/// UUID, algorithm, data block size, hash block size, data blocks, salt size, salt.
fn parse(superblock: &[u8], top: &[u8]) -> Option<Tree> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?));
    let fixed = superblock.get(..8)? == b"verity\0\0"
        && u32_at(8)? == 1
        && u32_at(12)? == 1
        && superblock.get(32..64)?.strip_prefix(b"sha256")?.iter().all(|byte| *byte == 0)
        && u32_at(64)? as usize == BLOCK_BYTES
        && u32_at(68)? as usize == BLOCK_BYTES;
    if !fixed {
        return None;
    }
    let data_blocks = u64::from_le_bytes(superblock.get(72..80)?.try_into().ok()?);
    let salt_bytes = usize::from(u16::from_le_bytes(superblock.get(80..82)?.try_into().ok()?));
    let salt = superblock.get(88..344)?.get(..salt_bytes)?.to_vec();
    let mut hasher = Hasher::new();
    hasher.update(&salt);
    hasher.update(top);
    Some(Tree { root_hash: hasher.finish(), data_blocks, salt })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hash partition as veritysetup writes it, whose top block is filled with `fill`.
    pub(crate) fn hash_partition(fill: u8) -> Vec<u8> {
        let mut bytes = vec![0; 2 * BLOCK_BYTES];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[64..68].copy_from_slice(&4096_u32.to_le_bytes());
        bytes[68..72].copy_from_slice(&4096_u32.to_le_bytes());
        bytes[72..80].copy_from_slice(&77_u64.to_le_bytes());
        bytes[80] = 4;
        bytes[88..92].copy_from_slice(b"salt");
        bytes[BLOCK_BYTES..].fill(fill);
        bytes
    }

    #[test]
    fn a_tree_is_read_with_its_size_salt_and_root_hash() {
        let bytes = hash_partition(9);
        let (superblock, top) = bytes.split_at(BLOCK_BYTES);
        let root_hash = Digest::of(&[b"salt", top].concat());
        assert_eq!(parse(superblock, top), Some(Tree { root_hash, data_blocks: 77, salt: b"salt".to_vec() }));
    }

    #[test]
    fn any_other_format_is_no_tree_of_a_release() {
        for at in [0, 8, 12, 32, 40, 65, 69] {
            let mut bytes = hash_partition(9);
            bytes[at] ^= 0x40;
            let (superblock, top) = bytes.split_at(BLOCK_BYTES);
            assert_eq!(parse(superblock, top), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_disk_make_it_panic(mut superblock: [u8; 512], valid: bool) {
            if valid {
                superblock[..80].copy_from_slice(&hash_partition(0)[..80]);
            }
            let _ = parse(&superblock, &superblock);
        }
    }
}
