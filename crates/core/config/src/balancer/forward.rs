//! `[listener.forward]`: what servers are told of clients, and who is believed when it speaks for others.
//!
//! Owns: which fields there are, which of them are sent, and the networks whose word is taken. Leaves to others: how the
//! fields look (`core/http1`). Invariant: a field that tells of the client never passes from somebody who is not trusted.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::ranges;
use crate::{Network, document::Section};

/// What servers are told of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// The fields that each request gains.
    pub fields: ForwardFields,
    /// Proxies of ours: what they say of their clients is kept; from all others it is taken away.
    pub trusted: Vec<Network>,
}

impl Forward {
    /// Whether a client at `address` is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A field in which servers are told of the client or of this hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardField {
    /// X-Forwarded-For: the client's address behind those that a trusted peer sent.
    XForwardedFor,
    /// X-Forwarded-Proto: whether the client came by `http` or `https`, unless a trusted peer sent it.
    XForwardedProto,
    /// X-Forwarded-Host: the host that was asked for, unless a trusted peer sent it.
    XForwardedHost,
    /// Forwarded (RFC 7239): all three, behind what a trusted peer sent.
    Forwarded,
    /// Via (RFC 9110 §7.6.3): that the request went through here.
    Via,
    /// X-Request-Id: a name for the request, which the access log repeats, unless a trusted peer sent it.
    XRequestId,
}

/// A set of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ForwardFields(u8);

impl ForwardFields {
    /// None.
    pub const NONE: Self = Self(0);

    /// These and `field`.
    #[must_use]
    pub const fn with(self, field: ForwardField) -> Self {
        Self(self.0 | 1 << field as u8)
    }

    /// Whether `field` is among them.
    #[inline]
    #[must_use]
    pub const fn has(self, field: ForwardField) -> bool {
        self.0 & 1 << field as u8 != 0
    }
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
            let most = ranges::MAX_FORWARD_FIELDS;
            let told = field.texts(most, ForwardField::EXPECTED, remedy, ForwardField::parse);
            told.map(|told| told.into_iter().fold(ForwardFields::NONE, ForwardFields::with))
        }
        None => Some(ranges::FORWARD_FIELDS),
    };
    let remedy = "name the proxies in front of this box, or nobody";
    let trusted = match section.field("trusted") {
        Some(field) => field.texts(ranges::MAX_TRUSTED, Network::EXPECTED, remedy, Network::parse),
        None => Some(Vec::new()),
    };
    Some(Forward { fields: fields?, trusted: trusted? })
}
