//! Configuration files, parsed into values that cannot be wrong.
//!
//! Owns: the keys of `balancer.toml` and `agent.toml`, their ranges and defaults, and the sentences that
//! tell an operator what to mend. Leaves to others: reading files, and deciding what a setting does.
//! Invariant: a `Config` exists only when every key of the text was known and every value allowed; else
//! there are all errors at once, each with its line, value and remedy.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod agent;
pub mod balancer;
mod document;
mod error;
mod kind;
mod network;
mod range;
mod scalar;

pub use document::NamedFile;
pub use error::{Error, Errors, MAX_ERRORS, Problem};
pub use kind::Kind;
pub use network::Network;
pub use scalar::{AbsolutePath, FilePath, HostName, HttpUrl, Name, Weight};

/// Longest configuration text, in bytes.
///
/// 64 pools of 1,024 servers at about 100 bytes each are 6.5 MB; a real one has a few kilobytes. 8 MiB refuses
/// what can only be a mistake.
pub const MAX_FILE_BYTES: usize = 8 << 20;
