//! What a release is made of.
#![no_std]

extern crate alloc;
