//! What started, and starting again.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    process::{Command, ExitCode},
};

use evenkeel_boot::Running;

use crate::Error;

/// Longest record of a start: a version, a letter and 64 digits in some 120 bytes.
const BOOT_RECORD_BYTES: u64 = 4096;

/// Exit status by which the agent of a box without firmware asks whoever runs it for a restart
/// (docs/protocol.md, "Box: files and sockets").
pub const RESTART_STATUS: u8 = 75;

/// Reads what the initrd's init, or the host box, wrote about this start.
///
/// # Errors
/// When it cannot be read or is not in its form.
pub fn read_boot_record(path: &Path) -> Result<Running, Error> {
    let mut text = Vec::new();
    let refuse = |source| Error::read(path, source);
    File::open(path).map_err(refuse)?.take(BOOT_RECORD_BYTES).read_to_end(&mut text).map_err(refuse)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::BootRecord { path: path.into(), reason: error.to_string() })
}

/// Asks systemd to restart the box; it stops this process among the others.
///
/// # Errors
/// When systemd refuses.
pub fn restart_by_systemd() -> Result<(), Error> {
    const COMMAND: &str = "systemctl reboot";
    let refuse = |reason: String| Error::Restart { command: COMMAND, reason };
    let status =
        Command::new("systemctl").arg("reboot").status().map_err(|error| refuse(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(refuse(status.to_string())) }
}

/// The exit code of [`RESTART_STATUS`].
#[must_use]
pub fn restart_code() -> ExitCode {
    ExitCode::from(RESTART_STATUS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evenkeel_units::{Digest, Slot, Version};

    use super::*;

    #[test]
    fn the_record_of_a_start_is_read_and_anything_else_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boot.json");
        let root_hash = Digest::of(b"root");
        fs::write(&path, format!(r#"{{"version": "1.0.0", "slot": "a", "root_hash": "{root_hash}"}}"#))
            .unwrap();
        let expected = Running { version: Version::new(1, 0, 0), slot: Slot::A, root_hash };
        assert_eq!(read_boot_record(&path).unwrap(), expected);
        fs::write(&path, r#"{"version": "1.0.0", "slot": "c"}"#).unwrap();
        let error = read_boot_record(&path).unwrap_err();
        assert!(error.to_string().contains("boot.json is not the record of a start"), "{error}");
    }
}
