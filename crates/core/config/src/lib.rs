//! Configuration files, parsed into values that cannot be wrong.
#![no_std]

extern crate alloc;
