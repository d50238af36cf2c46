//! `[listener.forward]`: what servers are told of clients, and who is believed when it speaks for others.
//!
//! Owns: which fields are sent, and the networks whose word is taken. Leaves to others: how the fields look
//! (`core/http1`). Invariant: a field that tells of the client never passes from somebody who is not trusted.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::ranges;
use crate::{Network, document::Section};

/// What servers are told of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// The fields that each request gains.
    pub fields: Vec<ForwardField>,
    /// Proxies of ours: what they say of their clients is kept; from all others it is taken away.
    pub trusted: Vec<Network>,
}

impl Forward {
    /// Whether each request gains this field.
    #[must_use]
    pub fn sends(&self, field: ForwardField) -> bool {
        self.fields.contains(&field)
    }

    /// Whether a client at `address` is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A field in which servers are told of the client or of this hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardField {
    /// X-Forwarded-For: the client's address.
    XForwardedFor,
    /// X-Forwarded-Proto: whether the client came by `http` or `https`.
    XForwardedProto,
    /// X-Forwarded-Host: the host that was asked for.
    XForwardedHost,
    /// Forwarded (RFC 7239): all three.
    Forwarded,
    /// Via (RFC 9110 §7.6.3): that the request went through here.
    Via,
    /// X-Request-Id: a name for the request, which the access log repeats.
    XRequestId,
}

impl ForwardField {
    const EXPECTED: &str = "\"x-forwarded-for\", \"x-forwarded-proto\", \"x-forwarded-host\", \"forwarded\", \"via\" or \
                            \"x-request-id\"";

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "x-forwarded-for" => Self::XForwardedFor,
            "x-forwarded-proto" => Self::XForwardedProto,
            "x-forwarded-host" => Self::XForwardedHost,
            "forwarded" => Self::Forwarded,
            "via" => Self::Via,
            "x-request-id" => Self::XRequestId,
            _ => return None,
        })
    }
}

const KEYS: &[&str] = &["fields", "trusted"];

pub(super) fn forward(listener: &Section<'_>) -> Option<Forward> {
    let section = listener.section("forward", KEYS)?;
    let remedy = "name the fields that your servers read";
    let fields = match section.field("fields") {
        Some(field) => {
            field.texts(ranges::MAX_FORWARD_FIELDS, ForwardField::EXPECTED, remedy, ForwardField::parse)
        }
        None => Some(ranges::FORWARD_FIELDS.to_vec()),
    };
    let remedy = "name the proxies in front of this box, or nobody";
    let trusted = match section.field("trusted") {
        Some(field) => field.texts(ranges::MAX_TRUSTED, Network::EXPECTED, remedy, Network::parse),
        None => Some(Vec::new()),
    };
    Some(Forward { fields: fields?, trusted: trusted? })
}
