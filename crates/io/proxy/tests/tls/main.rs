//! TLS with clients and with servers: who is shown what, who is let in, and what is told when it fails.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod certificates;
mod peers;
#[path = "../support/mod.rs"]
mod support;

mod acme;
mod clients;
mod fragments;
mod http2;
mod openssl;
mod passing;
mod proxied;
mod servers;
