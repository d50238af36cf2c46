//! Distributed traces: which one a request belongs to, what is told of it, and in which form a collector takes it.
//!
//! Owns: the context that requests carry (W3C Trace Context), the decision which traces are recorded, the attributes of
//! spans by the semantic conventions of OpenTelemetry, and the messages of OTLP. Leaves to others: identities (their
//! randomness is an argument), clocks, and sending. Invariants: what a client sends cannot make a context that another
//! reader would take for none; no attribute of a span has more bytes than [`MAX_TEXT`].
#![no_std]

extern crate alloc;

mod attributes;
mod context;
mod message;
mod sampling;
mod span;
mod verdict;

pub use attributes::{Attempted, Given, Peer, Received, attempt, request};
pub use context::{Flags, Parent, SpanId, TRACEPARENT_BYTES, TraceId, traceparent};
pub use message::{Resource, encode, rejected};
pub use sampling::{Decision, Share};
pub use span::{Attribute, Kind, MAX_TEXT, Moment, Outcome, Remote, Span, Value};
pub use verdict::{Backoff, Verdict};
