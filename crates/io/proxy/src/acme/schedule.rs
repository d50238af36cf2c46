//! When a certificate is renewed, and how long to wait after a failure.
//!
//! Invariants: a certificate is due when a third of its life is left, so that two thirds of it pass without a word to
//! the authority; an authority that fails is asked less and less often, never at the same moment by all boxes.

use std::time::Duration;

use evenkeel_config::HostName;

use crate::tls::files::Certificate;

/// First wait after a failure. Let's Encrypt allows five failures per name and hour; 5, 10, 20 and 40 minutes stay
/// below that.
const FIRST_WAIT: Duration = Duration::from_secs(300);

/// Longest wait: an authority that is down for days is asked twice a day.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3600);

/// Whether it is time to get a new certificate in the place of this one.
pub(super) fn is_due(certificate: &Certificate, domains: &[HostName], now: i64) -> bool {
    let life = certificate.expires - certificate.begins;
    let third = certificate.expires - life / 3;
    let covered = domains.iter().all(|domain| certificate.names.iter().any(|name| name == domain.as_str()));
    certificate.is_self_made || !covered || now >= third
}

/// How long to wait after each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after another failure, 75 % to 125 % of twice the one before; `chance` is any number.
    pub(super) fn next(&mut self, chance: u64) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let per_mille = 750 + u32::try_from(chance % 501).unwrap_or_default();
        doubled.saturating_mul(per_mille) / 1000
    }
}

/// A number that differs from box to box and from time to time; as good as chance for spreading retries.
pub(super) fn chance() -> u64 {
    let mut bytes = [0; 8];
    // Without random bytes every box waits equally long, which is no fault of this one.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_day_and_are_spread() {
        let waits = |chance: u64| {
            let mut backoff = Backoff::default();
            (0..12).map(|_| backoff.next(chance).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(waits(250)[..5], [300, 600, 1200, 2400, 4800]);
        assert_eq!(waits(250)[11], 43_200);
        assert_eq!((waits(0)[0], waits(500)[0], waits(501)[0]), (225, 375, 225));
    }
}
