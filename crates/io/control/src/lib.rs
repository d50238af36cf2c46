//! The local socket between the command and the daemons (docs/protocol.md, "Box: files and sockets").
//!
//! Owns: one JSON object a line each way over a Unix socket that only its owner may use; both halves, their
//! limits and deadlines. Leaves to others: what the requests mean. Invariant: a peer that sends too much,
//! too slowly or nonsense costs its own connection and nothing else.

mod client;
mod error;
mod line;
mod message;
mod server;

pub use client::call;
pub use error::Error;
pub use line::MAX_LINE_BYTES;
pub use message::{AgentRequest, Answer, ProxyRequest};
pub use server::{Connection, Server};
