//! Metrics and structured logs.
