//! Which slot holds the release that the boot image belongs to.
//!
//! Owns: reading the start of each slot's verity tree and comparing it with the command line. Leaves to others: the
//! tree's format (`core/release`), and checking what lies below, which dm-verity does at every read.
//! Invariant: a slot is chosen by the hash of its content alone, so a boot image does not care where it was installed.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use evenkeel_release::verity::{BLOCK, Superblock, root_hash_of};
use evenkeel_units::{Digest, Slot};

use crate::{cmdline::Release, error::Error, partitions::Disk};

/// A slot with the release to start.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Which slot.
    pub(crate) slot: Slot,
    /// The device of the root image.
    pub(crate) root: PathBuf,
    /// The device of the verity tree.
    pub(crate) verity: PathBuf,
    /// What the tree is over.
    pub(crate) superblock: Superblock,
    /// The hash of its top block, which is the one of the command line.
    pub(crate) root_hash: Digest,
}

/// The slot of `disk` that holds `release`; the first one when both do.
pub(crate) fn holding(release: &Release, disk: &Disk) -> Result<Chosen, Error> {
    let mut others = Vec::new();
    for slot in Slot::BOTH {
        match start_of_tree(disk.verity(slot)) {
            Ok((superblock, root_hash)) if root_hash == release.root_hash => {
                let (root, verity) = (disk.root(slot).to_owned(), disk.verity(slot).to_owned());
                return Ok(Chosen { slot, root, verity, superblock, root_hash });
            }
            Ok((_, root_hash)) => others.push(format!("slot {slot} holds root hash {root_hash}")),
            Err(error) => others.push(format!("slot {slot} holds no release: {error}")),
        }
    }
    Err(Error::NoSlot { version: release.version, found: others.join("; ") })
}

/// The superblock at the start of `device`, and the root hash that it and the block behind it give.
fn start_of_tree(device: &Path) -> io::Result<(Superblock, Digest)> {
    let (mut first, mut top) = ([0; BLOCK], [0; BLOCK]);
    let mut device = File::open(device)?;
    device.read_exact(&mut first)?;
    device.read_exact(&mut top)?;
    let superblock = Superblock::parse(&first).map_err(io::Error::other)?;
    let root_hash = root_hash_of(&superblock, &top);
    Ok((superblock, root_hash))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use evenkeel_release::verity::Salt;
    use evenkeel_units::{ByteCount, Version};

    use super::*;
    use crate::partitions::tests::disk_of_files;

    /// The superblock of a tree over an image of three blocks, salted with `salt`.
    pub(crate) fn superblock(salt: &[u8]) -> Superblock {
        Superblock::new(ByteCount(3 * BLOCK as u64), Salt::new(salt).unwrap()).unwrap()
    }

    /// The start of a verity partition whose top block is filled with `fill`.
    fn verity_partition(fill: u8) -> Vec<u8> {
        [superblock(b"salt").to_block(), [fill; BLOCK]].concat()
    }

    /// A disk whose slots hold different releases, and the one in slot b.
    fn disk_with_two_releases(folder: &Path) -> (Disk, Release) {
        fs::write(folder.join("verity_a"), verity_partition(1)).unwrap();
        fs::write(folder.join("verity_b"), verity_partition(2)).unwrap();
        let root_hash = root_hash_of(&superblock(b"salt"), &[2; BLOCK]);
        (disk_of_files(folder), Release { version: Version::new(1, 1, 0), root_hash })
    }

    #[test]
    fn the_slot_is_the_one_whose_tree_has_the_root_hash_of_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, release) = disk_with_two_releases(folder.path());
        let chosen = holding(&release, &disk).unwrap();
        assert_eq!((chosen.slot, chosen.root), (Slot::B, folder.path().join("root_b")));
        assert_eq!(chosen.root_hash, release.root_hash);
        assert_eq!(chosen.superblock, superblock(b"salt"));
    }

    #[test]
    fn i3_a_release_that_was_not_written_completely_is_not_started_and_both_slots_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, release) = disk_with_two_releases(folder.path());
        let mut torn = verity_partition(2);
        torn[BLOCK + 100] ^= 1;
        for (bytes, expected) in [
            (torn, "slot b holds root hash"),
            (vec![0; 2 * BLOCK], "slot b holds no release"),
            (vec![0; 10], "slot b holds no release: failed to fill"),
        ] {
            fs::write(folder.path().join("verity_b"), bytes).unwrap();
            let message = holding(&release, &disk).unwrap_err().to_string();
            assert!(message.contains("no slot holds release 1.1.0 (slot a holds root hash"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }
}
