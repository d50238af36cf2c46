//! Loading the kernel modules that the initrd carries.
//!
//! Owns: the order file, made at image build, in which every module stands after those it needs. Leaves to others:
//! which modules those are (`image/initrd.modules`), and the drivers that udev loads later from the root.
//! Invariant: a missing module stops the start here, with its name, instead of later without.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

use crate::error::Error;

/// Loads every module that `folder/order` lists, one file name a line, from `folder`.
pub(crate) fn load_all(folder: &Path) -> Result<(), Error> {
    let order = folder.join("order");
    let names = fs::read_to_string(&order).map_err(Error::file(order))?;
    names.lines().try_for_each(|name| {
        load(&folder.join(name)).map_err(|source| Error::Module { module: name.to_owned(), source })
    })
}

/// Loads one module. A driver whose hardware is absent (`ENODEV`) and a module that is there already are no failure.
fn load(path: &Path) -> io::Result<()> {
    match finit_module(File::open(path)?, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_listed_but_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("order"), "dm-verity.ko\n").unwrap();
        let message = load_all(folder.path()).unwrap_err().to_string();
        assert!(message.contains("kernel module dm-verity.ko: No such file"), "{message}");
    }

    #[test]
    fn an_empty_list_loads_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("order"), "").unwrap();
        load_all(folder.path()).unwrap();
    }
}
