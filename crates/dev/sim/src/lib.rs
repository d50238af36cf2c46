//! Releases, repositories, disks, power and loader as values, for tests of everything that updates a box.
//!
//! Owns: what a test needs to try millions of updates in memory. Never shipped; has no clock and no entropy:
//! everything follows from a seed.

pub mod disk;
pub mod random;
pub mod release;
pub mod repository;
pub mod world;
