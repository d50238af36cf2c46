//! The A/B update machine: orders, verified bytes and verdicts in; effects and reports out.
//!
//! Owns: every decision from an assignment to a release that is kept or rolled back, what is remembered
//! across restarts, and the rules of the health gate. Leaves to others: doing (`evenkeel-disk`,
//! `evenkeel-fetch`, the agent), verifying metadata and chunks (`evenkeel-trust`, `evenkeel-release`).
//!
//! Grammar: [`Machine::recover`] is the only start; [`Machine::handle`] takes one [`Input`];
//! [`Machine::poll_output`] gives [`Output`]s until there are none. At most one [`Effect`] is in flight, and
//! each may be repeated, for power may fail between an effect and the memory of it.
//!
//! Invariants: I1 effects name an [`evenkeel_boot::InactiveSlot`]; I2 only a
//! [`evenkeel_release::VerifiedChunk`] is written; I3 the other slot's entry is removed before its first
//! byte is written and comes back only after its last was read back; I4 an entry loses its counter only
//! after the gate passed; I5 a release older than the newest one kept, or not for this box, is refused.
#![no_std]

extern crate alloc;

mod fit;
pub mod gate;
mod io;
mod machine;
mod orders;
mod record;
mod staging;
mod trial;

pub use fit::{Device, Offer, Release};
pub use gate::Baseline;
pub use io::{Effect, Failure, FailureKind, Input, Moment, Output};
pub use machine::{Machine, Standing};
pub use record::{Copies, RECORD_LIMIT, Record, Refusal, decode, encode, newest_of};
