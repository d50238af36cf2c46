//! `[[listener]]`: where clients arrive and what is spoken there.
//!
//! Invariants: names and addresses differ, the admin listener's included; each listener's pool exists.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::net::SocketAddr;

use super::{
    Claims, Forward, ListenerTls, PerSource, PoolIndex, ProxyProtocol, SniRule, Udp, UnknownName, forward,
    listen_address, per_source,
    pool::PoolDraft,
    proxy_protocol, ranges,
    route::{self, ErrorPage},
    sni::{self, SniDraft},
    tls::{LISTENER_TLS_KEYS, listener_tls},
    udp::udp,
    unique_name,
};
use crate::{
    Name,
    document::{Field, Section},
};

/// A place where clients arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// Its name.
    pub name: Name,
    /// Where it listens; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// What is spoken there.
    pub mode: Mode,
    /// Whether its clients may speak HTTP/2; means nothing in mode `tcp`.
    pub http2: Http2,
    /// Whom its clients are sent to.
    pub pool: PoolIndex,
    /// What is encrypted with its clients; `None` for nothing.
    pub tls: Option<ListenerTls>,
    /// Other pools, by the name that a TLS client asks for; only in mode `tcp` without `tls`.
    pub sni: Vec<SniRule>,
    /// What becomes of clients that ask for no name of `sni`.
    pub sni_otherwise: UnknownName,
    /// Whose word is taken for who its clients are; `None` where they connect by themselves.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What it keeps of its clients in mode `udp`; else `None`.
    pub udp: Option<Udp>,
    /// What servers are told of its clients; means nothing in mode `tcp`.
    pub forward: Forward,
    /// How many connections each source may have; means nothing in mode `udp`.
    pub per_source: PerSource,
    /// What our own errors look like to its clients, before those of all listeners.
    pub error_pages: Vec<ErrorPage>,
}

/// The place of a listener in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerIndex(pub(super) usize);

impl ListenerIndex {
    /// The position in [`Config::listeners`](super::Config::listeners).
    #[must_use]
    pub const fn position(self) -> usize {
        self.0
    }
}

/// Whether clients may speak HTTP/2 (RFC 9113).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Http2 {
    /// Those that begin with it, or choose it in the TLS handshake.
    Offered,
    /// Nobody.
    Off,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// HTTP/1.1: each request is balanced.
    Http,
    /// Bytes: each connection is balanced.
    Tcp,
    /// Datagrams: each session, which is a client's address and port, is balanced.
    Udp,
}

impl Mode {
    /// The word for it in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Whether listeners of the two may have one address: they listen on different kinds of socket.
    const fn is_beside(self, other: Self) -> bool {
        matches!((self, other), (Self::Udp, Self::Http | Self::Tcp) | (Self::Http | Self::Tcp, Self::Udp))
    }
}

const LISTENER_KEYS: &[&str] = &[
    "name",
    "bind",
    "mode",
    "http2",
    "pool",
    "tls",
    "sni",
    "sni_otherwise",
    "udp",
    "proxy_protocol",
    "proxy_trusted",
    "forward",
    "per_source",
    "error_pages",
];

/// A listener whose pool is not resolved yet.
pub(super) struct ListenerDraft<'a> {
    pub(super) name: Option<Name>,
    bind: Option<SocketAddr>,
    pub(super) mode: Option<Mode>,
    http2: Option<Http2>,
    pub(super) pool: Option<(Field<'a>, String)>,
    tls: Option<Option<ListenerTls>>,
    pub(super) sni: Option<Vec<SniDraft<'a>>>,
    sni_otherwise: Option<UnknownName>,
    udp: Option<Option<Udp>>,
    proxy_protocol: Option<Option<ProxyProtocol>>,
    forward: Option<Forward>,
    per_source: Option<PerSource>,
    error_pages: Option<Vec<ErrorPage>>,
}

pub(super) fn listeners<'a>(top: &Section<'a>, admin: Option<(SocketAddr, usize)>) -> Vec<ListenerDraft<'a>> {
    let mut names = Claims(Vec::new());
    let mut addresses = Claims(admin.into_iter().filter(|(address, _)| address.port() != 0).collect());
    let sections = top.sections("listener", LISTENER_KEYS, ranges::MAX_LISTENERS, "[[listener]]");
    let mut datagrams = Claims(Vec::new());
    let draft = |section: Section<'a>| {
        let name = unique_name(&section, &mut names, "name = \"web\"");
        let mode = mode(&section);
        // A port of UDP is another one than the same number of TCP.
        let beside = mode.is_some_and(|mode| mode.is_beside(Mode::Tcp));
        let claims = if beside { &mut datagrams } else { &mut addresses };
        let bind = bind(&section, claims);
        let tls = tls(&section, mode);
        let (http2, pool) = (http2(&section), pool_name(&section));
        let (sni, sni_otherwise) = (sni::rules(&section, mode), sni::otherwise(&section));
        let proxy_protocol = proxy_protocol::listener(&section, mode);
        let udp = udp(&section, mode);
        let forward = forward::forward(&section);
        let per_source = per_source::per_source(&section, mode);
        let error_pages = error_pages(&section, mode);
        ListenerDraft {
            name,
            bind,
            mode,
            http2,
            pool,
            tls,
            sni,
            sni_otherwise,
            udp,
            proxy_protocol,
            forward,
            per_source,
            error_pages,
        }
    };
    sections.into_iter().map(draft).collect()
}

/// The inner `None` when nothing is encrypted. QUIC brings its own encryption, which passes through.
fn tls(section: &Section<'_>, mode: Option<Mode>) -> Option<Option<ListenerTls>> {
    if let (Some(field), Some(Mode::Udp)) = (section.field("tls"), mode) {
        field.refuse("no such table in a listener of mode \"udp\"", "remove it, or write another mode");
        return None;
    }
    section.optional_section("tls", LISTENER_TLS_KEYS, |section| listener_tls(section, mode))
}

fn bind(section: &Section<'_>, claims: &mut Claims<SocketAddr>) -> Option<SocketAddr> {
    let field = section.required("bind", "bind = \"0.0.0.0:8080\"")?;
    let address = listen_address(&field)?;
    if address.port() != 0 {
        claims.claim(address, &field, "let each listen on a port of its own");
    }
    Some(address)
}

fn mode(section: &Section<'_>) -> Option<Mode> {
    let field = section.required("mode", "mode = \"http\"")?;
    let remedy = "write \"http\" for web traffic, \"udp\" for datagrams, \"tcp\" for anything else";
    field.text("\"http\", \"tcp\" or \"udp\"", remedy, |text| match text {
        "http" => Some(Mode::Http),
        "tcp" => Some(Mode::Tcp),
        "udp" => Some(Mode::Udp),
        _ => None,
    })
}

fn error_pages(section: &Section<'_>, mode: Option<Mode>) -> Option<Vec<ErrorPage>> {
    if let (Some(field), Some(Mode::Tcp | Mode::Udp)) = (section.field("error_pages"), mode) {
        field.refuse(
            "no such table in a listener of another mode than \"http\"",
            "remove it: only HTTP has errors",
        );
        return None;
    }
    route::error_pages(section)
}

fn http2(section: &Section<'_>) -> Option<Http2> {
    let Some(field) = section.field("http2") else { return Some(Http2::Offered) };
    match field.as_bool() {
        Some(true) => Some(Http2::Offered),
        Some(false) => Some(Http2::Off),
        None => {
            field.refuse("true or false", "write `false` to speak HTTP/1.1 only; `true` is the default");
            None
        }
    }
}

pub(super) fn pool_name<'a>(section: &Section<'a>) -> Option<(Field<'a>, String)> {
    let field = section.required("pool", "pool = \"app\"")?;
    let name =
        field.text("the name of a pool", "write the `name` of a [[pool]]", |text| Some(text.to_owned()))?;
    Some((field, name))
}

/// Puts each listener to its pool; notes the pools that do not exist.
pub(super) fn resolve(drafts: Vec<ListenerDraft<'_>>, pools: &[PoolDraft]) -> Option<Vec<Listener>> {
    let position = |field: &Field<'_>, name: &str| {
        let pool = pools.iter().position(|pool| pool.label.as_deref() == Some(name));
        if pool.is_none() && pools.iter().all(|pool| pool.label.is_some()) {
            field.refuse_unresolved(pools.iter().filter_map(|pool| pool.label.clone()).collect());
        }
        pool.map(PoolIndex)
    };
    let resolved = drafts.into_iter().map(|draft| {
        let sni = draft.sni.and_then(|drafts| sni::resolve(drafts, position));
        let (field, name) = draft.pool?;
        let pool = position(&field, &name);
        Some(Listener {
            name: draft.name?,
            bind: draft.bind?,
            mode: draft.mode?,
            http2: draft.http2?,
            pool: pool?,
            tls: draft.tls?,
            sni: sni?,
            sni_otherwise: draft.sni_otherwise?,
            udp: draft.udp?,
            proxy_protocol: draft.proxy_protocol?,
            forward: draft.forward?,
            per_source: draft.per_source?,
            error_pages: draft.error_pages?,
        })
    });
    let resolved: Vec<_> = resolved.collect();
    resolved.into_iter().collect()
}
