//! Slots, boot entries and state files on real storage: every system call of the update machine's effects.
//!
//! Owns: opening, writing, flushing and reading back partitions and files, in the order that survives a
//! loss of power. Leaves to others: deciding what is written (`evenkeel-update`), verifying chunks
//! (`evenkeel-release`).
//!
//! Invariants: I1 slots are opened to write by way of [`evenkeel_boot::InactiveSlot`] only; I2 only a
//! [`evenkeel_release::VerifiedChunk`] is written to one.

mod error;
mod esp;
mod metadata;
mod slots;
mod start;
mod state;
mod storage;

pub use error::Error;
pub use esp::Esp;
pub use metadata::MetadataFiles;
pub use slots::{Places, SlotPaths, SlotReader, SlotWriter};
pub use start::{RESTART_STATUS, read_boot_record, restart_by_systemd, restart_code};
pub use state::StateFiles;
pub use storage::Storage;
