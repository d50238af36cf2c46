//! HTTP/1.1 message framing for a proxy.
#![no_std]

extern crate alloc;
