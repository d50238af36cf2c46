//! What a client may send before it is a flood, however its bytes arrive.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::time::Duration;

use evenkeel_http2::{
    ANSWERED_PINGS, Allowance, EMPTY_DATA, Flood, Guard, MAX_CONTINUATIONS, PINGS, PREFACE, PRIORITIES,
    RESETS, Room, SETTINGS, SLIVERS, UNKNOWN, Verdict, WINDOW_UPDATES,
};
use evenkeel_units::Instant;
use proptest::prelude::*;

const HEAD_BYTES: u32 = 16 * 1024;

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut out = (length as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags, 0, 0, 0, 1]);
    out.resize(9 + length, 0);
    out
}

fn guard() -> Guard {
    let mut guard = Guard::new(HEAD_BYTES, Instant::START);
    assert_eq!(guard.scan(PREFACE, Instant::START), Verdict::Pass);
    guard
}

fn after(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// How many frames pass at once, and which bound the next one passes.
fn pass_at_once(guard: &mut Guard, frame: &[u8], now: Instant) -> (u32, Flood) {
    for passed in 0..1_000_000 {
        if let Verdict::Calm(flood) = guard.scan(frame, now) {
            return (passed, flood);
        }
    }
    panic!("a million frames pass");
}

/// Each kind of frame that is bounded by its count.
fn floods() -> Vec<(Vec<u8>, Allowance, Flood)> {
    vec![
        (frame(3, 0, 4), RESETS, Flood::Resets),
        (frame(4, 0, 6), SETTINGS, Flood::Settings),
        (frame(4, 1, 0), SETTINGS, Flood::Settings),
        (frame(6, 0, 8), PINGS, Flood::Pings),
        (frame(6, 1, 8), ANSWERED_PINGS, Flood::Pings),
        (frame(2, 0, 5), PRIORITIES, Flood::Priorities),
        (frame(16, 0, 5), PRIORITIES, Flood::Priorities),
        (frame(8, 0, 4), WINDOW_UPDATES, Flood::WindowUpdates),
        (frame(0, 0, 0), EMPTY_DATA, Flood::EmptyData),
        (frame(0, 0, 1), SLIVERS, Flood::Slivers),
        // Nothing but padding, maybe.
        (frame(0, 8, 5), SLIVERS, Flood::Slivers),
        (frame(0, 8, 256), SLIVERS, Flood::Slivers),
        (frame(7, 0, 8), UNKNOWN, Flood::Unknown),
        (frame(99, 0, 3), UNKNOWN, Flood::Unknown),
    ]
}

#[test]
fn each_kind_of_frame_has_its_burst_and_then_its_rate() {
    for (bytes, allowance, flood) in floods() {
        let mut guard = guard();
        assert_eq!(pass_at_once(&mut guard, &bytes, Instant::START), (allowance.burst, flood));
        let (passed, _) = pass_at_once(&mut guard, &bytes, after(1));
        assert!(passed.abs_diff(allowance.per_second) <= 1, "{flood:?}: {passed} after a second");
    }
}

#[test]
fn a_client_that_keeps_below_the_rate_is_never_a_flood() {
    for (bytes, allowance, flood) in floods() {
        let mut guard = guard();
        for second in 1..600 {
            for _ in 0..allowance.per_second {
                assert_eq!(guard.scan(&bytes, after(second)), Verdict::Pass, "{flood:?} in second {second}");
            }
        }
    }
}

#[test]
fn what_ends_a_stream_or_has_content_is_no_flood() {
    let mut guard = guard();
    for _ in 0..100_000 {
        for bytes in [frame(1, 5, 20), frame(0, 1, 0), frame(0, 0, 5), frame(0, 8, 300), frame(0, 1, 1)] {
            assert_eq!(guard.scan(&bytes, Instant::START), Verdict::Pass);
        }
    }
}

#[test]
fn answers_and_content_earn_the_frames_that_it_takes_to_receive_them() {
    let mut guard = guard();
    for _ in 0..100_000 {
        guard.answered();
        guard.sent(16 * 1024, Room::Narrow);
        for bytes in [frame(3, 0, 4), frame(2, 0, 5), frame(6, 0, 8), frame(8, 0, 4), frame(8, 0, 4)] {
            assert_eq!(guard.scan(&bytes, Instant::START), Verdict::Pass);
        }
    }
}

#[test]
fn short_messages_earn_the_window_updates_that_clients_of_grpc_send_for_each() {
    let mut guard = guard();
    for _ in 0..100_000 {
        guard.sent(7, Room::Ample);
        for bytes in [frame(8, 0, 4), frame(8, 0, 4), frame(6, 0, 8)] {
            assert_eq!(guard.scan(&bytes, Instant::START), Verdict::Pass);
        }
    }
}

#[test]
fn a_window_that_opens_byte_by_byte_is_a_flood() {
    let mut guard = guard();
    for opened in 0..2 * WINDOW_UPDATES.burst {
        if let Verdict::Calm(flood) = guard.scan(&frame(8, 0, 4), Instant::START) {
            assert_eq!((flood, opened), (Flood::WindowUpdates, WINDOW_UPDATES.burst));
            return;
        }
        guard.sent(1, Room::Narrow);
        assert!(opened <= WINDOW_UPDATES.burst);
    }
    panic!("the window opens for ever");
}

#[test]
fn a_field_block_ends_after_few_frames_and_few_bytes() {
    let mut many = guard();
    assert_eq!(many.scan(&frame(1, 0, 1), Instant::START), Verdict::Pass);
    assert!(many.is_within_head());
    let (passed, flood) = pass_at_once(&mut many, &frame(9, 0, 0), Instant::START);
    assert_eq!((passed, flood), (u32::from(MAX_CONTINUATIONS), Flood::Continuations));
    let mut long = guard();
    assert_eq!(long.scan(&frame(1, 4, 1), Instant::START), Verdict::Pass);
    assert!(!long.is_within_head());
    assert_eq!(long.scan(&frame(1, 0, 4 * 16 * 1024), Instant::START), Verdict::Pass);
    assert_eq!(long.scan(&frame(9, 4, 1), Instant::START), Verdict::Calm(Flood::Continuations));
}

#[test]
fn streams_that_we_reset_count_like_those_that_the_client_resets() {
    let mut guard = guard();
    for _ in 0..RESETS.burst {
        assert_eq!(guard.reset_by_us(Instant::START), Verdict::Pass);
    }
    assert_eq!(guard.reset_by_us(Instant::START), Verdict::Calm(Flood::Resets));
}

proptest! {
    #[test]
    fn the_verdict_is_the_same_however_the_bytes_arrive(
        kinds in proptest::collection::vec((0u8..18, 0u8..8, 0usize..40), 0..400),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        junk in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes: Vec<u8> = kinds.iter().flat_map(|&(kind, flags, length)| frame(kind, flags, length)).collect();
        bytes.extend(junk);
        let whole = guard().scan(&bytes, Instant::START);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut guard, mut from, mut found) = (guard(), 0, Verdict::Pass);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            found = guard.scan(&bytes[from..cut], Instant::START);
            from = cut;
            if found != Verdict::Pass {
                break;
            }
        }
        prop_assert_eq!(found, whole);
    }
}
