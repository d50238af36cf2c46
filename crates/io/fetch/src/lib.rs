//! Transfers over HTTP: bounded, resumable, and verified before anything uses a byte.
//!
//! Owns: requests, deadlines, limits, ranges and decompression. Leaves to others: trust in metadata
//! (`evenkeel-trust`), in chunks (`evenkeel-release`), and when to try again (`evenkeel-update`).

mod bundle;
mod client;
mod device;
mod error;
mod metadata;

pub use bundle::{Bundle, BundleFile};
pub use client::{Body, Client, Found};
pub use device::{DeviceClient, Occasion};
pub use error::{Error, chain};
pub use metadata::{Refreshed, refresh};
