//! Power: what happens between switching on and the services, again and again until the box is switched off.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use evenkeel_boot::{Change, Entries, EntryName};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use crate::{
    kernel_image::CommandLine,
    root,
    services::{Services, Wish},
};

/// The folder of boot entries below the box's own.
pub(crate) const ENTRIES: &str = "efi/EFI/Linux";

/// How long a counted start may take until its gate has passed; then the watchdog resets the box.
///
/// The gate's own deadline of 140 s, and a minute for services that do not answer at all.
const WATCHDOG: Duration = Duration::from_secs(200);

/// How often the services are looked after.
const TEND_EVERY: Duration = Duration::from_millis(20);

/// Why a running box stops running.
enum End {
    Restart,
    SwitchedOff,
}

/// Runs the box in `dir` until it is switched off.
///
/// # Errors
/// No entry can be started, as when a real box stays at its firmware.
pub(crate) fn run(dir: &Path) -> Result<()> {
    let endings = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    endings.thread_block()?;
    let switch = SignalFd::with_flags(&endings, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    loop {
        let entry = load(&dir.join(ENTRIES))?;
        match start(dir, entry) {
            Ok(services) => match tend(services, entry, &switch)? {
                End::Restart => println!("[firmware] restart"),
                End::SwitchedOff => return Ok(()),
            },
            Err(error) if entry.tries.is_some() => println!("[init] {error:#}; restart"),
            Err(error) => return Err(error.context("the kept release does not start")),
        }
    }
}

/// What the boot loader does: choose, count, start.
fn load(entries: &Path) -> Result<EntryName> {
    let mut names = Vec::new();
    for file in fs::read_dir(entries).with_context(|| entries.display().to_string())? {
        names.push(file?.file_name().to_string_lossy().into_owned());
    }
    let Some(selection) = Entries::from_names(names.iter().map(String::as_str)).select() else {
        bail!("no boot entry in {}", entries.display())
    };
    if let Some(Change::Rename { from, to }) = selection.count {
        fs::rename(entries.join(from.to_string()), entries.join(to.to_string()))?;
    }
    println!("[loader] starts {}", selection.start);
    Ok(selection.start)
}

/// What kernel and initrd do: find the slot, verify it, and start what is in it.
fn start(dir: &Path, entry: EntryName) -> Result<Services> {
    let image =
        fs::read_to_string(dir.join(ENTRIES).join(entry.to_string())).context("read the kernel image")?;
    let mounted = root::mount(dir, &CommandLine::parse(&image)?)?;
    Services::start(dir, &mounted)
}

fn tend(mut services: Services, entry: EntryName, switch: &SignalFd) -> Result<End> {
    let begin = Instant::now();
    loop {
        if switch.read_signal()?.is_some() {
            println!("[firmware] switched off");
            return Ok(End::SwitchedOff);
        }
        match services.tend()? {
            Wish::GoOn => {}
            Wish::Restart => return Ok(End::Restart),
        }
        if entry.tries.is_some() && !services.boot_complete() && begin.elapsed() > WATCHDOG {
            println!("[watchdog] the gate has not passed within {} s", WATCHDOG.as_secs());
            return Ok(End::Restart);
        }
        thread::sleep(TEND_EVERY);
    }
}
