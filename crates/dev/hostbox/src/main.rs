//! A box as processes on this host.

fn main() {}
