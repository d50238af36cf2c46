//! Down to which rank servers are taken.
//!
//! Owns: when servers of the next rank join those before them, and when they leave. Invariant: between joining and
//! leaving the usable part of the better ranks must rise from below one bound to the other, so that a server that
//! comes and goes does not move the traffic to and fro.

use evenkeel_config::balancer::Failover;

/// The weight of the servers of one rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Supply {
    /// Of those that can be used, as far as they have come back.
    pub(crate) usable: u64,
    /// Of all, at their full weight.
    pub(crate) whole: u64,
}

/// The last rank that is taken, after it was `before`; `of` gives the supply of a rank.
///
/// Each rank is meant to carry the site alone, so what counts is the sum of the usable part of each.
pub(crate) fn last_taken(settings: &Failover, before: u8, last: u8, of: impl Fn(u8) -> Supply) -> u8 {
    let (mut taken, mut thousandths) = (0, 0);
    loop {
        let supply = of(taken);
        thousandths += supply.usable * 1000 / supply.whole.max(1);
        let bound = if before > taken { settings.leave_at } else { settings.enter_below };
        if taken >= last || thousandths >= u64::from(u16::from(bound)) {
            return taken;
        }
        taken += 1;
    }
}
