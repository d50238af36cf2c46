//! What servers are told of clients, in the form in which requests are written.
//!
//! Owns: the step from a configuration to what `core/http1` asks for. Invariant: where nobody is trusted, nothing is
//! looked up.

use std::net::IpAddr;

use evenkeel_config::{
    Network,
    balancer::{self, ForwardField as Told},
};
use evenkeel_http1::{ForwardField, ForwardFields, Peer, RequestIds, Trust};

/// What the servers behind a listener are told.
#[derive(Debug)]
pub(crate) struct Forwarding {
    pub(crate) fields: ForwardFields,
    pub(crate) via: bool,
    pub(crate) request_ids: RequestIds,
    trusted: Vec<Network>,
}

impl Forwarding {
    /// As the configuration says.
    pub(crate) fn of(settings: &balancer::Forward) -> Self {
        let mut fields = ForwardFields::NONE;
        for told in &settings.fields {
            fields = match told {
                Told::XForwardedFor => fields.with(ForwardField::XForwardedFor),
                Told::XForwardedProto => fields.with(ForwardField::XForwardedProto),
                Told::XForwardedHost => fields.with(ForwardField::XForwardedHost),
                Told::Forwarded => fields.with(ForwardField::Forwarded),
                Told::Via | Told::XRequestId => fields,
            };
        }
        let request_ids =
            if settings.sends(Told::XRequestId) { RequestIds::Made } else { RequestIds::Passed };
        Self { fields, via: settings.sends(Told::Via), request_ids, trusted: settings.trusted.clone() }
    }

    /// What of a client's fields is believed.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        let trusted = self.trusted.iter().any(|network| network.contains(address));
        let trust = if trusted { Trust::Trusted } else { Trust::Stranger };
        Peer { trust, request_ids: self.request_ids }
    }
}
