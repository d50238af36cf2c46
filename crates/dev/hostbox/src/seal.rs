//! Sealing: the hash tree of a root image, and the kernel image that names its root hash.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use evenkeel_release::verity::{BLOCK, Salt, Superblock, TreeBuilder};
use evenkeel_units::{ByteCount, Digest, Version};

/// What to seal, and where the results go.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// Version of the release.
    #[arg(long)]
    version: Version,
    /// Root image: a tar, padded to whole blocks of 4096 bytes.
    #[arg(long)]
    root_image: PathBuf,
    /// Folder for `verity.img` and `uki.efi`.
    #[arg(long)]
    out: PathBuf,
}

/// Makes both files. The salt follows from version and image: the same inputs make the same tree,
/// and two releases with one root image still have two root hashes, so that each is found in its own slot.
pub(crate) fn seal(args: &Seal) -> anyhow::Result<()> {
    let image = fs::read(&args.root_image).with_context(|| args.root_image.display().to_string())?;
    let seed = format!("{} {}", args.version, Digest::of(&image));
    let salt =
        Salt::new(Digest::of(seed.as_bytes()).as_bytes()).context("a digest is short enough for a salt")?;
    let mut tree = TreeBuilder::new(Superblock::new(ByteCount(image.len() as u64), salt)?);
    let out = File::create(args.out.join("verity.img"))?;
    let mut written = Ok(());
    let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
        if written.is_ok() {
            written = out.write_all_at(block, offset.0);
        }
    };
    for block in image.as_chunks::<BLOCK>().0 {
        tree.push(block, &mut give)?;
    }
    let root_hash = tree.finish(&mut give)?;
    written.and_then(|()| out.sync_all()).context("write verity.img")?;
    let command_line = format!("evenkeel.version={} evenkeel.root_hash={root_hash}\n", args.version);
    fs::write(args.out.join("uki.efi"), command_line).context("write uki.efi")?;
    println!("{root_hash}");
    Ok(())
}
