//! How a pool chooses: `policy`, what it hashes, and when servers that stand by take over.
//!
//! Invariants: what is hashed is named only where the policy hashes; a pool that stands by leaves later than it enters.

use alloc::{borrow::ToOwned as _, string::String};

use evenkeel_units::PerMille;

use super::{per_mille, ranges};
use crate::{
    document::{Field, Section},
    range::Count,
};

/// Who is next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Each in turn, by weight.
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastLoaded,
    /// Of two drawn by weight, the one with the lower product of recent latency and requests in flight.
    PeakEwma,
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    PowerOfTwo,
    /// The one to which a property of the request leads, always the same while it can take it.
    ConsistentHash(Hashing),
}

impl Policy {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
            Self::PeakEwma => "peak-ewma",
            Self::PowerOfTwo => "power-of-two",
            Self::ConsistentHash(_) => "consistent-hash",
        }
    }
}

/// What leads a request to a server, and how far a server may be preferred.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Hashing {
    /// The property that is hashed.
    pub by: HashBy,
    /// How much above its part of the pool's requests in flight a server may have.
    pub load_bound: LoadBound,
}

/// The property of a request that is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashBy {
    /// The client's address, without its port.
    Source,
    /// The first field with this name, in lower case; a request without it goes to the least loaded server.
    Header(String),
    /// The cookie with this name; a request without it goes to the least loaded server.
    Cookie(String),
    /// The path, without the query.
    Path,
}

/// How much above its part of the load a server may have, in thousandths: 1,000 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoadBound(u16);

impl LoadBound {
    /// So many times `part`, rounded up.
    #[must_use]
    pub const fn of(self, part: u64) -> u64 {
        part.saturating_mul(self.0 as u64).div_ceil(1000)
    }
}

/// When servers of a lower rank, by priority or zone, join those of a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failover {
    /// Once less than this part of the higher ranks' weight is usable, the next rank joins.
    pub enter_below: PerMille,
    /// Once this part is usable again, it leaves; at least `enter_below`.
    pub leave_at: PerMille,
}

/// How soon a server is taken: the lower the number, the sooner. 0 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(u8);

impl Priority {
    /// What a server has without the key.
    pub const FIRST: Self = Self(0);

    /// What `backup = true` stands for.
    pub const BACKUP: Self = Self(1);

    /// The priority with this place in an order; the last one for all beyond it.
    pub(super) fn ranked(place: usize) -> Self {
        Self(u8::try_from(place).unwrap_or(u8::MAX).min(ranges::PRIORITY.most as u8))
    }

    /// The number as the file has it.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

pub(super) const FAILOVER_KEYS: &[&str] = &["enter_below_per_mille", "leave_at_per_mille"];

pub(super) fn policy(section: &Section<'_>) -> Option<Policy> {
    let expected =
        "\"least-loaded\", \"round-robin\", \"peak-ewma\", \"power-of-two\" or \"consistent-hash\"";
    let remedy = "take \"least-loaded\" unless you know why not";
    let policy = section.field("policy").map_or(Some(Policy::LeastLoaded), |field| {
        field.text(expected, remedy, |text| match text {
            "round-robin" => Some(Policy::RoundRobin),
            "least-loaded" => Some(Policy::LeastLoaded),
            "peak-ewma" => Some(Policy::PeakEwma),
            "power-of-two" => Some(Policy::PowerOfTwo),
            "consistent-hash" => Some(Policy::ConsistentHash(Hashing::DEFAULT)),
            _ => None,
        })
    });
    let hashing = hashing(section, policy.as_ref());
    match policy? {
        Policy::ConsistentHash(_) => hashing.map(Policy::ConsistentHash),
        other @ (Policy::RoundRobin | Policy::LeastLoaded | Policy::PeakEwma | Policy::PowerOfTwo) => {
            hashing.map(|_| other)
        }
    }
}

impl Hashing {
    const DEFAULT: Self =
        Self { by: HashBy::Source, load_bound: LoadBound(ranges::LOAD_BOUND.default as u16) };
}

fn hashing(section: &Section<'_>, policy: Option<&Policy>) -> Option<Hashing> {
    let by = section.field("hash").map_or(Some(HashBy::Source), |field| {
        only_for_hashing(&field, policy)?;
        let expected = "`source`, `path`, `header:NAME` or `cookie:NAME`";
        field.text(expected, "name what always leads to the same server", hash_by)
    });
    let bound = section.field("load_bound_per_mille").map_or(Some(ranges::LOAD_BOUND.default), |field| {
        only_for_hashing(&field, policy)?;
        field.count(ranges::LOAD_BOUND)
    });
    Some(Hashing { by: by?, load_bound: LoadBound(u16::try_from(bound?).ok()?) })
}

/// Notes a key that only means something where the policy hashes.
fn only_for_hashing(field: &Field<'_>, policy: Option<&Policy>) -> Option<()> {
    match policy {
        Some(Policy::ConsistentHash(_)) | None => Some(()),
        Some(Policy::RoundRobin | Policy::LeastLoaded | Policy::PeakEwma | Policy::PowerOfTwo) => {
            field.refuse("no such key with this policy", "remove it, or write policy = \"consistent-hash\"");
            None
        }
    }
}

fn hash_by(text: &str) -> Option<HashBy> {
    match text.split_once(':') {
        None if text == "source" => Some(HashBy::Source),
        None if text == "path" => Some(HashBy::Path),
        Some(("header", name)) if is_token(name) => Some(HashBy::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if is_token(name) => Some(HashBy::Cookie(name.to_owned())),
        None | Some(_) => None,
    }
}

/// Longest name of a field or cookie that is hashed, in bytes: longer ones are no names that people give.
const MAX_NAME_BYTES: usize = 128;

/// Whether `name` may name a field (RFC 9110 §5.6.2) or a cookie (RFC 6265 §4.1.1).
fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(token)
}

pub(super) fn failover(section: &Section<'_>) -> Option<Failover> {
    let enter_below = per_mille(section, "enter_below_per_mille", ranges::FAILOVER_ENTER);
    let least = enter_below.map_or(ranges::FAILOVER_LEAVE.least, |share| u64::from(u16::from(share)));
    let leave_at = match section.field("leave_at_per_mille") {
        None => PerMille::new(u16::try_from(ranges::FAILOVER_LEAVE.default.max(least)).ok()?).ok(),
        Some(field) => {
            let share = field.count(Count { least, ..ranges::FAILOVER_LEAVE });
            share.and_then(|share| PerMille::new(u16::try_from(share).ok()?).ok())
        }
    };
    Some(Failover { enter_below: enter_below?, leave_at: leave_at? })
}

/// The priority of a server, by either of its two keys.
pub(super) fn priority(section: &Section<'_>) -> Option<Priority> {
    let backup = section.field("backup").map(|field| (field.flag(), field));
    let priority = section.field("priority").map(|field| field.count(ranges::PRIORITY));
    match (backup, priority) {
        (None, None) => Some(Priority::FIRST),
        (Some((flag, _)), None) => flag.map(|backup| if backup { Priority::BACKUP } else { Priority::FIRST }),
        (None, Some(priority)) => u8::try_from(priority?).ok().map(Priority),
        (Some((_, field)), Some(_)) => {
            field.refuse("only one of `backup` and `priority`", "remove one of the two");
            None
        }
    }
}
