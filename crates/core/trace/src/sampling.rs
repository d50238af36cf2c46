//! Which traces are recorded.
//!
//! Invariant: who sent a request with a context has decided already (`parentbased` in the words of OpenTelemetry), so a
//! trace is recorded on its whole way or not at all.

use evenkeel_units::PerMille;

use crate::{Parent, TraceId};

/// How many of the traces that begin here are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(PerMille);

/// Whether a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Record,
    /// No; whoever comes next is told so.
    Pass,
}

/// Values of the randomness of a trace's identity: 2^56.
const VALUES: u64 = 1 << 56;

impl Share {
    /// So many of a thousand.
    #[must_use]
    pub const fn new(share: PerMille) -> Self {
        Self(share)
    }

    /// What becomes of a request that came with a context.
    #[must_use]
    pub const fn continued(self, parent: &Parent) -> Decision {
        if parent.flags.is_sampled() { Decision::Record } else { Decision::Pass }
    }

    /// What becomes of a request whose trace begins here: by its identity, so that another one who begins by the same
    /// rule records the same traces (OpenTelemetry, Trace SDK, TraceIdRatioBased).
    #[must_use]
    pub fn begun(self, trace: TraceId) -> Decision {
        let share = u64::from(u16::from(self.0));
        // The largest product, 1000 × 2^56, is below 2^66; so the range is divided first.
        if trace.randomness() < VALUES / 1000 * share || share == 1000 {
            Decision::Record
        } else {
            Decision::Pass
        }
    }
}
