//! What devices, update servers and disks hold: messages, signatures, releases, metadata and boot entries.

mod device;
mod releases;

pub use device::device_messages;
pub use releases::{boot_entries, releases, trust_metadata};
