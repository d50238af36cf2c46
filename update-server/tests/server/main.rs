//! The real server as a child process, spoken to over HTTP as devices and operators do.
#![allow(clippy::unwrap_used)]

mod connections;
mod crash;
mod devices;
mod publishing;
mod rollouts;
mod support;
