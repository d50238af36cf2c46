//! What a client may send on one connection before it is a flood.
//!
//! Owns: counts of frames that cost us more than they cost the client. Leaves to others: what is malformed or larger
//! than SETTINGS allow (the h2 crate: a connection error), and deadlines. Invariant: every kind of frame is either
//! bounded here, or bounded by flow control (DATA with content), or by SETTINGS_MAX_CONCURRENT_STREAMS (HEADERS).
//!
//! Honest clients earn more: each answer that we gave, and content that we sent, is worth the frames that it takes to
//! receive it. So the bounds can be low without being hit by a busy client, and an attacker has nothing to spend.

use evenkeel_units::Instant;

use crate::{
    Allowance,
    bucket::Bucket,
    frame::{Frame, FrameKind, FrameScanner},
};

/// Streams reset by the client (rapid reset, CVE-2023-44487), or by us for the client's errors (CVE-2025-8671).
///
/// A page that is left cancels everything that is under way, at most 100 streams, and the next page may be left as
/// fast: 200. A client of gRPC whose deadlines pass cancels as many as it has answers, which earn one each, and 20 a
/// second besides.
pub const RESETS: Allowance = Allowance { burst: 200, per_second: 20 };

/// SETTINGS and their acknowledgements: one at the start, one acknowledgement; clients of gRPC that measure the round trip
/// say a new window each time that it has doubled, some 16 times.
pub const SETTINGS: Allowance = Allowance { burst: 50, per_second: 5 };

/// PING: clients ask every 10 s or more whether we are there, and some measure the round trip once for each piece of
/// content, which the content earns. 100 for the start of a fast download.
pub const PINGS: Allowance = Allowance { burst: 100, per_second: 10 };

/// Acknowledgements of PING: we ask once, at the drain.
pub const ANSWERED_PINGS: Allowance = Allowance { burst: 8, per_second: 1 };

/// PRIORITY and PRIORITY_UPDATE: browsers send one for each of up to 100 requests and 5 at the start; requests that
/// were answered earn one each.
pub const PRIORITIES: Allowance = Allowance { burst: 200, per_second: 20 };

/// WINDOW_UPDATE: for the stream and for the connection for each answer and each piece of content, however short, or for
/// each few kilobytes of it. Answers and pieces earn 3, content 2 for each KiB. Who opens the window byte by byte makes
/// us cut the content as small, and such pieces earn nothing: 1,000 bytes and it ends.
pub const WINDOW_UPDATES: Allowance = Allowance { burst: 1000, per_second: 100 };

/// DATA without content that does not end the stream (CVE-2019-9518): no client has a use for it.
pub const EMPTY_DATA: Allowance = Allowance { burst: 16, per_second: 1 };

/// DATA that does not end the stream and may have less than [`SLIVER_BYTES`] of content, the rest being padding: content in
/// the smallest pieces costs a system call towards the server each (CVE-2019-9511), padding alone as much as an empty frame.
pub const SLIVERS: Allowance = Allowance { burst: 1000, per_second: 100 };

/// A message of gRPC has at least 5 bytes, a WebSocket frame of a client 6.
const SLIVER_BYTES: u32 = 5;

/// Frames of extensions: browsers send one to keep us from relying on their absence.
pub const UNKNOWN: Allowance = Allowance { burst: 50, per_second: 5 };

/// CONTINUATION frames of one field block (CVE-2024-27316).
///
/// A client fills a frame before it begins another: the largest head that can be allowed, 64 KiB, takes 4 frames of
/// 16 KiB. Twice as many for clients that cut smaller.
pub const MAX_CONTINUATIONS: u8 = 8;

/// WINDOW_UPDATE frames that a piece of content is worth: one for the stream, one for the connection, one to spare.
const UPDATES_PER_PIECE: u32 = 3;

/// Whether a piece of content is as long as the server made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Yes: the client's window had room for it.
    Ample,
    /// No: it was cut to fit the client's window.
    Narrow,
}

/// Which bound was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flood {
    /// [`RESETS`].
    Resets,
    /// [`SETTINGS`].
    Settings,
    /// [`PINGS`] or [`ANSWERED_PINGS`].
    Pings,
    /// [`PRIORITIES`].
    Priorities,
    /// [`WINDOW_UPDATES`].
    WindowUpdates,
    /// [`EMPTY_DATA`].
    EmptyData,
    /// [`SLIVERS`].
    Slivers,
    /// [`UNKNOWN`].
    Unknown,
    /// [`MAX_CONTINUATIONS`], or a field block of more than four times the bytes that a head may have.
    Continuations,
}

impl Flood {
    /// Every bound.
    pub const ALL: [Self; 9] = [
        Self::Resets,
        Self::Settings,
        Self::Pings,
        Self::Priorities,
        Self::WindowUpdates,
        Self::EmptyData,
        Self::Slivers,
        Self::Unknown,
        Self::Continuations,
    ];

    /// A word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::Settings => "settings",
            Self::Pings => "pings",
            Self::Priorities => "priorities",
            Self::WindowUpdates => "window_updates",
            Self::EmptyData => "empty_data",
            Self::Slivers => "slivers",
            Self::Unknown => "unknown",
            Self::Continuations => "continuations",
        }
    }
}

/// What is to be done with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Pass,
    /// End the connection with GOAWAY and ENHANCE_YOUR_CALM (RFC 9113 §7).
    Calm(Flood),
}

/// Whether a field block is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// No: its end has come, or none was begun.
    Ended,
    /// Yes: other frames may not come before its end.
    Open,
}

/// Counts what one client sends.
#[derive(Debug, Clone)]
pub struct Guard {
    scanner: FrameScanner,
    resets: Bucket,
    settings: Bucket,
    pings: Bucket,
    answered_pings: Bucket,
    priorities: Bucket,
    window_updates: Bucket,
    empty_data: Bucket,
    slivers: Bucket,
    unknown: Bucket,
    /// CONTINUATION frames of the block under way.
    continuations: u8,
    block: Block,
    block_bytes: u32,
    max_block_bytes: u32,
    /// Bytes sent that have not earned anything yet.
    sent: u32,
}

impl Guard {
    /// For a client that has sent nothing yet and whose heads may have `head_bytes`.
    #[must_use]
    pub const fn new(head_bytes: u32, now: Instant) -> Self {
        Self {
            scanner: FrameScanner::new(),
            resets: Bucket::full(RESETS, now),
            settings: Bucket::full(SETTINGS, now),
            pings: Bucket::full(PINGS, now),
            answered_pings: Bucket::full(ANSWERED_PINGS, now),
            priorities: Bucket::full(PRIORITIES, now),
            window_updates: Bucket::full(WINDOW_UPDATES, now),
            empty_data: Bucket::full(EMPTY_DATA, now),
            slivers: Bucket::full(SLIVERS, now),
            unknown: Bucket::full(UNKNOWN, now),
            continuations: 0,
            block: Block::Ended,
            block_bytes: 0,
            // A block up to the limit and somewhat above is answered with 431; this is for who does not stop there.
            max_block_bytes: head_bytes.saturating_mul(4),
            sent: 0,
        }
    }

    /// Takes in what the client sent; the first bound that it passes.
    pub fn scan(&mut self, mut input: &[u8], now: Instant) -> Verdict {
        let mut found = None;
        while let Some(frame) = self.scanner.next(&mut input) {
            found = found.or(self.count(frame, now));
        }
        found.map_or(Verdict::Pass, Verdict::Calm)
    }

    /// Whether something was begun that must soon be whole: the preface, a field block, or the header of a frame.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        self.block == Block::Open || self.scanner.is_within_frame()
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        self.resets.earn(RESETS, 1);
        self.priorities.earn(PRIORITIES, 1);
        self.pings.earn(PINGS, 1);
        self.window_updates.earn(WINDOW_UPDATES, UPDATES_PER_PIECE);
    }

    /// A piece of content of so many bytes was sent to the client.
    pub fn sent(&mut self, bytes: u32, room: Room) {
        if room == Room::Ample {
            self.window_updates.earn(WINDOW_UPDATES, UPDATES_PER_PIECE);
            self.pings.earn(PINGS, 1);
        }
        self.sent = self.sent.saturating_add(bytes);
        let kibibytes = self.sent / 1024;
        if kibibytes > 0 {
            self.sent %= 1024;
            self.window_updates.earn(WINDOW_UPDATES, 2 * kibibytes);
            self.pings.earn(PINGS, kibibytes);
        }
    }

    /// We reset a stream because of what the client did on it.
    pub fn reset_by_us(&mut self, now: Instant) -> Verdict {
        if self.resets.take(RESETS, now) { Verdict::Pass } else { Verdict::Calm(Flood::Resets) }
    }

    fn count(&mut self, frame: Frame, now: Instant) -> Option<Flood> {
        let (bucket, allowance, flood) = match frame.kind {
            FrameKind::Headers | FrameKind::PushPromise => return self.begin_block(frame),
            FrameKind::Continuation => return self.go_on(frame),
            FrameKind::Data if frame.ends_stream() || frame.least_content() >= SLIVER_BYTES => return None,
            FrameKind::Data if frame.length == 0 => (&mut self.empty_data, EMPTY_DATA, Flood::EmptyData),
            FrameKind::Data => (&mut self.slivers, SLIVERS, Flood::Slivers),
            FrameKind::Priority => (&mut self.priorities, PRIORITIES, Flood::Priorities),
            FrameKind::RstStream => (&mut self.resets, RESETS, Flood::Resets),
            FrameKind::Settings => (&mut self.settings, SETTINGS, Flood::Settings),
            FrameKind::Ping if frame.is_ack() => (&mut self.answered_pings, ANSWERED_PINGS, Flood::Pings),
            FrameKind::Ping => (&mut self.pings, PINGS, Flood::Pings),
            FrameKind::WindowUpdate => (&mut self.window_updates, WINDOW_UPDATES, Flood::WindowUpdates),
            FrameKind::GoAway | FrameKind::Unknown => (&mut self.unknown, UNKNOWN, Flood::Unknown),
        };
        if bucket.take(allowance, now) { None } else { Some(flood) }
    }

    fn begin_block(&mut self, frame: Frame) -> Option<Flood> {
        self.continuations = 0;
        self.block_bytes = 0;
        self.add_to_block(frame)
    }

    fn go_on(&mut self, frame: Frame) -> Option<Flood> {
        self.continuations = self.continuations.saturating_add(1);
        if self.continuations > MAX_CONTINUATIONS {
            return Some(Flood::Continuations);
        }
        self.add_to_block(frame)
    }

    fn add_to_block(&mut self, frame: Frame) -> Option<Flood> {
        self.block = if frame.ends_block() { Block::Ended } else { Block::Open };
        self.block_bytes = self.block_bytes.saturating_add(frame.length);
        (self.block_bytes > self.max_block_bytes).then_some(Flood::Continuations)
    }
}
