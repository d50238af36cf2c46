//! What HTTP/2 means to a proxy: which frames are a flood, and messages in the form of HTTP/1.1.
//!
//! Owns: a guard that reads the frame headers of what a client sends (RFC 9113 §4.1) and bounds what costs more to
//! take than to send; and the way between the messages of HTTP/2 (RFC 9113 §8) and the text of HTTP/1.1. Leaves to
//! others: frames, HPACK, streams and flow control (the h2 crate), and the rules for a message in text form
//! (`core/http1`). Invariant I9: a message that came in HTTP/2 is judged as the text that it becomes, by the same
//! rules as one that came in HTTP/1.1, and no byte of it can end a line of that text early.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
mod bucket;
mod error;
mod field;
mod frame;
mod guard;
mod request;
mod text;

pub use answer::{Content, write_answer};
pub use bucket::Allowance;
pub use error::MessageError;
pub use frame::{FRAME_HEADER_BYTES, Frame, FrameKind, FrameScanner, PREFACE};
pub use guard::{
    ANSWERED_PINGS, Block, EMPTY_DATA, Flood, Guard, MAX_CONTINUATIONS, PINGS, PRIORITIES, RESETS, Room,
    SETTINGS, SLIVERS, UNKNOWN, Verdict, WINDOW_UPDATES,
};
pub use request::{Asked, Body, Pseudo, write_request};
pub use text::{Line, Lines, StartLine, Trailing, is_for_one_hop, judge_trailer, write_trailers};
