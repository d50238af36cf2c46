//! evenkeel: the operator's command.

fn main() {}
