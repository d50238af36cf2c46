//! TLS, towards clients and towards servers.
//!
//! Owns: sessions, certificates, tickets, and the reasons why a handshake fails. Leaves to others: cryptography and the
//! protocol (rustls with aws-lc-rs), and everything that is spoken inside. Invariant: a connection that is configured
//! to be encrypted carries no byte of a request or an answer in the clear.

pub(crate) mod accept;
pub(crate) mod back;
pub(crate) mod files;
pub(crate) mod front;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod passing;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod tickets;
pub(crate) mod turnstile;
pub(crate) mod watch;
