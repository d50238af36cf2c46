//! The root file system of a box without a kernel: a tar in a slot, verified against its hash tree when it is
//! "mounted", which here means unpacked.
//!
//! Invariant: nothing of a root image is used before all of it has the root hash of the boot entry, as dm-verity
//! ensures block by block.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use evenkeel_boot::Running;
use evenkeel_release::verity::{BLOCK, Salt, Superblock, TreeBuilder, root_hash_of};
use evenkeel_units::{ByteCount, Digest, Slot};

use crate::kernel_image::CommandLine;

/// Writes the hash tree of `image` to `tree` and says its root hash. The salt is the digest of the image, so that
/// the same image always has the same tree.
pub(crate) fn write_tree(image: &Path, tree: &Path) -> Result<Digest> {
    let bytes = fs::read(image).with_context(|| image.display().to_string())?;
    let salt = Salt::new(Digest::of(&bytes).as_bytes()).context("a digest is short enough for a salt")?;
    let superblock = Superblock::new(ByteCount(bytes.len() as u64), salt)?;
    let out = File::create(tree)?;
    let mut written = Ok(());
    let root_hash = build(&superblock, bytes.as_slice(), &mut |offset, block| {
        if written.is_ok() {
            written = out.write_all_at(block, offset.0);
        }
    })?;
    written.and_then(|()| out.sync_all()).with_context(|| tree.display().to_string())?;
    Ok(root_hash)
}

/// Finds the slot that the boot entry belongs to, verifies and unpacks it, and leaves the boot record.
pub(crate) fn mount(dir: &Path, line: &CommandLine) -> Result<PathBuf> {
    let run = dir.join("run");
    if run.exists() {
        fs::remove_dir_all(&run)?;
    }
    let root = run.join("root");
    fs::create_dir_all(&root)?;
    let (slot, superblock) = find(dir, line.root_hash)?;
    let image = dir.join(format!("slots/{slot}/root.img"));
    verify(&image, &superblock, line.root_hash)?;
    let mut archive = tar::Archive::new(File::open(&image)?);
    archive.unpack(&root).with_context(|| format!("unpack {}", image.display()))?;
    let record = Running { version: line.version, slot, root_hash: line.root_hash };
    fs::write(run.join("boot.json"), serde_json::to_vec(&record)?)?;
    println!("[init] release {} from slot {slot}, root hash {}", line.version, line.root_hash);
    Ok(root)
}

/// The slot whose hash tree has this root hash at its top, as the initrd looks for it.
fn find(dir: &Path, root_hash: Digest) -> Result<(Slot, Superblock)> {
    for slot in Slot::BOTH {
        let tree = File::open(dir.join(format!("slots/{slot}/verity.img")))?;
        let (mut first, mut top) = ([0; BLOCK], [0; BLOCK]);
        if tree
            .read_exact_at(&mut first, 0)
            .and_then(|()| tree.read_exact_at(&mut top, BLOCK as u64))
            .is_err()
        {
            continue;
        }
        match Superblock::parse(&first) {
            Ok(superblock) if root_hash_of(&superblock, &top) == root_hash => return Ok((slot, superblock)),
            Ok(_) | Err(_) => {}
        }
    }
    bail!(
        "no slot has the root hash {root_hash} of the boot entry; its release was not written, or damaged since"
    )
}

fn verify(image: &Path, superblock: &Superblock, expected: Digest) -> Result<()> {
    let data = File::open(image)?.take(superblock.data_length().0);
    let got = build(superblock, BufReader::new(data), &mut |_, _| {})?;
    ensure!(
        got == expected,
        "{} has the root hash {got}; the boot entry expects {expected}",
        image.display()
    );
    Ok(())
}

fn build(
    superblock: &Superblock,
    mut image: impl Read,
    give: &mut impl FnMut(ByteCount, &[u8; BLOCK]),
) -> Result<Digest> {
    let (mut builder, mut block) = (TreeBuilder::new(superblock.clone()), [0; BLOCK]);
    for _ in 0..superblock.data_blocks() {
        image.read_exact(&mut block)?;
        builder.push(&block, give)?;
    }
    Ok(builder.finish(give)?)
}

#[cfg(test)]
mod tests {
    use evenkeel_units::Version;

    use super::*;
    use crate::install;

    /// A box with one release whose root image holds one file.
    fn installed(dir: &Path) -> CommandLine {
        let root = dir.join("root.img");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(5);
        header.set_cksum();
        archive.append_data(&mut header, "usr/bin/hello", b"hello".as_slice()).unwrap();
        let mut bytes = archive.into_inner().unwrap();
        bytes.resize(bytes.len().next_multiple_of(BLOCK).max(2 * BLOCK), 0);
        fs::write(&root, bytes).unwrap();
        let version = Version::new(1, 0, 0);
        install::seal(version, &root, dir).unwrap();
        let images = [root, dir.join("verity.img"), dir.join("uki.efi")];
        install::init(&dir.join("box"), version, &images).unwrap();
        CommandLine::parse(&fs::read_to_string(dir.join("uki.efi")).unwrap()).unwrap()
    }

    #[test]
    fn a_sealed_release_is_found_in_its_slot_verified_and_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let line = installed(dir.path());
        let root = mount(&dir.path().join("box"), &line).unwrap();
        assert_eq!(fs::read(root.join("usr/bin/hello")).unwrap(), b"hello");
        let record: Running =
            serde_json::from_slice(&fs::read(dir.path().join("box/run/boot.json")).unwrap()).unwrap();
        assert_eq!((record.slot, record.version), (Slot::A, Version::new(1, 0, 0)));
    }

    #[test]
    fn a_changed_byte_of_the_root_image_keeps_it_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let line = installed(dir.path());
        let slot = File::options().write(true).open(dir.path().join("box/slots/a/root.img")).unwrap();
        slot.write_all_at(b"J", 512).unwrap();
        let error = mount(&dir.path().join("box"), &line).unwrap_err().to_string();
        assert!(error.contains("the boot entry expects"), "{error}");
    }

    #[test]
    fn an_entry_that_belongs_to_no_slot_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let line = CommandLine { root_hash: Digest::of(b"other"), ..installed(dir.path()) };
        let error = mount(&dir.path().join("box"), &line).unwrap_err().to_string();
        assert!(error.contains("no slot has the root hash"), "{error}");
    }
}
