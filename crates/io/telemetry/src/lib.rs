//! What the daemons tell of themselves: logs, metrics and the access log's lines.
//!
//! Owns: the forms, each by its standard. Leaves to others: what is counted, and writing files and sockets.
//! Invariant: nothing that comes from a client can break a line, a label or a terminal.

mod access;
mod exposition;
mod histogram;
mod log;

pub use access::{AccessRecord, Moment};
pub use exposition::{CONTENT_TYPE, Exposition, Family, Form, Samples, Value};
pub use histogram::{BOUNDS, Histogram};
pub use log::{LogError, LogForm, start_log};
