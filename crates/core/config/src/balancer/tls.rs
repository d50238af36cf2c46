//! `[listener.tls]` and `[pool.tls]`: who the data plane is to clients, and whom it believes servers to be.
//!
//! Owns: which files, versions and names. Leaves to others: reading the files, and what is in them. Invariants: a
//! certificate always comes with a key; clients' certificates are asked for only together with those who may sign
//! them; the identity of servers goes unverified only where the file says so in words.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Acme, Mode,
    acme::{self, ACME_KEYS},
    ranges,
};
use crate::{
    document::{Field, Section},
    scalar::{FilePath, HostName},
};

/// What is encrypted with clients of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerTls {
    /// The certificates from files, at most 1,001; none only where there is `acme`. The first is for clients that ask for
    /// no name, unless there is `acme`, whose certificate comes before.
    pub certificates: Vec<CertificateFiles>,
    /// A certificate that the data plane gets for itself.
    pub acme: Option<Acme>,
    /// The oldest version that is spoken.
    pub minimum_version: TlsVersion,
    /// What a client gets that asks for a name that no certificate has.
    pub unknown_name: UnknownName,
    /// The certificates of clients, when they are asked for.
    pub client: Option<ClientCertificates>,
    /// How long a key for session tickets makes new ones; for as long again it opens those it made. `None` for no
    /// tickets.
    pub ticket_rotation: Option<Duration>,
}

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CertificateFiles {
    /// The certificate and those that lead to its root, in PEM, its own first.
    pub certificate: FilePath,
    /// Its private key, in PEM.
    pub key: FilePath,
    /// An OCSP response for it, in DER.
    pub ocsp: Option<FilePath>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246, with extended master secret (RFC 7627).
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What a client gets that asks for a name that no certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnknownName {
    /// The first certificate.
    Default,
    /// No connection: the alert `unrecognized_name` ends it (RFC 6066 §3).
    Refuse,
}

/// Certificates that clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCertificates {
    /// Who may have signed them, in PEM.
    pub ca: FilePath,
    /// Whether a client may come without.
    pub presence: Presence,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// It must.
    Required,
    /// It may.
    Optional,
}

/// What is encrypted with the servers of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolTls {
    /// How a server's certificate is verified.
    pub verify: Verify,
    /// The name that is asked for (SNI) and that the certificate must have; `None` for the server's address.
    pub server_name: Option<HostName>,
    /// Our own certificate, for servers that ask for one.
    pub certificate: Option<CertificateFiles>,
    /// The oldest version that is spoken.
    pub minimum_version: TlsVersion,
}

/// How a server's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// By the roots that the system trusts.
    System,
    /// By the roots in this file, in PEM, and no others.
    Ca(FilePath),
    /// Not at all: anyone on the way can read and change everything.
    Nothing,
}

pub(super) const LISTENER_TLS_KEYS: &[&str] = &[
    "certificate",
    "key",
    "ocsp",
    "more",
    "acme",
    "minimum_version",
    "unknown_name",
    "client_ca",
    "client",
    "ticket_rotation",
];

const MORE_KEYS: &[&str] = &["certificate", "key", "ocsp"];

pub(super) const POOL_TLS_KEYS: &[&str] =
    &["ca", "verify", "server_name", "certificate", "key", "minimum_version"];

/// The table `tls` of a listener, which is there.
pub(super) fn listener_tls(section: &Section<'_>, mode: Option<Mode>) -> Option<ListenerTls> {
    let acme = section.optional_section("acme", ACME_KEYS, |section| acme::acme(section, mode));
    let from_files = section.field("acme").is_none() || section.field("certificate").is_some();
    let first =
        if from_files { certificate(section).map(Some) } else { no_key_alone(section).map(|()| None) };
    let more = match section.field("more") {
        Some(_) => more(section),
        None => Some(Vec::new()),
    };
    let minimum_version = minimum_version(section);
    let unknown_name = unknown_name(section);
    let client = client(section);
    let ticket_rotation = section.duration("ticket_rotation", ranges::TICKET_ROTATION);
    let certificates = first?.into_iter().chain(more?).collect();
    Some(ListenerTls {
        certificates,
        acme: acme?,
        minimum_version: minimum_version?,
        unknown_name: unknown_name?,
        client: client?,
        ticket_rotation: Some(ticket_rotation?).filter(|rotation| !rotation.is_zero()),
    })
}

/// A key without a certificate is a certificate that was forgotten.
fn no_key_alone(section: &Section<'_>) -> Option<()> {
    let alone = ["key", "ocsp"].into_iter().find_map(|key| section.field(key));
    alone.map_or(Some(()), |field| {
        field.refuse("no such key without `certificate`", "add `certificate`, or remove it");
        None
    })
}

fn more(section: &Section<'_>) -> Option<Vec<CertificateFiles>> {
    let sections = section.sections("more", MORE_KEYS, ranges::MAX_CERTIFICATES, "[[listener.tls.more]]");
    let certificates: Vec<_> = sections.iter().map(certificate).collect();
    certificates.into_iter().collect()
}

fn certificate(section: &Section<'_>) -> Option<CertificateFiles> {
    let certificate = section.required("certificate", "certificate = \"site.pem\"").and_then(|f| f.file());
    let key = section.required("key", "key = \"site.key\"").and_then(|field| field.file());
    let ocsp = section.optional("ocsp", Field::file);
    Some(CertificateFiles { certificate: certificate?, key: key?, ocsp: ocsp? })
}

fn minimum_version(section: &Section<'_>) -> Option<TlsVersion> {
    let Some(field) = section.field("minimum_version") else { return Some(TlsVersion::Tls12) };
    let remedy = "older versions are broken (RFC 8996); write \"1.3\" where no old client must be served";
    field.text("\"1.2\" or \"1.3\"", remedy, |text| match text {
        "1.2" => Some(TlsVersion::Tls12),
        "1.3" => Some(TlsVersion::Tls13),
        _ => None,
    })
}

fn unknown_name(section: &Section<'_>) -> Option<UnknownName> {
    let Some(field) = section.field("unknown_name") else { return Some(UnknownName::Default) };
    let remedy = "\"default\" shows them the first certificate, \"refuse\" ends the connection";
    field.text("\"default\" or \"refuse\"", remedy, |text| match text {
        "default" => Some(UnknownName::Default),
        "refuse" => Some(UnknownName::Refuse),
        _ => None,
    })
}

fn client(section: &Section<'_>) -> Option<Option<ClientCertificates>> {
    let presence = section.optional("client", |field| {
        let remedy = "write \"required\" where who has no certificate gets no connection";
        field.text("\"required\" or \"optional\"", remedy, |text| match text {
            "required" => Some(Presence::Required),
            "optional" => Some(Presence::Optional),
            _ => None,
        })
    });
    let ca = match &presence {
        Some(Some(_)) => {
            section.required("client_ca", "client_ca = \"staff-ca.pem\"").and_then(|f| f.file()).map(Some)
        }
        Some(None) | None => section.optional("client_ca", Field::file),
    };
    let (presence, ca) = (presence?, ca?);
    // Whoever names those who sign means that a certificate must be there.
    Some(ca.map(|ca| ClientCertificates { ca, presence: presence.unwrap_or(Presence::Required) }))
}

/// The table `tls` of a pool, which is there.
pub(super) fn pool_tls(section: &Section<'_>) -> Option<PoolTls> {
    let ca = section.optional("ca", Field::file);
    let verify = verify(section, ca);
    let server_name = section.optional("server_name", |field| {
        let remedy = "write the name that the servers' certificate has";
        field.text(HostName::EXPECTED, remedy, HostName::parse)
    });
    let ours = section.field("certificate").is_some() || section.field("key").is_some();
    let certificate = if ours { pool_certificate(section).map(Some) } else { Some(None) };
    let minimum_version = minimum_version(section);
    Some(PoolTls {
        verify: verify?,
        server_name: server_name?,
        certificate: certificate?,
        minimum_version: minimum_version?,
    })
}

fn pool_certificate(section: &Section<'_>) -> Option<CertificateFiles> {
    let certificate = section.required("certificate", "certificate = \"box.pem\"").and_then(|f| f.file());
    let key = section.required("key", "key = \"box.key\"").and_then(|field| field.file());
    Some(CertificateFiles { certificate: certificate?, key: key?, ocsp: None })
}

fn verify(section: &Section<'_>, ca: Option<Option<FilePath>>) -> Option<Verify> {
    let by = |ca: Option<FilePath>| ca.map_or(Verify::System, Verify::Ca);
    let Some(field) = section.field("verify") else { return ca.map(by) };
    let remedy = "\"full\" is the default; \"none\" lets anyone on the way read and change everything";
    let nothing = field.text("\"full\" or \"none\"", remedy, |text| match text {
        "full" => Some(false),
        "none" => Some(true),
        _ => None,
    })?;
    match (nothing, ca?) {
        (false, ca) => Some(by(ca)),
        (true, None) => Some(Verify::Nothing),
        (true, Some(_)) => {
            field.refuse("\"full\" beside `ca`", "remove `ca`, or verify by it");
            None
        }
    }
}
