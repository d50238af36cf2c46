//! The hash tree against cryptsetup's `veritysetup`, which is what else reads and writes such trees.

use std::{path::Path, process::Command};

use evenkeel_release::verity::{BLOCK, Salt, Superblock, TreeBuilder};
use evenkeel_units::{ByteCount, Digest};

/// `veritysetup`, or why these tests cannot run.
fn veritysetup() -> Option<Command> {
    for program in ["veritysetup", "/usr/sbin/veritysetup", "/sbin/veritysetup"] {
        if Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(Command::new(program));
        }
    }
    println!("SKIPPED: veritysetup is not installed; apt-get install cryptsetup-bin");
    None
}

/// An image without pattern: every block is made of the hash of its number.
fn image(blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|number| Digest::of(&number.to_le_bytes()).as_bytes().repeat(BLOCK / 32)).collect()
}

fn tree(image: &[u8], salt: &Salt) -> (Vec<u8>, Digest, Superblock) {
    let superblock = Superblock::new(ByteCount(image.len() as u64), salt.clone()).expect("a good length");
    let mut tree = vec![0xEE; usize::try_from(superblock.tree_length().0).expect("fits")];
    let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
        let at = usize::try_from(offset.0).expect("fits");
        tree[at..at + BLOCK].copy_from_slice(block);
    };
    let mut builder = TreeBuilder::new(superblock.clone());
    for block in image.chunks_exact(BLOCK) {
        builder.push(block.try_into().expect("a block"), &mut give).expect("in range");
    }
    let root = builder.finish(&mut give).expect("complete");
    (tree, root, superblock)
}

fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Sizes around every border of the tree's levels; 16,384 blocks are where a third level begins.
const SIZES: [u64; 8] = [2, 3, 127, 128, 129, 1000, 16_384, 16_385];

#[test]
fn our_tree_is_byte_for_byte_that_of_veritysetup() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, hash) = (folder.path().join("data"), folder.path().join("hash"));
    for (blocks, salt) in SIZES.into_iter().zip([&[][..], &[1], &[7; 32], &[9; 256]].into_iter().cycle()) {
        let Some(mut command) = veritysetup() else { return };
        let salt = Salt::new(salt).expect("short enough");
        let image = image(blocks);
        let (tree, root, superblock) = tree(&image, &salt);
        std::fs::write(&data, &image).expect("written");
        let _ = std::fs::remove_file(&hash);
        let output = command
            .args(["format", "--salt", &salt.to_string(), "--uuid", &uuid(superblock.uuid())])
            .args([&data, &hash])
            .output()
            .expect("veritysetup runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let listed = text.lines().find_map(|line| line.strip_prefix("Root hash:")).map(str::trim);
        assert_eq!(listed, Some(root.to_string().as_str()), "{blocks} blocks");
        assert!(std::fs::read(&hash).expect("a tree") == tree, "{blocks} blocks");
    }
}

#[test]
fn veritysetup_verifies_our_tree_and_finds_a_changed_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, hash) = (folder.path().join("data"), folder.path().join("hash"));
    for blocks in [2, 129, 1000] {
        let salt = Salt::new(&[3; 32]).expect("short enough");
        let mut image = image(blocks);
        let (tree, root, _) = tree(&image, &salt);
        std::fs::write(&data, &image).expect("written");
        std::fs::write(&hash, &tree).expect("written");
        let Some(good) = verifies(&data, &hash, root) else { return };
        assert!(good, "{blocks} blocks");
        let last = image.len() - 1;
        image[last] ^= 1;
        std::fs::write(&data, &image).expect("written");
        assert_eq!(verifies(&data, &hash, root), Some(false), "{blocks} blocks");
    }
}

fn verifies(data: &Path, hash: &Path, root: Digest) -> Option<bool> {
    let output = veritysetup()?.arg("verify").args([data, hash]).arg(root.to_string()).output();
    Some(output.expect("veritysetup runs").status.success())
}
