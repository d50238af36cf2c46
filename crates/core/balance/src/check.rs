//! Active checks: how many in a row make a server up or down, and when the next one is due.
//!
//! Owns: the count. Leaves to others: asking. Invariant: a check that failed on our own side counts for
//! nothing, so that a box without source ports does not declare healthy servers dead.

use core::{num::NonZeroU32, time::Duration};

use evenkeel_config::balancer::HealthCheck;
use evenkeel_units::Instant;

use crate::LocalCause;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probed {
    /// The server did what the check asked.
    Passed,
    /// The server did not.
    Failed,
    /// We could not ask.
    Local(LocalCause),
}

/// What the checks say of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It works, or nothing else is known yet.
    Up,
    /// It does not.
    Down,
}

/// Counts the checks of one server.
#[derive(Debug, Clone)]
pub struct Checker {
    rise: NonZeroU32,
    fall: NonZeroU32,
    verdict: Verdict,
    /// Checks in a row that contradict the verdict.
    against: u32,
}

impl Checker {
    /// A server that is up until checks say otherwise, so that a box serves from its first moment.
    #[must_use]
    pub const fn new(settings: &HealthCheck) -> Self {
        Self { rise: settings.rise, fall: settings.fall, verdict: Verdict::Up, against: 0 }
    }

    /// The same checks after a reload: verdict and count stay, the thresholds are the new ones.
    pub const fn set(&mut self, settings: &HealthCheck) {
        self.rise = settings.rise;
        self.fall = settings.fall;
    }

    /// Takes in one check; the new verdict when it changed.
    pub fn record(&mut self, probed: Probed) -> Option<Verdict> {
        let (opinion, needed) = match probed {
            Probed::Passed => (Verdict::Up, self.rise),
            Probed::Failed => (Verdict::Down, self.fall),
            Probed::Local(_) => return None,
        };
        if opinion == self.verdict {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed.get() {
            return None;
        }
        self.verdict = opinion;
        self.against = 0;
        Some(opinion)
    }

    /// What the checks say.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

/// When the check after the one at `now` is due: after 90 % to 110 % of `interval`, by `random`.
///
/// Without the spread all boxes and all servers would come to be checked at the same moments.
#[must_use]
pub fn next_check(now: Instant, interval: Duration, random: u64) -> Instant {
    let per_mille = (900 + random % 201) as u32;
    now + interval / 1000 * per_mille
}

#[cfg(test)]
mod tests {
    use evenkeel_config::balancer::Config;

    use super::*;

    fn checker() -> Checker {
        let text = "[[listener]]\nname=\"l\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"p\"\n[[pool]]\nname=\"p\"\n\
                    [[pool.server]]\nname=\"s\"\naddress=\"127.0.0.1:1\"\n[pool.health_check]\nrise=2\nfall=3\n";
        Checker::new(&Config::parse("t", text).unwrap().pools()[0].health_check)
    }

    /// Runs the checks, written `+`, `-` and `l` (local), and writes what changed after each.
    fn run(checks: &str) -> std::string::String {
        let mut checker = checker();
        let probed = |mark| match mark {
            '+' => Probed::Passed,
            '-' => Probed::Failed,
            _ => Probed::Local(LocalCause::SourcePorts),
        };
        let change = |verdict| match verdict {
            None => '.',
            Some(Verdict::Up) => 'U',
            Some(Verdict::Down) => 'D',
        };
        checks.chars().map(|mark| change(checker.record(probed(mark)))).collect()
    }

    #[test]
    fn only_checks_in_a_row_change_the_verdict_and_local_failures_count_for_nothing() {
        for (checks, changes) in [
            ("---", "..D"),
            ("--+--+---", "........D"),
            ("---+-++", "..D...U"),
            ("llllllll", "........"),
            ("-l-l-", "....D"),
            ("---l+l+", "..D...U"),
            ("+++", "..."),
        ] {
            assert_eq!(run(checks), changes, "{checks}");
        }
    }

    #[test]
    fn checks_are_spread_by_a_tenth_around_the_interval() {
        let due = |random| next_check(Instant::START, Duration::from_secs(2), random).since(Instant::START);
        assert_eq!(due(0), Duration::from_millis(1800));
        assert_eq!(due(200), Duration::from_millis(2200));
        assert_eq!(due(201), Duration::from_millis(1800));
    }
}
