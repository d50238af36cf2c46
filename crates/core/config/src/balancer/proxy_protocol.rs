//! `proxy_protocol` of a listener and of a pool: who says whom a connection is from.
//!
//! Invariant: a listener that believes headers names the networks whose headers it believes; anybody else's would let a
//! client choose its own address.

use alloc::vec::Vec;

use super::{Mode, route::networks};
use crate::Network;
use crate::document::Section;

/// Clients of a listener come through another proxy, which says who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyProtocol {
    /// Where that proxy's connections come from; at least one.
    pub trusted: Vec<Network>,
}

/// In which form servers are told who a connection is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with what is known of TLS and a checksum.
    V2,
}

/// What servers are told of a connection before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProxySent {
    /// In which form.
    pub version: ProxyVersion,
    /// What beside addresses; nothing in version 1.
    pub fields: ProxyFields,
}

/// Something that a version 2 header says beside addresses (PROXY protocol §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyField {
    /// The protocol that was agreed on with the client: `PP2_TYPE_ALPN`.
    Alpn,
    /// The name that the client asked for: `PP2_TYPE_AUTHORITY`.
    Authority,
    /// Version and cipher of the client's TLS, and whether it showed a certificate: `PP2_TYPE_SSL`.
    Tls,
    /// The common name of the certificate that the client showed: `PP2_SUBTYPE_SSL_CN`.
    ClientName,
    /// The request's X-Request-Id, where the listener gives one: `PP2_TYPE_UNIQUE_ID`.
    UniqueId,
}

impl ProxyField {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Alpn, "alpn"),
        (Self::Authority, "authority"),
        (Self::Tls, "tls"),
        (Self::ClientName, "client-name"),
        (Self::UniqueId, "unique-id"),
    ];
}

/// Some of what a version 2 header can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProxyFields(u8);

impl ProxyFields {
    /// Nothing beside addresses and the checksum.
    pub const NONE: Self = Self(0);

    /// Everything that is known.
    pub const ALL: Self = Self(0b1_1111);

    /// Whether this is said.
    #[must_use]
    pub const fn has(self, field: ProxyField) -> bool {
        self.0 & 1 << field as u8 != 0
    }

    const fn with(self, field: ProxyField) -> Self {
        Self(self.0 | 1 << field as u8)
    }
}

/// What a listener believes; the inner `None` when connections speak for themselves.
pub(super) fn listener(section: &Section<'_>, mode: Option<Mode>) -> Option<Option<ProxyProtocol>> {
    let Some(field) = section.field("proxy_protocol") else {
        let trusted = section.field("proxy_trusted");
        let Some(trusted) = trusted else { return Some(None) };
        trusted
            .refuse("no such key in a listener without proxy_protocol", "add proxy_protocol = \"required\"");
        return None;
    };
    if mode == Some(Mode::Udp) {
        field.refuse("no such key in a listener of mode \"udp\"", "remove it: datagrams carry no header");
        return None;
    }
    let remedy = "write \"required\", or remove the key where clients connect by themselves";
    let required = field.text("\"required\"", remedy, |text| (text == "required").then_some(()));
    section.required("proxy_trusted", "proxy_trusted = [\"10.0.0.0/8\"]")?;
    let trusted = networks(section, "proxy_trusted")?;
    required.map(|()| Some(ProxyProtocol { trusted }))
}

/// What servers of a pool are told; the inner `None` for nothing.
pub(super) fn pool(section: &Section<'_>, mode: Mode) -> Option<Option<ProxySent>> {
    let Some(field) = section.field("proxy_protocol") else {
        let Some(fields) = section.field("proxy_fields") else { return Some(None) };
        fields.refuse("no such key in a pool without proxy_protocol", "add proxy_protocol = \"v2\"");
        return None;
    };
    if mode == Mode::Udp {
        field.refuse("no such key in a pool for mode \"udp\"", "remove it: datagrams carry no header");
        return None;
    }
    let remedy = "write \"v2\" where the servers know it: it has a checksum and tells of TLS";
    let version = |text: &str| match text {
        "v1" => Some(ProxyVersion::V1),
        "v2" => Some(ProxyVersion::V2),
        _ => None,
    };
    let version = field.text("\"v1\" or \"v2\"", remedy, version);
    let fields = match (version, section.field("proxy_fields")) {
        (Some(ProxyVersion::V1), None) => Some(ProxyFields::NONE),
        (Some(ProxyVersion::V1), Some(field)) => {
            field.refuse("no such key beside proxy_protocol = \"v1\"", "write \"v2\", or remove the key");
            None
        }
        (Some(ProxyVersion::V2) | None, None) => Some(ProxyFields::ALL),
        (Some(ProxyVersion::V2) | None, Some(field)) => {
            let expected = "\"alpn\", \"authority\", \"tls\", \"client-name\" or \"unique-id\"";
            let remedy = "write what the servers may know; an empty list for addresses alone";
            let of_word = |text: &str| {
                let known = ProxyField::ALL.into_iter().find(|&(_, word)| word == text);
                known.map(|(field, _)| field)
            };
            let named = field.texts(ProxyField::ALL.len(), expected, remedy, of_word);
            named.map(|named| named.into_iter().fold(ProxyFields::NONE, ProxyFields::with))
        }
    };
    Some(Some(ProxySent { version: version?, fields: fields? }))
}
