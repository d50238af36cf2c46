//! Sockets, buffers and deadlines of a worker thread.
//!
//! Owns: every system call on a connection, with as few of them as it can be used with. Leaves to others: what the
//! bytes mean. Invariant: a connection at rest holds no buffer.

pub(crate) mod reactor;
pub(crate) mod scratch;
pub(crate) mod socket;
pub(crate) mod splice;
pub(crate) mod sweep;
pub(crate) mod tunnel;
pub(crate) mod turn;
pub(crate) mod wire;
