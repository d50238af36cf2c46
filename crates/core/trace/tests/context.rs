//! Contexts as requests carry them, and which traces are recorded.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use evenkeel_trace::{Decision, Flags, Parent, Share, SpanId, TraceId, traceparent};
use evenkeel_units::PerMille;
use proptest::prelude::*;

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_context_is_read_and_written_as_the_standard_shows_it() {
    let parent = Parent::parse(GOOD.as_bytes()).unwrap();
    assert!(parent.flags.is_sampled());
    assert_eq!(parent.span.as_bytes(), &[0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    assert_eq!(traceparent(parent.trace, parent.span, parent.flags), GOOD);
}

#[test]
fn versions_to_come_are_read_as_far_as_they_are_known() {
    for (text, good) in [
        (format!("cc{}", &GOOD[2..]), true),
        (format!("cc{}-what-the-future-brings", &GOOD[2..]), true),
        (format!("cc{}.what", &GOOD[2..]), false),
        (format!("ff{}", &GOOD[2..]), false),
        (format!("{GOOD}-more"), false),
    ] {
        assert_eq!(Parent::parse(text.as_bytes()).is_some(), good, "{text}");
    }
}

#[test]
fn what_another_reader_would_not_take_is_no_context() {
    for text in [
        "",
        "00-",
        &GOOD[..54],
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(Parent::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn flags_without_a_meaning_are_not_passed_on() {
    let parent = Parent::parse(GOOD.replace("-01", "-ff").as_bytes()).unwrap();
    assert_eq!(parent.flags, Flags::SAMPLED.with(Flags::RANDOM));
}

#[test]
fn whoever_sent_the_context_has_decided() {
    for (share, flags, decision) in
        [(0, "-01", Decision::Record), (1000, "-00", Decision::Pass), (1000, "-02", Decision::Pass)]
    {
        let parent = Parent::parse(GOOD.replace("-01", flags).as_bytes()).unwrap();
        assert_eq!(Share::new(PerMille::new(share).unwrap()).continued(&parent), decision);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
        let (Some(trace), Some(span)) = (TraceId::new(trace), SpanId::new(span)) else { return Ok(()) };
        let flags = if sampled { Flags::SAMPLED } else { Flags::default() };
        let text = traceparent(trace, span, flags);
        prop_assert_eq!(Parent::parse(text.as_bytes()), Some(Parent { trace, span, flags }));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Parent::parse(&bytes);
    }

    #[test]
    fn a_larger_share_records_what_a_smaller_one_does(trace: [u8; 16], share in 0_u16..1000) {
        let Some(trace) = TraceId::new(trace) else { return Ok(()) };
        let decide = |share| Share::new(PerMille::new(share).unwrap()).begun(trace);
        prop_assert_eq!(decide(0), Decision::Pass);
        prop_assert_eq!(decide(1000), Decision::Record);
        if decide(share) == Decision::Record {
            prop_assert_eq!(decide(share + 1), Decision::Record);
        }
    }
}

#[test]
fn of_random_traces_the_share_is_recorded() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state ^ state >> 29
    };
    let share = Share::new(PerMille::new(250).unwrap());
    let recorded = (0..40_000)
        .filter_map(|_| {
            TraceId::new([next().to_be_bytes(), next().to_be_bytes()].concat().try_into().unwrap())
        })
        .filter(|&trace| share.begun(trace) == Decision::Record)
        .count();
    // 10,000 ± 5 standard deviations of √(40,000 × ¼ × ¾) = 87.
    assert!((9_565..=10_435).contains(&recorded), "{recorded}");
}
