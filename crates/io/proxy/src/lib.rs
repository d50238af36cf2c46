//! The data plane: sockets, buffers and splice, driving `core/balance` and `core/http1`.
//!
//! Owns: every system call between clients and servers, and the threads that make them. Leaves to others: which
//! server is next, how messages are framed, what a configuration may say. Invariants: workers share nothing
//! that is written while a request is served; I8, a bad configuration is refused whole; I9, what is ambiguous in
//! framing is refused.

mod accept;
mod access_log;
mod acme;
mod admin;
mod check;
mod client;
mod clock;
mod date;
mod forward;
mod http1;
mod http2;
mod latency;
mod listening;
mod lot;
mod net;
mod plan;
mod pool;
mod proxied;
mod proxy;
mod reading;
mod route;
mod shared;
mod sources;
mod tcp;
mod tls;
mod trace;
mod udp;
mod worker;

pub use check::{FileProblem, check_files};
pub use plan::PlanError;
pub use pool::sticky::StickyError;
pub use proxy::{Options, Proxy, StartError};
pub use route::plan::RouteError;
