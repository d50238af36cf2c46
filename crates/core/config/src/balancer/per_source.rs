//! `[listener.per_source]`: how many connections each source may have at a listener.
//!
//! Owns: who counts as one source, who is not counted, and how many connections one has. Leaves to others: counting.
//! Invariant: the box itself and proxies whose word is taken are not counted unless the file says so, for behind them is
//! more than one client.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::{Mode, ranges};
use crate::{Network, document::Section, range::Count};

/// How many connections each source may have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerSource {
    /// How many at once, over all workers.
    pub connections: SourceConnections,
    /// Bits of an IPv4 address that make one source: 8 to 32.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that make one source: 32 to 128.
    pub ipv6_prefix: u8,
    /// Networks whose connections are not counted, beside those of `forward.trusted`.
    pub exempt: Vec<Network>,
}

/// How many connections a source may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceConnections {
    /// Half of `limits.max_clients`, so that no source shuts out all others.
    HalfOfClients,
    /// So many.
    Most(NonZeroU32),
    /// Any number; nothing is counted.
    Unlimited,
}

const KEYS: &[&str] = &["connections", "ipv4_prefix", "ipv6_prefix", "exempt"];

pub(super) fn per_source(listener: &Section<'_>, mode: Option<Mode>) -> Option<PerSource> {
    if let (Some(field), Some(Mode::Udp)) = (listener.field("per_source"), mode) {
        let remedy =
            "remove it: a datagram's source is what its sender writes; `udp.max_sessions` bounds them all";
        field.refuse("no such table in a listener of mode \"udp\"", remedy);
        return None;
    }
    let section = listener.section("per_source", KEYS)?;
    let connections = match section.field("connections") {
        None => Some(SourceConnections::HalfOfClients),
        Some(field) if field.as_text().as_deref() == Some("unlimited") => Some(SourceConnections::Unlimited),
        Some(field) => {
            let range = ranges::SOURCE_CONNECTIONS;
            let expected = "a whole number from 1 to 1000000, or \"unlimited\"";
            let remedy = "leave it out for half of `limits.max_clients`";
            let fits = |number: &u64| (range.least..=range.most).contains(number);
            let number = |number| u32::try_from(number).ok().and_then(NonZeroU32::new);
            field
                .number(expected, remedy, |n| Some(n).filter(fits).and_then(number))
                .map(SourceConnections::Most)
        }
    };
    let ipv4_prefix = prefix(&section, "ipv4_prefix", ranges::SOURCE_IPV4_PREFIX);
    let ipv6_prefix = prefix(&section, "ipv6_prefix", ranges::SOURCE_IPV6_PREFIX);
    let exempt = match section.field("exempt") {
        Some(field) => {
            let remedy = "name networks behind which many clients are, or nobody";
            field.texts(ranges::MAX_TRUSTED, Network::EXPECTED, remedy, Network::parse)
        }
        None => Some(Network::LOOPBACK.to_vec()),
    };
    Some(PerSource {
        connections: connections?,
        ipv4_prefix: ipv4_prefix?,
        ipv6_prefix: ipv6_prefix?,
        exempt: exempt?,
    })
}

fn prefix(section: &Section<'_>, key: &str, range: Count) -> Option<u8> {
    u8::try_from(section.count(key, range)?).ok()
}
