//! Slots and boot entries.
#![no_std]

extern crate alloc;
