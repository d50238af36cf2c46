//! Which slot holds the release that the boot image belongs to.
//!
//! Owns: comparing the root hash of the command line with what each slot's verity tree says. Leaves to others: the
//! tree's format (`superblock`), and checking the image itself, which dm-verity does at every read.
//! Invariant: a slot is chosen by the hash of its content alone, so a boot image does not care where it was installed.

use std::{
    io,
    path::{Path, PathBuf},
};

use evenkeel_units::Slot;

use crate::{
    cmdline::Release,
    error::Error,
    partitions::Disk,
    superblock::{self, Tree},
};

/// A slot with the release to start.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Which slot.
    pub(crate) slot: Slot,
    /// The device of the root image.
    pub(crate) root: PathBuf,
    /// The device of the verity tree.
    pub(crate) verity: PathBuf,
    /// What the tree says.
    pub(crate) tree: Tree,
}

/// The slot of `disk` that holds `release`; the first one when both do.
pub(crate) fn holding(release: &Release, disk: &Disk) -> Result<Chosen, Error> {
    let mut told = Vec::new();
    for slot in Slot::BOTH {
        match content(disk.verity(slot), release) {
            Content::Release(tree) => {
                let (root, verity) = (disk.root(slot).to_owned(), disk.verity(slot).to_owned());
                return Ok(Chosen { slot, root, verity, tree });
            }
            Content::Other(text) => told.push(format!("slot {slot} {text}")),
        }
    }
    Err(Error::NoSlot { version: release.version, found: told.join("; ") })
}

/// What a slot's verity partition holds.
enum Content {
    /// The tree of the release that is looked for.
    Release(Tree),
    /// Something else, told for the console.
    Other(String),
}

fn content(verity: &Path, release: &Release) -> Content {
    match superblock::read(verity) {
        Ok(Some(tree)) if tree.root_hash == release.root_hash => Content::Release(tree),
        Ok(Some(tree)) => Content::Other(format!("holds root hash {}", tree.root_hash)),
        Ok(None) => Content::Other("is empty".to_owned()),
        Err(error) => Content::Other(unreadable(verity, &error)),
    }
}

fn unreadable(verity: &Path, error: &io::Error) -> String {
    format!("cannot be read from {}: {error}", verity.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evenkeel_units::{Digest, Version};

    use super::*;
    use crate::{partitions::tests::disk_of_files, superblock::tests::hash_partition};

    /// A disk whose slot b holds a tree with top block of `fill`, and its release.
    fn disk_with_b(folder: &Path, fill: u8) -> (Disk, Release) {
        fs::write(folder.join("verity_a"), hash_partition(1)).unwrap();
        fs::write(folder.join("verity_b"), hash_partition(fill)).unwrap();
        let tree = superblock::read(&folder.join("verity_b")).unwrap().unwrap();
        (disk_of_files(folder), Release { version: Version::new(1, 1, 0), root_hash: tree.root_hash })
    }

    #[test]
    fn the_slot_is_the_one_whose_tree_has_the_root_hash_of_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, release) = disk_with_b(folder.path(), 2);
        let chosen = holding(&release, &disk).unwrap();
        assert_eq!((chosen.slot, chosen.root), (Slot::B, folder.path().join("root_b")));
        assert_eq!(chosen.tree.root_hash, release.root_hash);
    }

    #[test]
    fn i3_a_release_that_was_not_written_completely_is_not_started_and_both_slots_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, release) = disk_with_b(folder.path(), 2);
        let mut torn = hash_partition(2);
        torn[superblock::BLOCK_BYTES + 100] ^= 1;
        for (bytes, expected) in [
            (torn, "slot b holds root hash"),
            (vec![0; 2 * superblock::BLOCK_BYTES], "slot b is empty"),
            (vec![0; 10], "slot b cannot be read"),
        ] {
            fs::write(folder.path().join("verity_b"), bytes).unwrap();
            let message = holding(&release, &disk).unwrap_err().to_string();
            assert!(message.contains("no slot holds release 1.1.0 (slot a holds root hash"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_root_hash_of_nothing_is_in_no_slot() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, _) = disk_with_b(folder.path(), 2);
        let release = Release { version: Version::new(1, 0, 0), root_hash: Digest::of(b"") };
        assert!(holding(&release, &disk).is_err());
    }
}
