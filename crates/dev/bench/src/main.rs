//! Load and CPU per request, beside the peers.

fn main() {}
