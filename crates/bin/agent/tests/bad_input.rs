//! What a box is sent and must not take: each is reported with the thing and the remedy, and changes nothing.

mod support;

use std::{fs, os::unix::fs::symlink};

use evenkeel_protocol::Step;
use evenkeel_sim::{release::Recipe, repository};
use evenkeel_trust::RoleName;
use evenkeel_units::{Slot, Version, WallTime};
use support::{BLOCKS, NEW, Server, TestBox};

/// Whether the box takes the release after all is decided by its server's next words, so it must say so in a
/// step that is not the last, or be final about it.
fn reason_of(step: &Step) -> Option<&str> {
    match step {
        Step::Failed { reason, .. } | Step::Refused { reason, .. } => Some(reason.as_str()),
        _ => None,
    }
}

/// Orders a release that is bad in one way, and checks what the box says and that it runs on unchanged.
fn check(what: &str, prepare: impl FnOnce(&Server, &TestBox), message: &[&str]) {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    prepare(&server, &test_box);
    if server.state().assignment.is_none() {
        server.order(1, NEW);
    }
    test_box.start();
    server.wait(what, |state| state.reports.iter().any(|report| reason_of(&report.step).is_some()));
    let reports = server.state().reports.clone();
    let reason = reports.iter().find_map(|report| reason_of(&report.step)).expect("waited for").to_owned();
    for part in message {
        assert!(reason.contains(part), "{what}: `{reason}` does not say `{part}`");
    }
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi"], "{what}");
    assert!(test_box.holds(Slot::A, &test_box.old), "{what}: I1");
    assert_eq!(test_box.gate(), Some(0), "{what}: the agent still answers");
}

fn flip(server: &Server, bit: impl Fn(usize) -> usize) {
    server.change(|state| {
        for bundle in state.bundles.values_mut() {
            let bit = bit(bundle.len());
            bundle[bit / 8] ^= 1 << (bit % 8);
        }
    });
}

/// I2: in the head, and in the middle of a chunk that the running slot does not have.
#[test]
fn i2_a_bundle_with_a_flipped_bit_is_named_and_not_used() {
    check(
        "a flipped bit in the head",
        |server, _| {
            server.publish(&Recipe::of(NEW, BLOCKS));
            flip(server, |_| 8 * 100);
        },
        &["evenkeel-1.1.0.bundle", "head of the bundle has SHA-256", "fetch it again"],
    );
    check(
        "a flipped bit in a chunk",
        |server, _| {
            server.publish(&Recipe { shared_blocks: 0, ..Recipe::of(NEW, BLOCKS) });
            flip(server, |length| 8 * (length / 2));
        },
        &["evenkeel-1.1.0.bundle", "chunk", "of root.img", "fetch it again"],
    );
}

#[test]
fn metadata_with_a_wrong_signature_is_named_and_not_used() {
    check(
        "a wrong signature",
        |server, _| {
            server.publish(&Recipe::of(NEW, BLOCKS));
            server.change(|state| state.repository.publish_signed_by(&repository::key(RoleName::Snapshot)));
        },
        &["targets", "sign"],
    );
}

/// I5: a server that only has metadata of yesterday may be hiding the metadata of today.
#[test]
fn i5_an_expired_timestamp_is_named_and_not_used() {
    check(
        "an expired timestamp",
        |server, _| {
            server.change(|state| state.repository.expires = WallTime::from_unix_seconds(1_700_000_000));
            server.publish(&Recipe::of(NEW, BLOCKS));
        },
        &["timestamp metadata version 2 expired at 2023-11-14T22:13:20Z", "clock"],
    );
}

/// I5: the release itself may be authentic and still not be one to take.
#[test]
fn i5_an_older_release_or_one_for_other_boxes_is_refused() {
    let older = Version::new(0, 9, 0);
    check(
        "an older release",
        |server, _| {
            server.publish(&Recipe::of(older, BLOCKS));
            server.order(1, older);
        },
        &["release 0.9.0 is not newer than 1.0.0", "assign a release above 1.0.0"],
    );
    check(
        "other hardware",
        |server, _| {
            server.publish(&Recipe { hardware: "aarch64".into(), ..Recipe::of(NEW, BLOCKS) });
        },
        &["release 1.1.0 is for hardware aarch64, this box has hardware x86_64"],
    );
    check(
        "another channel",
        |server, _| {
            server.publish(&Recipe { channel: "beta".into(), ..Recipe::of(NEW, BLOCKS) });
        },
        &["release 1.1.0 is for channel beta, this box has channel stable"],
    );
}

#[test]
fn a_truncated_download_is_named_and_not_used() {
    check(
        "a truncated download",
        |server, _| {
            let new = server.publish(&Recipe::of(NEW, BLOCKS));
            server.change(|state| state.truncate_at = Some(new.bundle.len() / 2));
        },
        &["evenkeel-1.1.0.bundle", "broke off after", "taken up there again"],
    );
}

#[test]
fn a_release_that_was_never_published_is_named() {
    check("a missing target", |_, _| {}, &["lists no evenkeel-1.1.0.bundle", "publish it"]);
}

#[test]
fn a_full_data_partition_is_named_and_stops_only_the_update() {
    check(
        "a full data partition",
        |server, test_box| {
            server.publish(&Recipe::of(NEW, BLOCKS));
            let metadata = test_box.path("data/metadata");
            fs::create_dir_all(&metadata).unwrap();
            // Whatever is written here meets a device that is always full.
            symlink("/dev/full", metadata.join("targets.json.new")).unwrap();
        },
        &["no room left to write", "data/metadata/targets.json", "free space on its partition"],
    );
}

#[test]
fn a_release_larger_than_the_slot_is_refused_before_a_byte_is_written() {
    check(
        "a slot too small",
        |server, test_box| {
            server.publish(&Recipe::of(NEW, BLOCKS));
            let root = test_box.path("slots/b/root.img");
            fs::File::options().write(true).open(root).unwrap().set_len(100_000).unwrap();
        },
        &["slots/b/root.img has 97 KiB, but the release needs 180 KiB", "flash the box with larger slots"],
    );
}
