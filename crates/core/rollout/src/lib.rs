//! Staged rollouts: fleet, policy and now become a plan, with the reason for every device that waits.
//!
//! Owns: waves, the failure budget, and what a rollout does next. Leaves to others: devices, storage, clocks.
#![no_std]

extern crate alloc;

mod wave;

pub use wave::{Wave, WaveError};
