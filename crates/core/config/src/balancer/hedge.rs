//! `[pool.hedge]`: whether a request that takes long is sent to a second server.

use core::time::Duration;

use evenkeel_units::PerMille;

use super::{per_mille, ranges};
use crate::{document::Section, range};

/// Whether a request that takes long is sent to a second server, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hedge {
    /// After which time.
    pub after: HedgeAfter,
    /// Hedges as a part of all requests.
    pub budget: PerMille,
}

/// After which time a request is sent to a second server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HedgeAfter {
    /// Never.
    Off,
    /// Once it has taken longer than this part of the pool's answers take, as far as a worker has seen them.
    Percentile(PerMille),
    /// After this time.
    Time(Duration),
}

impl Hedge {
    /// These values; for tests and simulations.
    #[must_use]
    pub const fn new(after: HedgeAfter, budget: PerMille) -> Self {
        Self { after, budget }
    }
}

pub(super) const HEDGE_KEYS: &[&str] = &["after", "budget_per_mille"];

pub(super) fn hedge(section: &Section<'_>) -> Option<Hedge> {
    let after = match section.field("after") {
        None => Some(HedgeAfter::Off),
        Some(field) => {
            let expected = "\"off\", \"p90\", \"p95\", \"p99\" or a duration from \"1ms\" to \"1m\"";
            field.text(expected, "write \"p95\" unless you know why not", after)
        }
    };
    let budget = per_mille(section, "budget_per_mille", ranges::HEDGE_BUDGET);
    Some(Hedge { after: after?, budget: budget? })
}

fn after(text: &str) -> Option<HedgeAfter> {
    let percentile = |per_mille| PerMille::new(per_mille).ok().map(HedgeAfter::Percentile);
    match text {
        "off" => Some(HedgeAfter::Off),
        "p90" => percentile(900),
        "p95" => percentile(950),
        "p99" => percentile(990),
        _ => {
            let time = range::duration(text)?;
            (ranges::HEDGE_LEAST..=ranges::HEDGE_MOST).contains(&time).then_some(HedgeAfter::Time(time))
        }
    }
}
