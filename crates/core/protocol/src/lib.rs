//! Messages between devices, operators and the update server.
#![no_std]

extern crate alloc;
