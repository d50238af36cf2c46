//! The A/B update machine.
#![no_std]

extern crate alloc;
