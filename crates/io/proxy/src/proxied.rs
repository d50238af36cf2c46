//! The PROXY protocol: whom a proxy in front says that a client is, and what servers are told of ours.
//!
//! Owns: waiting for a header, whose headers are believed, and what a header to a server says. Leaves to others: what a
//! header is (`core/proxy-protocol`). Invariants: a header is believed only from trusted networks, and a connection
//! without one is refused there; not a byte behind the header is taken, so that TLS may follow; a connection that began
//! with the header of one client never carries another client's request.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _};

use evenkeel_config::balancer::{ProxyField, ProxySent, ProxyVersion};
use evenkeel_proxy_protocol::{
    Endpoints, Error, Facts, Header, MAX_HEADER_BYTES, Parsed, Tls, TlsClient, Transport, parse, write_v1,
    write_v2,
};
use nix::sys::socket::{MsgFlags, recv};

use crate::{
    client::Client,
    net::{scratch, socket::Read, sweep::Phase},
    pool::deadline,
    tls,
};

/// Why a client's connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It comes from none of the trusted networks.
    Untrusted,
    /// No header came in time.
    Timeout,
    /// It ended before its header was complete.
    Gone,
    /// What came is no header, or one that is refused.
    Header(Error),
}

impl Refused {
    /// Every word for metrics.
    pub(crate) const WORDS: [&'static str; 6] =
        ["untrusted", "timeout", "gone", "not_proxy", "malformed", "checksum"];

    const fn word(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Header(error) => error.as_str(),
        }
    }
}

/// Waits for the header of a client's connection, where its listener demands one; `None` when it was refused.
pub(crate) async fn receive(mut client: Client) -> Option<Client> {
    match header(&mut client).await {
        Ok(Some(source)) => client.stands_for(source),
        Ok(None) => {}
        Err(refused) => {
            let word = refused.word();
            if let Some(at) = Refused::WORDS.iter().position(|&known| known == word) {
                client.listening.tally().proxy_refused[at].up();
            }
            tracing::debug!(listener = client.listening.name(), reason = word, "a PROXY header was refused");
            client.socket.reset_on_close();
            return None;
        }
    }
    Some(client)
}

/// Whom the header names; `None` when the connection speaks for itself.
async fn header(client: &mut Client) -> Result<Option<SocketAddr>, Refused> {
    let settings = client.listening.settings();
    let Some(believed) = &settings.proxy_protocol else { return Ok(None) };
    let from = client.from().ip();
    if !believed.trusted.iter().any(|network| network.contains(from)) {
        return Err(Refused::Untrusted);
    }
    client.watch.set(Phase::Busy, deadline(client.worker.clock.now(), settings.deadlines.proxy_header));
    let mut seen = Seen { length: 0, vainly: 0 };
    loop {
        client.socket.readable(&client.watch).await.map_err(|_| Refused::Timeout)?;
        let Some((endpoints, length)) = look(client, &mut seen)? else { continue };
        take(client, length)?;
        return Ok(match endpoints {
            Endpoints::Internet { source, .. } => Some(source),
            Endpoints::Local | Endpoints::Unknown | Endpoints::Unix { .. } => None,
        });
    }
}

/// Looks in a row that found nothing new before the sender is taken to have ended.
///
/// A byte that comes between a wake and its look is reported once more, which is one look in vain; an end keeps its
/// connection readable, so that every look is.
const VAIN_LOOKS: u32 = 8;

/// What the last look found.
struct Seen {
    length: usize,
    /// Looks since then that found nothing new.
    vainly: u32,
}

/// Looks at what has come, and leaves it there; `None` while that is only the beginning of a header.
fn look(client: &Client, seen: &mut Seen) -> Result<Option<(Endpoints, usize)>, Refused> {
    // Nothing is encrypted yet, so the wire is there.
    let wire = client.socket.plain().ok_or(Refused::Gone)?;
    scratch::with(|scratch| {
        let buffer = &mut scratch.input[..MAX_HEADER_BYTES];
        let mut found = Ok(None);
        let looked = wire.receive(|stream| {
            let length = recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?;
            found = match parse(&buffer[..length]) {
                Ok(Parsed::Header(header, taken)) => Ok(Some((header.endpoints, taken))),
                Ok(Parsed::Partial) => {
                    seen.vainly = if length > seen.length { 0 } else { seen.vainly + 1 };
                    if seen.vainly < VAIN_LOOKS { Ok(None) } else { Err(Refused::Gone) }
                }
                Err(error) => Err(Refused::Header(error)),
            };
            seen.length = length;
            match found {
                // What is there was seen; only more is news.
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Ok(Some(_)) | Err(_) => Ok(length),
            }
        });
        match looked {
            Ok(_) => found,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(Refused::Gone),
        }
    })
}

/// Takes the header, which is there whole.
fn take(client: &Client, length: usize) -> Result<(), Refused> {
    scratch::with(|scratch| match client.socket.read(&mut scratch.input[..length]) {
        Ok(Read::Bytes(taken)) if taken == length => Ok(()),
        Ok(Read::Bytes(_) | Read::Wait | Read::End) | Err(_) => Err(Refused::Gone),
    })
}

/// The name that a client asks for whose TLS is passed on without decrypting it: its first message is carried still.
fn asked_name(client: &Client) -> Option<String> {
    match evenkeel_tls_hello::look(&client.carry) {
        Ok(evenkeel_tls_hello::Look::Hello(hello)) => hello.server_name,
        Ok(evenkeel_tls_hello::Look::Partial) | Err(_) => None,
    }
}

/// What a server is told of a client before its first byte.
#[derive(Debug, Clone)]
pub(crate) struct Announcement(Box<[u8]>);

impl Announcement {
    /// Of this client; `id` is what its request is called, where that is told.
    pub(crate) fn of(client: &Client, sent: ProxySent, id: Option<&str>) -> Self {
        let endpoints = match (client.from(), client.socket.local()) {
            (source, Some(destination)) => {
                Endpoints::Internet { source, destination, transport: Transport::Stream }
            }
            (_, None) => Endpoints::Unknown,
        };
        let told = |field| sent.fields.has(field);
        let session = client.socket.session();
        let common = session.as_ref().map(|session| session.common());
        let shown = common.and_then(|common| common.peer_certificates()?.first());
        let name = shown.filter(|_| told(ProxyField::ClientName)).and_then(tls::identity::common_name);
        let passed = if session.is_none() && told(ProxyField::Authority) { asked_name(client) } else { None };
        let tls = common.filter(|_| told(ProxyField::Tls)).map(|common| {
            let (version, cipher) = tls::words(common).unzip();
            let client = match shown {
                Some(_) => TlsClient::Verified { name: name.as_deref() },
                None => TlsClient::Anonymous,
            };
            Tls { version, cipher, client }
        });
        let asked = session.as_ref().and_then(|session| session.asked_name.as_deref()).or(passed.as_deref());
        let facts = Facts {
            alpn: common.filter(|_| told(ProxyField::Alpn)).and_then(|common| common.alpn_protocol()),
            authority: asked.filter(|_| told(ProxyField::Authority)),
            unique_id: id.filter(|_| told(ProxyField::UniqueId)).map(str::as_bytes),
            tls,
        };
        Self::made(sent.version, &Header { endpoints, facts })
    }

    /// Of a connection that is for nobody but ourselves: a health check.
    pub(crate) fn of_ourselves(version: ProxyVersion) -> Self {
        Self::made(version, &Header { endpoints: Endpoints::Local, facts: Facts::NONE })
    }

    fn made(version: ProxyVersion, header: &Header<'_>) -> Self {
        let mut bytes = Vec::with_capacity(64);
        match version {
            ProxyVersion::V1 => write_v1(&header.endpoints, &mut bytes),
            ProxyVersion::V2 => write_v2(header, &mut bytes),
        }
        Self(bytes.into())
    }

    /// The header.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
