//! `init` of the initrd: from the kernel's first process to systemd in the verified root.
//!
//! Owns: the order of the steps and what happens when one fails. Each step is a module of its own. Leaves to others:
//! which release is tried (systemd-boot counts the attempts) and everything after the root is there (systemd).
//!
//! Invariant: the root that is switched to is the one whose root hash the signed kernel command line names, read
//! through dm-verity; any failure ends in a restart, so that boot counting can fall back (I3, I4).

mod cmdline;
mod console;
mod dm;
mod error;
mod kernel_calls;
mod machine_id;
mod modules;
mod mounts;
mod partitions;
mod record;
mod slot;
mod switch_root;
mod verity;
mod watchdog;

use std::{convert::Infallible, path::Path, process::ExitCode};

use crate::{cmdline::Release, error::Error, partitions::Disk};

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("evenkeel-init: is the first process of a box's initrd and nothing to start by hand");
        return ExitCode::FAILURE;
    }
    match start() {
        Err(error) => console::restart_after(&error),
        Ok(never) => match never {},
    }
}

/// Takes every step; returns only when one failed, for the last one replaces this process by systemd.
fn start() -> Result<Infallible, Error> {
    mounts::kernel_file_systems()?;
    let release = Release::read(Path::new("/proc/cmdline"))?;
    console::say(&format!("starting release {}", release.version));
    modules::load_all(Path::new("/modules"))?;
    watchdog::arm();
    let disk = Disk::find()?;
    let slot = slot::holding(&release, &disk)?;
    console::say(&format!("release {} is in slot {} of {}", release.version, slot.slot, disk.name()));
    let root = verity::open(&slot)?;
    mounts::root(&root)?;
    mounts::esp(&disk)?;
    mounts::data(&disk)?;
    machine_id::provide()?;
    record::write(&release, slot.slot)?;
    switch_root::to_systemd()
}
