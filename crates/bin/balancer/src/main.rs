//! evenkeel-proxy: wires the data plane.

fn main() {}
