//! The update server.

fn main() {}
