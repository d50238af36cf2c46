//! What a client's requests may say of others, as the configuration has it.
//!
//! Owns: the step from a configuration to how `core/http1` reads a head. Leaves to others: which fields servers are told
//! (`core/config`), and how these are written (`core/http1`). Invariant: where nobody is trusted, nothing is looked up.

use std::net::IpAddr;

use evenkeel_config::balancer::{Forward, ForwardField};
use evenkeel_http1::{Peer, RequestIds, Trust};

/// Whose names requests have.
pub(crate) fn request_ids(told: &Forward) -> RequestIds {
    if told.fields.has(ForwardField::XRequestId) { RequestIds::Made } else { RequestIds::Passed }
}

/// What of a client's fields is believed.
pub(crate) fn peer(told: &Forward, address: IpAddr) -> Peer {
    let trust = if told.trusts(address) { Trust::Trusted } else { Trust::Stranger };
    Peer { trust, request_ids: request_ids(told) }
}
