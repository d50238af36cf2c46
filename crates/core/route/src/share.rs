//! Which of a route's pools a client gets.
//!
//! Invariant: a client gets the same pool each time, on every worker, whatever becomes of its connections; and when a
//! weight grows, those who had that pool keep it.

use core::net::IpAddr;

use evenkeel_config::balancer::{PoolIndex, route::Route, route::Share};

use crate::frozen::Hash;

/// The pool of `shares` that a client gets; `None` only when there is none.
///
/// The clients of an address stay together; the route's name goes into the draw, so that whoever is among the first
/// twentieth of one route is not so in all.
#[must_use]
pub fn share(route: &Route, shares: &[Share], client: IpAddr) -> Option<PoolIndex> {
    let [_, _, ..] = shares else { return shares.first().map(|share| share.pool) };
    let name = Hash::of(route.name.as_str().as_bytes());
    let hash = match client.to_canonical() {
        IpAddr::V4(address) => address.octets().iter().fold(name, |hash, &byte| hash.and(byte)),
        IpAddr::V6(address) => address.octets().iter().fold(name, |hash, &byte| hash.and(byte)),
    };
    let weight = |share: &Share| u64::from(share.weight.as_u16());
    let total: u64 = shares.iter().map(weight).sum();
    // A point on a line of `total` length; products stay below 2^48 as 32 bits meet at most 16 weights of 256.
    let mut point = ((hash.mixed() >> 32) * total) >> 32;
    for share in shares {
        match point.checked_sub(weight(share)) {
            Some(left) => point = left,
            None => return Some(share.pool),
        }
    }
    shares.last().map(|share| share.pool)
}
