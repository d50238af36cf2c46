//! What RFC 9112 and RFC 9110 ask of a gateway, shown on the wire: raw bytes in, raw bytes out, on both sides.
//!
//! `docs/conformance-http1.md` lists the rules and names these tests. Each topic has one checker, and its cases are data:
//! the section that asks for it, what is sent, and what must be seen.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod connections;
mod content;
mod forwarding;
mod raw;
mod requests;
