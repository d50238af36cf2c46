//! The record of what started, for the agent.
//!
//! Owns: `/run/evenkeel/boot.json` (docs/protocol.md, "Box: files and sockets"). Leaves to others: what follows from
//! it. Invariant: it says what this process verified, not what somebody asked for.

use std::{fs, path::Path};

use evenkeel_units::Slot;

use crate::{cmdline::Release, error::Error};

/// Writes the record into /run, which moves into the root with everything in it.
pub(crate) fn write(release: &Release, slot: Slot) -> Result<(), Error> {
    let folder = Path::new("/run/evenkeel");
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let path = folder.join("boot.json");
    fs::write(&path, text(release, slot)).map_err(Error::file(path))
}

/// The record as JSON; none of its values has a character that JSON would escape.
fn text(release: &Release, slot: Slot) -> String {
    let Release { version, root_hash } = release;
    format!("{{\"version\": \"{version}\", \"slot\": \"{slot}\", \"root_hash\": \"{root_hash}\"}}\n")
}

#[cfg(test)]
mod tests {
    use evenkeel_units::{Digest, Version};

    use super::*;

    #[test]
    fn the_record_has_the_form_that_the_protocol_names() {
        let release = Release { version: Version::new(1, 2, 3), root_hash: Digest::of(b"abc") };
        let expected =
            format!(r#"{{"version": "1.2.3", "slot": "b", "root_hash": "{}"}}"#, Digest::of(b"abc"));
        assert_eq!(text(&release, Slot::B), expected + "\n");
    }
}
