//! The update server: releases, devices, staged rollouts.
//!
//! Owns: what is published and who is told to take it, durably (I7). Leaves to others: the rules of metadata
//! (`core/trust`), messages and their signatures (`core/protocol`), and every choice of a rollout
//! (`core/rollout`). `main` only wires the parts of this library.

pub mod engine;
pub mod http;
pub mod limits;
pub mod nonces;
pub mod page;
pub mod repository;
pub mod secret;
pub mod store;
