//! The box's partitions, found by their GPT labels.
//!
//! Owns: reading labels from sysfs and waiting, with an end, for a disk that has all of them. Leaves to others: what
//! the partitions hold (`slot`, `mounts`). Invariant: all partitions are taken from one disk, so that a second disk
//! with an older installation never mixes in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use evenkeel_units::Slot;

use crate::error::Error;

/// How long the kernel may take to find the disk and read its partition table.
///
/// NVMe and virtio need under 1 s, SATA up to 10 s for a disk that spins up; three times the slowest.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often sysfs is looked at meanwhile: a fifth of the shortest delay that a person would notice.
const INTERVAL: Duration = Duration::from_millis(20);

/// The labels that make a disk a box's disk (docs/protocol.md, "Box: files and sockets").
const LABELS: [&str; 6] = ["esp", "root_a", "verity_a", "root_b", "verity_b", "data"];

/// A disk that has every partition of a box.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    name: String,
    devices: BTreeMap<String, PathBuf>,
}

impl Disk {
    /// Waits for the box's disk.
    pub(crate) fn find() -> Result<Self, Error> {
        let started = Instant::now();
        loop {
            let disks = scan(Path::new("/sys/class/block"));
            if let Some(disk) = complete(&disks) {
                return Ok(disk);
            }
            if started.elapsed() > DEADLINE {
                return Err(nothing(&disks));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// The kernel's name of the disk, such as `vda`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The device of a slot's root image.
    pub(crate) fn root(&self, slot: Slot) -> &Path {
        self.device(&format!("root_{slot}"))
    }

    /// The device of a slot's verity tree.
    pub(crate) fn verity(&self, slot: Slot) -> &Path {
        self.device(&format!("verity_{slot}"))
    }

    /// The device of the EFI system partition.
    pub(crate) fn esp(&self) -> &Path {
        self.device("esp")
    }

    /// The device of the data partition.
    pub(crate) fn data(&self) -> &Path {
        self.device("data")
    }

    fn device(&self, label: &str) -> &Path {
        self.devices.get(label).expect("a disk is only made with every label of LABELS")
    }
}

/// The labelled partitions of each disk, by the disk's name.
type Disks = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Reads the labels of all partitions under `class`. What vanishes or cannot be read while looking is left out: the
/// next look finds it.
fn scan(class: &Path) -> Disks {
    let mut disks = Disks::new();
    for entry in fs::read_dir(class).into_iter().flatten().flatten() {
        if let Some((disk, label, device)) = partition(&entry.path()) {
            disks.entry(disk).or_default().entry(label).or_insert(device);
        }
    }
    disks
}

/// Disk, label and device of the partition that the sysfs link `path` leads to, if it is a labelled one.
fn partition(path: &Path) -> Option<(String, String, PathBuf)> {
    let uevent = fs::read_to_string(path.join("uevent")).ok()?;
    let value = |name: &str| uevent.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (label, device) = (value("PARTNAME")?, value("DEVNAME")?);
    let target = fs::canonicalize(path).ok()?;
    let disk = target.parent()?.file_name()?.to_str()?;
    Some((disk.to_owned(), label.to_owned(), Path::new("/dev").join(device)))
}

/// The first disk, by name, that has every label.
fn complete(disks: &Disks) -> Option<Disk> {
    disks
        .iter()
        .find(|(_, devices)| LABELS.iter().all(|label| devices.contains_key(*label)))
        .map(|(name, devices)| Disk { name: name.clone(), devices: devices.clone() })
}

fn nothing(disks: &Disks) -> Error {
    let found: Vec<_> = disks
        .iter()
        .flat_map(|(disk, devices)| devices.keys().map(move |label| format!("{label} on {disk}")))
        .collect();
    Error::NoDisk {
        wanted: LABELS.join(", "),
        found: if found.is_empty() { "none".to_owned() } else { found.join(", ") },
        seconds: DEADLINE.as_secs(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A disk whose partitions are the files `LABEL` in `folder`.
    pub(crate) fn disk_of_files(folder: &Path) -> Disk {
        let devices = LABELS.iter().map(|label| ((*label).to_owned(), folder.join(label))).collect();
        Disk { name: "test".to_owned(), devices }
    }

    /// Lays out sysfs as Linux 6.12 does: a class folder of links into the device tree.
    fn sysfs(folder: &Path, partitions: &[(&str, &str, &str)]) -> PathBuf {
        let class = folder.join("class");
        fs::create_dir(&class).unwrap();
        for (disk, partition, label) in partitions {
            let device = folder.join("devices").join(disk).join(partition);
            fs::create_dir_all(&device).unwrap();
            let uevent = format!(
                "MAJOR=254\nMINOR=2\nDEVNAME={partition}\nDEVTYPE=partition\nPARTN=2\nPARTNAME={label}\n"
            );
            fs::write(device.join("uevent"), uevent).unwrap();
            symlink(&device, class.join(partition)).unwrap();
        }
        class
    }

    #[test]
    fn the_partitions_of_the_disk_that_has_all_of_them_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let partitions: Vec<_> = ["vdb1", "vdb2", "vdb3", "vdb4", "vdb5", "vdb6"]
            .into_iter()
            .zip(LABELS)
            .map(|(partition, label)| ("vdb", partition, label))
            .chain([("vda", "vda1", "root_a"), ("vda", "vda2", "data")])
            .collect();
        let disk = complete(&scan(&sysfs(folder.path(), &partitions))).unwrap();
        assert_eq!(disk.name(), "vdb");
        assert_eq!(disk.root(Slot::A), Path::new("/dev/vdb2"));
        assert_eq!(disk.verity(Slot::B), Path::new("/dev/vdb5"));
        assert_eq!(disk.data(), Path::new("/dev/vdb6"));
    }

    #[test]
    fn partitions_of_two_disks_never_make_one_box_and_the_message_says_what_was_found() {
        let folder = tempfile::tempdir().unwrap();
        let partitions = [
            ("vda", "vda1", "esp"),
            ("vda", "vda2", "root_a"),
            ("vda", "vda3", "verity_a"),
            ("vdb", "vdb1", "root_b"),
            ("vdb", "vdb2", "verity_b"),
            ("vdb", "vdb3", "data"),
        ];
        let disks = scan(&sysfs(folder.path(), &partitions));
        assert_eq!(complete(&disks), None);
        let message = nothing(&disks).to_string();
        assert!(
            message.contains("found: esp on vda, root_a on vda, verity_a on vda, data on vdb"),
            "{message}"
        );
    }

    #[test]
    fn a_machine_without_disks_is_told_as_such() {
        let message = nothing(&scan(Path::new("/nonexistent"))).to_string();
        assert!(message.contains("(found: none)"), "{message}");
    }
}
