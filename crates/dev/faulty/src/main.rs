//! A data plane that is up and answers 500.

fn main() {}
