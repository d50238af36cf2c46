//! TLS, towards clients and towards servers.
//!
//! Owns: sessions, certificates, tickets, and the reasons why a handshake fails. Leaves to others: cryptography and the
//! protocol (rustls with aws-lc-rs), and everything that is spoken inside. Invariant: a connection that is configured
//! to be encrypted carries no byte of a request or an answer in the clear.

pub(crate) mod accept;
pub(crate) mod back;
pub(crate) mod files;
pub(crate) mod front;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod ocsp;
pub(crate) mod passing;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod tickets;
pub(crate) mod turnstile;
pub(crate) mod watch;

/// The version of TLS and the cipher suite of a session in words, the version as OpenSSL and web servers write it; `None`
/// before they are agreed on.
pub(crate) fn words(common: &rustls::CommonState) -> Option<(&'static str, &'static str)> {
    let version = match common.protocol_version()? {
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "TLS",
    };
    Some((version, common.negotiated_cipher_suite()?.suite().as_str()?))
}
