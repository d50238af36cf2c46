//! The story of a box, told and observed.

fn main() {}
