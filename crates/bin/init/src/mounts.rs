//! The file systems of a starting box.
//!
//! Owns: what is mounted where and with which options. Leaves to others: the devices (`partitions`, `verity`) and
//! moving everything into the root (`switch_root`).
//! Invariant: the root is only ever mounted read-only; nothing writable may hold programs or devices.

use std::{fs, path::Path};

use nix::mount::{MsFlags, mount};

use crate::{error::Error, partitions::Disk};

/// Where the root is mounted until it becomes `/`.
pub(crate) const ROOT: &str = "/root";
/// Where the EFI system partition is mounted, under the root.
const ESP: &str = "/root/efi";
/// Where the data partition is mounted, under the root.
pub(crate) const DATA: &str = "/root/var";

/// Options of a file system that holds neither programs nor devices.
const DATA_ONLY: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC).union(MsFlags::MS_NOATIME);

/// Mounts what the kernel offers: /proc, /sys, /dev, and a /run that outlives the initrd.
pub(crate) fn kernel_file_systems() -> Result<(), Error> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let again = "this kernel lacks what every box needs: install the release again";
    for (kind, target, flags, options) in [
        ("proc", "/proc", quiet, ""),
        ("sysfs", "/sys", quiet, ""),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
        ("tmpfs", "/run", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755,size=20%"),
    ] {
        fs::create_dir_all(target).map_err(Error::file(target))?;
        attach(Path::new(kind), target, kind, flags, options, again)?;
    }
    Ok(())
}

/// Mounts the verified root image read-only.
pub(crate) fn root(device: &Path) -> Result<(), Error> {
    fs::create_dir_all(ROOT).map_err(Error::file(ROOT))?;
    attach(device, ROOT, "erofs", MsFlags::MS_RDONLY, "", "the slot is damaged: install the release again")
}

/// Mounts the EFI system partition, where the agent keeps the boot entries; only root may look.
pub(crate) fn esp(disk: &Disk) -> Result<(), Error> {
    let remedy = "the EFI system partition is damaged: check it with fsck.vfat from another system";
    attach(disk.esp(), ESP, "vfat", DATA_ONLY, "umask=0077", remedy)
}

/// Mounts the data partition as the root's /var.
pub(crate) fn data(disk: &Disk) -> Result<(), Error> {
    let remedy = "the data partition is damaged: check it with e2fsck from another system";
    attach(disk.data(), DATA, "ext4", DATA_ONLY, "errors=remount-ro", remedy)
}

fn attach(
    source: &Path,
    target: &'static str,
    kind: &str,
    flags: MsFlags,
    options: &str,
    remedy: &'static str,
) -> Result<(), Error> {
    mount(Some(source), target, Some(kind), flags, Some(options)).map_err(|errno| Error::Mount {
        source_path: source.display().to_string(),
        target,
        source: errno.into(),
        remedy,
    })
}
