//! The update server.

pub mod store;
