//! Updates of a box by the real agent: kept, rolled back, interrupted, and taken up again.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use evenkeel_protocol::{RolloutId, Step};
use evenkeel_sim::release::Recipe;
use evenkeel_units::Slot;
use support::{BLOCKS, NEW, OLD, Server, TestBox};

/// I1: and the slot that runs is not written.
#[test]
fn a_good_release_is_staged_tried_and_kept() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    let new = server.publish(&Recipe::of(NEW, BLOCKS));
    test_box.start();
    server.wait("a check-in", |state| !state.check_ins.is_empty());
    server.order(1, NEW);
    test_box.wait_restart();
    assert!(test_box.holds(Slot::B, &new));
    assert!(test_box.holds(Slot::A, &test_box.old), "I1");
    assert_eq!(test_box.entries(), ["evenkeel_1.1.0+3.efi", "evenkeel_1.0.0.efi"]);

    let running = test_box.start();
    assert_eq!((running.version, running.slot), (NEW, Slot::B));
    assert_eq!(test_box.gate(), Some(0));
    server.wait_report("keeping", |step| *step == Step::Kept);
    assert_eq!(test_box.entries(), ["evenkeel_1.1.0.efi", "evenkeel_1.0.0.efi"]);
    server.wait("a check-in of the new release", |state| {
        state
            .check_ins
            .last()
            .is_some_and(|last| last.running.version == NEW && last.known == Some(RolloutId(1)))
    });

    let steps: Vec<String> =
        server.state().reports.iter().map(|r| r.step.to_string().split(',').next().unwrap().into()).collect();
    let order = ["assigned", "verified", "staging", "staged", "restarting", "on trial in slot b", "kept"];
    let places: Vec<_> = order.iter().map(|step| steps.iter().position(|known| known == step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{steps:?}");
    let sequences: Vec<_> = server.state().reports.iter().map(|report| report.sequence).collect();
    assert!(sequences.is_sorted());
    let whole = new.bundle.len();
    assert!(server.state().sent < whole * 3 / 4, "a third of the chunks are lent by the running slot");
}

/// I4: a release that answers 500 is left again, with the reason, and not tried a second time by itself.
#[test]
fn i4_a_release_that_serves_errors_is_rolled_back_and_remembered() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    server.publish(&Recipe::of(NEW, BLOCKS));
    server.order(1, NEW);
    test_box.start();
    test_box.wait_restart();
    server.change(|state| state.site_status = 500);
    let mut gate = test_box.start_gate();
    assert_eq!(test_box.start().version, NEW);
    assert_eq!(gate.wait().unwrap().code(), Some(1));
    test_box.wait_restart();
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi", "evenkeel_1.1.0+0-1.efi"]);
    assert_eq!(test_box.start().version, OLD);
    server.wait_report("the rollback", |step| match step {
        Step::RolledBack { reason, .. } => {
            reason.as_str().contains("5 of 5 requests through the data plane failed: status 500")
        }
        _ => false,
    });
    assert_eq!(test_box.gate(), Some(0), "nothing is on trial any more");

    server.change(|state| state.site_status = 200);
    server.order(2, NEW);
    server.wait_report("the refusal", |step| match step {
        Step::Refused { reason, .. } => reason.as_str().contains("release 1.1.0 was rolled back on this box"),
        _ => false,
    });
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi", "evenkeel_1.1.0+0-1.efi"]);
}

/// I4: a release that hangs is ended by the watchdog; after its last try the old one runs and says why.
#[test]
fn i4_a_release_that_never_comes_to_a_verdict_runs_out_of_tries() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    server.publish(&Recipe::of(NEW, BLOCKS));
    server.order(1, NEW);
    test_box.start();
    test_box.wait_restart();
    // Neither good nor plainly bad: the update server is away, and the gate's deadline is never reached.
    for _ in 0..3 {
        server.change(|state| state.vanished = true);
        assert_eq!(test_box.start().version, NEW);
        test_box.kill_agent();
    }
    server.change(|state| state.vanished = false);
    assert_eq!(test_box.start().version, OLD);
    server.wait_report("the rollback", |step| match step {
        Step::RolledBack { reason, .. } => reason.as_str().contains("started 3 times and never got as far"),
        _ => false,
    });
}

/// A transfer goes on where it was, not at its beginning, when the server vanishes in its middle.
#[test]
fn a_transfer_goes_on_where_it_was_when_the_server_comes_back() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    let new = server.publish(&Recipe { shared_blocks: 0, ..Recipe::of(NEW, BLOCKS) });
    let whole = new.bundle.len();
    server.change(|state| state.vanish_after = Some(whole * 8 / 10));
    server.order(1, NEW);
    test_box.start();
    server.wait("the server to vanish", |state| state.vanished);
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi"]);
    server.change(|state| state.vanished = false);
    test_box.wait_restart();
    assert!(test_box.holds(Slot::B, &new));
    let sent = server.state().sent;
    assert!(sent < whole * 14 / 10, "{sent} bytes for a bundle of {whole}");
    assert_eq!(test_box.start().version, NEW);
    server.wait_report("keeping", |step| *step == Step::Kept);
    let failures = server.state().reports.iter().filter(|r| matches!(r.step, Step::Failed { .. })).count();
    assert!((1..=3).contains(&failures), "{failures}: a failure that lasts is not reported again and again");
}

/// I3: the agent is killed in the middle of staging; the box still runs the old release, and the next attempt
/// goes on from the last checkpoint.
#[test]
fn i3_a_transfer_goes_on_where_it_was_when_the_box_loses_power() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    let new = server.publish(&Recipe { shared_blocks: 0, ..Recipe::of(NEW, BLOCKS) });
    let whole = new.bundle.len();
    server.change(|state| state.stall_after = Some(whole * 8 / 10));
    server.order(1, NEW);
    test_box.start();
    test_box.wait_log("staging, 128 KiB");
    test_box.kill_agent();
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi"]);
    server.change(|state| state.stall_after = None);
    assert_eq!(test_box.start().version, OLD);
    test_box.wait_restart();
    assert!(test_box.holds(Slot::B, &new));
    // What the stalled transfer still had on the way counts as sent: a fifth of the bundle at most.
    let sent = server.state().sent;
    assert!(sent < whole * 16 / 10, "{sent} bytes for a bundle of {whole}");
    assert_eq!(test_box.start().version, NEW);
    server.wait_report("keeping", |step| *step == Step::Kept);
}

#[test]
fn orders_that_are_taken_back_before_the_restart_are_dropped() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    let new = server.publish(&Recipe::of(NEW, BLOCKS));
    server.change(|state| state.truncate_at = Some(new.bundle.len() / 2));
    server.order(1, NEW);
    test_box.start();
    server.wait_report("a failure", |step| matches!(step, Step::Failed { .. }));
    server.change(|state| state.assignment = None);
    server.wait_report("the withdrawal", |step| *step == Step::Withdrawn);
    assert_eq!(test_box.entries(), ["evenkeel_1.0.0.efi"]);
}

#[test]
fn the_agent_ends_cleanly_when_asked_and_its_key_is_its_own() {
    let server = Server::start();
    let mut test_box = TestBox::new(&server);
    test_box.start();
    server.wait("a check-in", |state| !state.check_ins.is_empty());
    assert!(test_box.path("run/agent.sock").exists());
    assert_eq!(test_box.stop_agent(), Some(0));
    assert!(!test_box.path("run/agent.sock").exists());
    let key = fs::metadata(test_box.path("data/device-key")).unwrap();
    assert_eq!((key.permissions().mode() & 0o777, key.len()), (0o600, 32));
}
