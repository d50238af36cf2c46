//! The rollout planner.
#![no_std]

extern crate alloc;
