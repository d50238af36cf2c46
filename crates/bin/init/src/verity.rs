//! The root image behind dm-verity: every block that is read is checked against the root hash.
//!
//! Owns: the verity table and what happens on a mismatch. Leaves to others: the device mapper's requests (`dm`).
//!
//! Invariant: the table carries the root hash of the signed command line. A block that does not match panics the
//! kernel, which restarts 5 s later (`panic=5`): a box must not go on with a root of which part cannot be read, and a
//! panic, other than the `restart_on_corruption` option, leaves its reason on the console and in pstore. On trial the
//! boot counter then falls back to the release before.

use std::path::PathBuf;

use evenkeel_release::verity::BLOCK;

use crate::{
    dm::{DeviceMapper, SECTOR_BYTES, Target},
    error::Error,
    slot::Chosen,
};

/// The device's name, as `dmsetup` and sysfs show it.
const NAME: &str = "evenkeel-root";

/// Sets up the verified device of the chosen slot and returns its path.
pub(crate) fn open(chosen: &Chosen) -> Result<PathBuf, Error> {
    let failed = |step| move |source| Error::DeviceMapper { step, source };
    let mapper = DeviceMapper::open().map_err(failed("opening the control device"))?;
    let device = mapper.create(NAME).map_err(failed("creating the device"))?;
    mapper.load(NAME, &table(chosen)).map_err(failed("loading the verity table"))?;
    mapper.resume(NAME).map_err(failed("starting the device"))?;
    Ok(device)
}

/// The table line (Linux, "dm-verity: Construction Parameters"); the tree begins at block 1, behind the superblock.
fn table(chosen: &Chosen) -> Target {
    let parameters = format!(
        "1 {root} {verity} {BLOCK} {BLOCK} {blocks} 1 sha256 {root_hash} {salt} 1 panic_on_corruption",
        root = chosen.root.display(),
        verity = chosen.verity.display(),
        blocks = chosen.superblock.data_blocks(),
        root_hash = chosen.root_hash,
        salt = chosen.superblock.salt(),
    );
    Target { sectors: chosen.superblock.data_length().0 / SECTOR_BYTES, kind: "verity", parameters }
}

#[cfg(test)]
mod tests {
    use evenkeel_units::{Digest, Slot};

    use super::*;
    use crate::slot::tests::superblock;

    fn table_with_salt(salt: &[u8]) -> Target {
        let (superblock, root_hash) = (superblock(salt), Digest::of(b"abc"));
        table(&Chosen {
            slot: Slot::A,
            root: "/dev/vda2".into(),
            verity: "/dev/vda3".into(),
            superblock,
            root_hash,
        })
    }

    #[test]
    fn the_table_names_both_devices_the_size_the_hash_and_the_salt() {
        let hash = Digest::of(b"abc");
        let parameters =
            format!("1 /dev/vda2 /dev/vda3 4096 4096 3 1 sha256 {hash} ab01 1 panic_on_corruption");
        let expected = Target { sectors: 24, kind: "verity", parameters };
        assert_eq!(table_with_salt(&[0xab, 0x01]), expected);
    }

    #[test]
    fn no_salt_is_a_dash() {
        assert!(table_with_salt(&[]).parameters.contains(" - 1 panic_on_corruption"));
    }
}
