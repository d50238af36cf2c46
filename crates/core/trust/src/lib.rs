//! TUF metadata, verified and signed.
#![no_std]

extern crate alloc;
