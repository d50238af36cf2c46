//! Slots and boot entries: what the loader will do, as a function.
//!
//! Owns: the names of boot entries with their counters, the set of them on the EFI system partition as a
//! value, the loader's choice among them, and every edit that the update machine may ask for. Leaves to
//! others: reading and renaming files (`evenkeel-disk`), deciding when (`evenkeel-update`).
//!
//! Invariant I1: no edit names an entry of the running release, and [`InactiveSlot`] cannot be the running one.
#![no_std]

extern crate alloc;

mod entries;
mod name;
mod running;

pub use entries::{Change, Entries, Selection};
pub use name::{EntryName, NameError, STAGED_NAME, Tries};
pub use running::{InactiveSlot, Running};
