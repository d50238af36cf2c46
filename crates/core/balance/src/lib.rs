//! Which server answers next.
#![no_std]

extern crate alloc;
