//! The hand-over: the verified root becomes `/`, and systemd becomes the first process.
//!
//! Owns: moving the kernel's file systems along and freeing the initrd's memory. Leaves to others: everything after.
//! Invariant: systemd is started from the root that was verified, never from the initrd.

use std::{convert::Infallible, ffi::CString, fs, io, path::Path};

use nix::{
    mount::{MsFlags, mount},
    unistd::{chdir, chroot, execv},
};

use crate::{error::Error, mounts::ROOT};

/// The first process of the root.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Replaces this process by systemd in the root; returns only to say what failed.
pub(crate) fn to_systemd() -> Result<Infallible, Error> {
    if !Path::new(ROOT).join(&SYSTEMD[1..]).exists() {
        return Err(failed("looking for systemd in the root")(io::ErrorKind::NotFound.into()));
    }
    free_memory();
    for name in ["proc", "sys", "dev", "run"] {
        let (from, to) = (Path::new("/").join(name), Path::new(ROOT).join(name));
        relocate(&from, &to).map_err(failed("moving a file system of the kernel"))?;
    }
    chdir(ROOT).map_err(|errno| failed("entering the root")(errno.into()))?;
    relocate(Path::new("."), Path::new("/")).map_err(failed("moving the root to /"))?;
    chroot(".").map_err(|errno| failed("making the root /")(errno.into()))?;
    chdir("/").map_err(|errno| failed("entering /")(errno.into()))?;
    let program = CString::new(SYSTEMD).expect("the path is a constant without NUL");
    execv(&program, &[&program]).map_err(|errno| failed("starting systemd")(errno.into()))
}

/// Removes the initrd's files, which live in memory. What cannot be removed only costs memory.
fn free_memory() {
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
}

fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(io::Error::from)
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::HandOver { step, source }
}
