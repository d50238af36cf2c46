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
pub(super) fn pool(section: &Section<'_>, mode: Mode) -> Option<Option<ProxyVersion>> {
    let Some(field) = section.field("proxy_protocol") else { return Some(None) };
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
    field.text("\"v1\" or \"v2\"", remedy, version).map(Some)
}
