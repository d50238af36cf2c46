//! What firmware, loader and initrd do on a real box: choose an entry, count the start, find and check its slot.

use std::fs;

use anyhow::{Context as _, bail};
use evenkeel_boot::{EntryName, Running};
use evenkeel_disk::{SlotPaths, Storage};
use evenkeel_release::verity::{BLOCK, Superblock, TreeBuilder, root_hash_of};
use evenkeel_units::{Digest, Slot, Version};

use crate::layout::Layout;

/// Longest kernel image of a host box: it is a line of text.
const KERNEL_BYTES: u64 = 64 * 1024;

/// Chooses the entry as systemd-boot does, and counts the start by renaming it first.
pub(crate) fn choose_entry(layout: &Layout) -> anyhow::Result<EntryName> {
    let esp = layout.places().esp;
    let Some(selection) = esp.entries()?.select() else {
        bail!("{}/EFI/Linux has no boot entry; install a release with `init`", layout.efi().display());
    };
    if let Some(change) = selection.count {
        esp.change(change)?;
    }
    Ok(selection.start)
}

/// Finds the slot that belongs to the entry's kernel image, and checks all of its root image.
///
/// A real box has dm-verity check each block when it is read; here there is nothing in between, so all are
/// checked at once.
pub(crate) fn find_slot(layout: &Layout, entry: EntryName) -> anyhow::Result<Running> {
    let places = layout.places();
    let kernel = Storage::open_to_read(&places.esp.path_of(entry))?;
    if kernel.size().0 > KERNEL_BYTES {
        bail!("{entry} has {}; a host box has kernel images of text", kernel.size());
    }
    let mut text = vec![0; usize::try_from(kernel.size().0)?];
    kernel.read_at(&mut text, 0)?;
    let (version, root_hash) = command_line(&String::from_utf8_lossy(&text))
        .with_context(|| format!("{entry} names no evenkeel.version= and evenkeel.root_hash="))?;
    for slot in Slot::BOTH {
        let paths = places.of(slot);
        if root_hash_in(paths).is_some_and(|(_, hash)| hash == root_hash) {
            check_root(paths, root_hash).with_context(|| format!("slot {slot}"))?;
            return Ok(Running { version, slot, root_hash });
        }
    }
    bail!("no slot has the root hash {root_hash} that {entry} names");
}

/// The version and the root hash of a kernel command line; all other keys are left to others.
fn command_line(text: &str) -> Option<(Version, Digest)> {
    let value = |key: &str| text.split_whitespace().find_map(|word| word.strip_prefix(key));
    Some((value("evenkeel.version=")?.parse().ok()?, value("evenkeel.root_hash=")?.parse().ok()?))
}

fn root_hash_in(paths: &SlotPaths) -> Option<(Superblock, Digest)> {
    let verity = Storage::open_to_read(&paths.verity).ok()?;
    let mut block = [0; BLOCK];
    verity.read_at(&mut block, 0).ok()?;
    let superblock = Superblock::parse(&block).ok()?;
    verity.read_at(&mut block, BLOCK as u64).ok()?;
    let hash = root_hash_of(&superblock, &block);
    Some((superblock, hash))
}

fn check_root(paths: &SlotPaths, root_hash: Digest) -> anyhow::Result<()> {
    let (superblock, _) = root_hash_in(paths).context("its hash tree cannot be read")?;
    let (root, blocks) = (Storage::open_to_read(&paths.root)?, superblock.data_blocks());
    let mut tree = TreeBuilder::new(superblock);
    let mut block = [0; BLOCK];
    for number in 0..blocks {
        root.read_at(&mut block, number * BLOCK as u64)?;
        tree.push(&block, &mut |_, _| {})?;
    }
    let got = tree.finish(&mut |_, _| {})?;
    if got != root_hash {
        bail!("its root image has root hash {got}, expected {root_hash}; it is damaged");
    }
    Ok(())
}

/// Unpacks the root image, a plain tar, to where services are started from, and says what started.
pub(crate) fn unpack(layout: &Layout, running: &Running) -> anyhow::Result<()> {
    let root = layout.root();
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    fs::create_dir_all(&root)?;
    let image = layout.places().of(running.slot).root.clone();
    let file = fs::File::open(&image)?;
    tar::Archive::new(file)
        .unpack(&root)
        .with_context(|| format!("{} is not a tar of a root directory", image.display()))?;
    fs::write(layout.boot_record(), serde_json::to_vec(running)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_keys_of_the_command_line_are_read() {
        let hash = Digest::of(b"root");
        let line = format!("quiet evenkeel.version=1.2.0 console=ttyS0 evenkeel.root_hash={hash}\n");
        assert_eq!(command_line(&line), Some((Version::new(1, 2, 0), hash)));
        for line in ["", "evenkeel.version=1.2.0", &format!("evenkeel.version=1 evenkeel.root_hash={hash}")] {
            assert_eq!(command_line(line), None, "{line}");
        }
    }
}
