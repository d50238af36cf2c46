//! Bounded, resumable, verified transfers.
