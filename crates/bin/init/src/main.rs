//! init of the initrd.

fn main() {}
