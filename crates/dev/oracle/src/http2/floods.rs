//! The guard against floods, held against a count that is made for being read.
//!
//! Invariants: no client is ended below a bound; none goes on above it, whatever it earned; pieces make no difference.

use std::time::Duration;

use evenkeel_http2::{
    ANSWERED_PINGS, Allowance, EMPTY_DATA, Flood, Guard, MAX_CONTINUATIONS, PINGS, PREFACE, PRIORITIES,
    RESETS, Room, SETTINGS, SLIVERS, UNKNOWN, Verdict, WINDOW_UPDATES,
};
use evenkeel_units::Instant;

use crate::Seen;

/// Bytes that a head may have.
const HEAD_BYTES: u32 = 1000;

/// One thing that happens on a connection.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A client sends a frame, so many times in a row.
    Frames { kind: u8, flags: u8, length: u8, times: u8 },
    /// Time passes.
    Time(Duration),
    /// Requests were answered.
    Answered(u8),
    /// Pieces of content were sent.
    Sent { bytes: u32, room: Room, times: u8 },
    /// A stream was reset for what the client did.
    ResetByUs,
}

impl Event {
    fn of(bytes: [u8; 4]) -> Self {
        let [what, a, b, c] = bytes;
        match what {
            0x20..0x30 => Self::Time(Duration::from_millis(u64::from(a) << 8 | u64::from(b))),
            0x30..0x40 => Self::Answered(a),
            0x40..0x50 => {
                let room = if what & 1 == 0 { Room::Ample } else { Room::Narrow };
                Self::Sent { bytes: u32::from(a) << 8 | u32::from(b), room, times: c }
            }
            0x50..0x60 => Self::ResetByUs,
            _ => Self::Frames { kind: what, flags: a, length: b, times: c },
        }
    }
}

/// What one kind of frame did, and what it might.
#[derive(Debug, Clone, Copy)]
struct Tally {
    allowance: Allowance,
    done: u64,
    earned: u64,
}

impl Tally {
    const fn of(allowance: Allowance) -> Self {
        Self { allowance, done: 0, earned: 0 }
    }

    /// The least that must be let through: the burst.
    fn is_surely_within(&self) -> bool {
        self.done <= u64::from(self.allowance.burst)
    }

    /// The most that may be let through in all of `passed`.
    fn is_surely_above(&self, passed: Duration) -> bool {
        let refilled = passed.as_millis() as u64 * u64::from(self.allowance.per_second) / 1000;
        self.done > u64::from(self.allowance.burst) + refilled + self.earned + 1
    }
}

/// The tallies of all kinds, in the order of what they are a flood of.
struct Tallies([(Flood, Tally); 9]);

impl Tallies {
    fn new() -> Self {
        Self([
            (Flood::Resets, Tally::of(RESETS)),
            (Flood::Settings, Tally::of(SETTINGS)),
            (Flood::Pings, Tally::of(PINGS)),
            (Flood::Pings, Tally::of(ANSWERED_PINGS)),
            (Flood::Priorities, Tally::of(PRIORITIES)),
            (Flood::WindowUpdates, Tally::of(WINDOW_UPDATES)),
            (Flood::EmptyData, Tally::of(EMPTY_DATA)),
            (Flood::Slivers, Tally::of(SLIVERS)),
            (Flood::Unknown, Tally::of(UNKNOWN)),
        ])
    }

    /// The place of a kind of frame (RFC 9113 §6); `None` for what is bounded elsewhere.
    fn place(kind: u8, flags: u8, length: u8) -> Option<usize> {
        let (ends, is_ack, is_padded) = (flags & 1 != 0, flags & 1 != 0, flags & 8 != 0);
        Some(match kind {
            0x0 if ends => return None,
            0x0 if length == 0 => 6,
            // All of a frame of this length may be padding.
            0x0 if length < 5 || is_padded => 7,
            0x0 | 0x1 | 0x5 | 0x9 => return None,
            0x2 | 0x10 => 4,
            0x3 => 0,
            0x4 => 1,
            0x6 if is_ack => 3,
            0x6 => 2,
            0x8 => 5,
            _ => 8,
        })
    }

    fn earn(&mut self, place: usize, times: u64) {
        self.0[place].1.earned += times;
    }
}

/// Judges what happens on a connection of HTTP/2: four bytes for each event.
///
/// # Panics
/// When the guard ends a client that is within every bound, or lets one go on that is above one.
pub fn http2_floods(input: &[u8]) -> Seen {
    let start = Instant::from_nanos(1_000_000_000);
    let mut now = start;
    let (mut guard, mut tallies) = (Guard::new(HEAD_BYTES, now), Tallies::new());
    let mut blocks = Blocks::default();
    assert_eq!(guard.scan(PREFACE, now), Verdict::Pass);
    for event in input.chunks_exact(4).map(|four| Event::of([four[0], four[1], four[2], four[3]])) {
        let verdict = match event {
            Event::Frames { kind, flags, length, times } => {
                frames(&mut guard, (kind, flags, length, times), now, &mut tallies, &mut blocks)
            }
            Event::Time(time) => {
                now = now + time;
                Verdict::Pass
            }
            Event::Answered(times) => {
                (0..times).for_each(|_| guard.answered());
                for (place, worth) in [(0, 1), (4, 1), (2, 1), (5, 3)] {
                    tallies.earn(place, worth * u64::from(times));
                }
                Verdict::Pass
            }
            Event::Sent { bytes, room, times } => {
                (0..times).for_each(|_| guard.sent(bytes, room));
                let (pieces, kibibytes) =
                    (u64::from(times), u64::from(times) * (u64::from(bytes) / 1024 + 1));
                let pieces = if room == Room::Ample { pieces } else { 0 };
                tallies.earn(5, 3 * pieces + 2 * kibibytes);
                tallies.earn(2, pieces + kibibytes);
                Verdict::Pass
            }
            Event::ResetByUs => {
                tallies.0[0].1.done += 1;
                guard.reset_by_us(now)
            }
        };
        if is_judged_and_ended(verdict, &tallies, &blocks, now.since(start)) {
            return Seen::Taken;
        }
    }
    Seen::Refused
}

/// Whether the connection ends here; that it does so rightly, or goes on rightly, is judged.
fn is_judged_and_ended(verdict: Verdict, tallies: &Tallies, blocks: &Blocks, passed: Duration) -> bool {
    match verdict {
        Verdict::Calm(Flood::Continuations) => assert!(blocks.are_above, "no block was too long"),
        Verdict::Calm(flood) => {
            let mut of_it = tallies.0.iter().filter(|(known, _)| *known == flood);
            assert!(of_it.any(|(_, tally)| !tally.is_surely_within()), "{flood:?} within its burst");
        }
        Verdict::Pass => {
            assert!(!blocks.are_above, "a block is too long and passes");
            for (flood, tally) in &tallies.0 {
                assert!(!tally.is_surely_above(passed), "{flood:?} passes: {tally:?} in {passed:?}");
            }
        }
    }
    verdict != Verdict::Pass
}

/// The field block under way.
#[derive(Debug, Default)]
struct Blocks {
    continuations: u32,
    bytes: u32,
    is_open: bool,
    are_above: bool,
}

impl Blocks {
    fn frame(&mut self, kind: u8, flags: u8, length: u8) {
        match kind {
            0x1 | 0x5 => (self.continuations, self.bytes) = (0, 0),
            0x9 => self.continuations += 1,
            _ => return,
        }
        self.bytes += u32::from(length);
        self.are_above |= self.bytes > 4 * HEAD_BYTES || self.continuations > u32::from(MAX_CONTINUATIONS);
        self.is_open = flags & 4 == 0;
    }
}

/// Sends frames to the guard, whole and in pieces; the verdict is that of either, up to the first that ends it.
fn frames(
    guard: &mut Guard,
    (kind, flags, length, times): (u8, u8, u8, u8),
    now: Instant,
    tallies: &mut Tallies,
    blocks: &mut Blocks,
) -> Verdict {
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
    frame.resize(9 + usize::from(length), 0);
    for at in 0..times {
        if let Some(place) = Tallies::place(kind, flags, length) {
            tallies.0[place].1.done += 1;
        }
        blocks.frame(kind, flags, length);
        // The first of a row in pieces too: the others are like it, and copies take their time.
        let in_pieces = (at == 0).then(|| scan_pieces(guard.clone(), &frame, now));
        let verdict = guard.scan(&frame, now);
        assert!(in_pieces.is_none_or(|other| other == verdict), "a frame of kind {kind} in pieces");
        if verdict != Verdict::Pass {
            return verdict;
        }
        assert_eq!(guard.is_within_head(), blocks.is_open, "behind a frame of kind {kind}");
    }
    Verdict::Pass
}

/// The first verdict on a frame that comes in pieces.
fn scan_pieces(mut guard: Guard, frame: &[u8], now: Instant) -> Verdict {
    let pieces = crate::pieces::of(frame);
    let verdicts = pieces.into_iter().map(|piece| guard.scan(piece, now));
    verdicts.fold(Verdict::Pass, |first, next| if first == Verdict::Pass { next } else { first })
}
