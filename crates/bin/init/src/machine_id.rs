//! The box's machine id, which the read-only root cannot hold.
//!
//! Owns: making it once, keeping it on the data partition, and laying it over the root's empty `/etc/machine-id`.
//! Leaves to others: its uses (the journal's folder, DHCP's identity). Invariant: it never changes once it was made,
//! so that the journal of earlier starts stays one journal.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use nix::mount::{MsFlags, mount};

use crate::{
    error::Error,
    mounts::{DATA, ROOT},
};

/// Lays the box's machine id over the root's empty one, making it at the first start.
pub(crate) fn provide() -> Result<(), Error> {
    let folder = Path::new(DATA).join("lib/evenkeel");
    let kept = folder.join("machine-id");
    keep(&folder).map_err(Error::file(&kept))?;
    let target = "/root/etc/machine-id";
    debug_assert!(target.starts_with(ROOT), "the id belongs into the new root");
    mount(Some(&kept), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|errno| Error::Mount {
        source_path: kept.display().to_string(),
        target,
        source: errno.into(),
        remedy: "the release's root lacks this file: install another release",
    })
}

/// Makes `folder/machine-id` unless a whole one is there: written aside, flushed, then renamed, so that a power cut
/// leaves none or a whole one.
fn keep(folder: &Path) -> io::Result<()> {
    let kept = folder.join("machine-id");
    if fs::read_to_string(&kept).is_ok_and(|text| is_machine_id(&text)) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let aside = folder.join("machine-id.new");
    let mut file = File::create(&aside)?;
    file.write_all(random_id()?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, &kept)?;
    File::open(folder)?.sync_all()
}

/// 32 lowercase hexadecimal digits and a newline, not all zero (machine-id(5)).
fn is_machine_id(text: &str) -> bool {
    let digits = text.trim_end_matches('\n');
    digits.len() == 32
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && digits.bytes().any(|byte| byte != b'0')
}

/// A random id in the form of a version 4 UUID (RFC 9562 §5.4), as machine-id(5) asks for.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(format!("{:032x}\n", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_id_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("lib/evenkeel");
        keep(&nested).unwrap();
        let first = fs::read_to_string(nested.join("machine-id")).unwrap();
        assert!(is_machine_id(&first), "{first}");
        keep(&nested).unwrap();
        assert_eq!(fs::read_to_string(nested.join("machine-id")).unwrap(), first);
    }

    #[test]
    fn a_machine_id_that_a_power_cut_emptied_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("machine-id"), "").unwrap();
        keep(folder.path()).unwrap();
        assert!(is_machine_id(&fs::read_to_string(folder.path().join("machine-id")).unwrap()));
    }

    #[test]
    fn only_32_hexadecimal_digits_that_are_not_all_zero_are_a_machine_id() {
        assert!(is_machine_id("4a1e5f0c9b2d4e7f8a6b3c2d1e0f9a8b\n"));
        for text in ["", "4a1e", &"0".repeat(32), &"G".repeat(32), &"a".repeat(33)] {
            assert!(!is_machine_id(text), "{text}");
        }
    }
}
