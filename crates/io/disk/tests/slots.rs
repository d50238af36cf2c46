//! A release written to the inactive slot and read back: what is whole passes, what is not is named.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::{fs, path::Path};

use evenkeel_boot::{InactiveSlot, Running};
use evenkeel_disk::{Esp, Places, SlotPaths, SlotReader, SlotWriter};
use evenkeel_sim::release::{CHUNK, Recipe, Sample};
use evenkeel_units::{Digest, Slot, Version};

fn places(folder: &Path, bytes: u64) -> Places {
    fs::create_dir_all(folder.join("efi/EFI/Linux")).unwrap();
    let paths = |slot: Slot| {
        let path = |name: &str| folder.join(format!("{name}_{slot}"));
        let paths = SlotPaths { root: path("root"), verity: path("verity") };
        for path in [&paths.root, &paths.verity] {
            fs::File::create(path).unwrap().set_len(bytes).unwrap();
        }
        paths
    };
    Places { a: paths(Slot::A), b: paths(Slot::B), esp: Esp::new(&folder.join("efi")) }
}

fn inactive() -> InactiveSlot {
    let root_hash = Digest::of(b"what runs");
    Running { version: Version::new(1, 0, 0), slot: Slot::A, root_hash }.inactive()
}

fn write_all(writer: &SlotWriter, sample: &Sample) {
    let count = u32::try_from(sample.head.chunks().count()).unwrap();
    (0..count).for_each(|number| writer.write(&sample.chunk(number)).unwrap());
    writer.flush().unwrap();
}

#[test]
fn i1_a_release_is_written_to_the_inactive_slot_and_reads_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), 400_000);
    let sample = Sample::make(&Recipe::of(Version::new(1, 1, 0), 40));
    let writer = SlotWriter::open(&places, inactive(), &sample.head).unwrap();
    write_all(&writer, &sample);
    writer.read_back(&sample.head).unwrap();
    assert!(fs::read(&places.a.root).unwrap().iter().all(|byte| *byte == 0), "I1");

    // The slot lends what it has, chunk by chunk, once it is the running one.
    let reader = SlotReader::open(&places.b).unwrap();
    let first = reader.chunks(CHUNK).unwrap()[0];
    assert_eq!(first.sha256, sample.head.chunks().next().unwrap().sha256);
    assert_eq!(reader.read(&first).unwrap(), sample.chunk(0).bytes());
}

#[test]
fn a_byte_that_is_not_what_was_written_is_found_in_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), 400_000);
    let sample = Sample::make(&Recipe::of(Version::new(1, 1, 0), 40));
    let writer = SlotWriter::open(&places, inactive(), &sample.head).unwrap();
    for path in [places.b.root.clone(), places.b.verity.clone(), places.esp.staged_path()] {
        write_all(&writer, &sample);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5000] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = writer.read_back(&sample.head).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("reads back SHA-256") && error.contains("replace it"), "{error}");
    }
    write_all(&writer, &sample);
    writer.read_back(&sample.head).unwrap();
}

#[test]
fn a_slot_that_is_too_small_or_missing_is_named_before_a_byte_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), 100_000);
    let sample = Sample::make(&Recipe::of(Version::new(1, 1, 0), 40));
    let error = SlotWriter::open(&places, inactive(), &sample.head).unwrap_err();
    assert!(error.is_unfit(), "{error}");
    fs::remove_file(&places.b.root).unwrap();
    let error = SlotWriter::open(&places, inactive(), &sample.head).unwrap_err();
    assert!(error.to_string().contains("cannot open") && !error.is_unfit(), "{error}");
    assert!(!places.b.root.exists(), "a slot is never made");
}
