//! evenkeel-agent: wires the update agent.

fn main() {}
