//! Whom a route lets in: by rate.

use std::{net::IpAddr, time::Duration};

use evenkeel_config::balancer::route::{RateKey, RateLimit};
use evenkeel_route::{CountedKey, Limiter, Verdict};
use evenkeel_units::Instant;

use super::{fields::HeadFields, own::Fixed};

/// What a client beyond its rate is told; `None` when it is within.
pub(crate) fn by_rate(
    limiter: &Limiter,
    limit: &RateLimit,
    source: IpAddr,
    fields: &HeadFields<'_>,
    now: Instant,
) -> Option<Fixed> {
    let key = match &limit.by {
        RateKey::Route => limiter.key(b""),
        RateKey::Source => by_source(limiter, source),
        // Its first value: a client that sends two gains nothing by the second.
        RateKey::Header(name) => match fields.first(name) {
            Some(value) => limiter.key(value),
            None => by_source(limiter, source),
        },
    };
    match limiter.admit(key, now) {
        Verdict::Within => None,
        Verdict::Exceeded { retry_after } => Some(Fixed::too_many(
            whole_seconds(retry_after),
            limit.burst.get(),
            limit.requests.get(),
            limit.per,
        )),
    }
}

/// Clients of one household share an address of IPv4, or the first 64 bits of IPv6.
fn by_source(limiter: &Limiter, source: IpAddr) -> CountedKey {
    match source.to_canonical() {
        IpAddr::V4(address) => limiter.key(&address.octets()),
        IpAddr::V6(address) => limiter.key(&address.octets()[..8]),
    }
}

/// Rounded up, for a client that comes earlier is refused again.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
