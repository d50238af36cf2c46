//! Making a box: sealing the images of a release, and putting the first one into slot a.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use evenkeel_boot::EntryName;
use evenkeel_units::{Slot, Version};

use crate::{firmware::ENTRIES, kernel_image::CommandLine, root};

/// Room of a slot beyond the first release's image: 32 MiB for data plane and agent to grow.
const ROOM_BYTES: u64 = 32 << 20;

/// Makes `verity.img` and `uki.efi` in `out` for the root image `root`.
pub(crate) fn seal(version: Version, root: &Path, out: &Path) -> Result<()> {
    let root_hash = root::write_tree(root, &out.join("verity.img"))?;
    let line = CommandLine { version, root_hash };
    fs::write(out.join("uki.efi"), line.text()).context("write uki.efi")?;
    println!("{root_hash}");
    Ok(())
}

/// Installs root image, hash tree and kernel image, in this order, as the first release of the box in `dir`.
pub(crate) fn init(dir: &Path, version: Version, [root, verity, uki]: &[PathBuf; 3]) -> Result<()> {
    ensure!(!dir.join("slots").exists(), "{} is a box already; choose an empty folder", dir.display());
    for slot in Slot::BOTH {
        let place = dir.join(format!("slots/{slot}"));
        fs::create_dir_all(&place)?;
        for (image, name) in [(root, "root.img"), (verity, "verity.img")] {
            let room = fs::metadata(image).with_context(|| image.display().to_string())?.len() + ROOM_BYTES;
            File::create(place.join(name))?.set_len(room)?;
        }
    }
    for (image, name) in [(root, "root.img"), (verity, "verity.img")] {
        let mut slot = File::options().write(true).open(dir.join("slots/a").join(name))?;
        std::io::copy(&mut File::open(image)?, &mut slot)?;
        slot.sync_all()?;
    }
    fs::create_dir_all(dir.join("data/agent"))?;
    fs::create_dir_all(dir.join(ENTRIES))?;
    fs::copy(uki, dir.join(ENTRIES).join(EntryName::kept(version).to_string()))?;
    Ok(())
}
