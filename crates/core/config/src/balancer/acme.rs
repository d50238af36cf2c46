//! `[listener.tls.acme]`: certificates that the data plane gets for itself (RFC 8555).
//!
//! Owns: for which names, from whom, and how it is shown that the names are ours. Leaves to others: doing it. Invariant:
//! nobody's terms are agreed to unless the file says so.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};

use super::{Mode, ranges};
use crate::{
    document::{Field, Section},
    scalar::{FilePath, HostName},
};

/// Certificates that the data plane gets for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acme {
    /// The names of the one certificate; 1 to 100.
    pub domains: Vec<HostName>,
    /// Addresses of mail that the authority may write to; maybe none.
    pub contacts: Vec<String>,
    /// Where the authority's directory is: an `https` URL.
    pub directory: String,
    /// Whom to believe to be the authority, in PEM; `None` for the roots that the system trusts.
    pub ca: Option<FilePath>,
    /// The folder for the account and the certificate.
    pub storage: FilePath,
    /// How it is shown that the names are ours.
    pub challenge: Challenge,
}

/// How it is shown that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// By an answer to a request on port 80, where a listener of mode `http` without TLS must be (RFC 8555 §8.3).
    Http01,
    /// By a handshake on port 443, where this listener must be (RFC 8737).
    TlsAlpn01,
}

pub(super) const ACME_KEYS: &[&str] =
    &["domains", "contacts", "directory", "ca", "storage", "challenge", "agree_to_terms"];

/// Let's Encrypt, which is free for everyone and what most clients of this protocol use.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The table `acme` of a listener's `tls`.
pub(super) fn acme(section: &Section<'_>, mode: Option<Mode>) -> Option<Acme> {
    let domains = domains(section);
    let contacts = contacts(section);
    let directory = directory(section);
    let ca = section.optional("ca", Field::file);
    let storage = section.required("storage", "storage = \"/var/lib/evenkeel/acme\"").and_then(|f| f.file());
    let challenge = challenge(section, mode);
    let agreed = agreed(section);
    agreed?;
    Some(Acme {
        domains: domains?,
        contacts: contacts?,
        directory: directory?,
        ca: ca?,
        storage: storage?,
        challenge: challenge?,
    })
}

fn domains(section: &Section<'_>) -> Option<Vec<HostName>> {
    let field = section.required("domains", "domains = [\"www.example.org\"]")?;
    let items = field.items();
    if items.is_empty() || items.len() > ranges::MAX_DOMAINS {
        field.refuse("1 to 100 names", "write the names that the certificate is for");
        return None;
    }
    let remedy = "write a name; one with `*` takes a challenge by DNS, which is not offered";
    let name = |item: &Field<'_>| item.text(HostName::EXPECTED, remedy, HostName::parse);
    let names: Vec<_> = items.iter().map(name).collect();
    names.into_iter().collect()
}

fn contacts(section: &Section<'_>) -> Option<Vec<String>> {
    let Some(field) = section.field("contacts") else { return Some(Vec::new()) };
    let contact = |item: &Field<'_>| {
        item.text("an address of mail such as `ops@example.org`", "the authority warns there", |text| {
            let (user, host) = text.split_once('@')?;
            let plain = !user.is_empty() && text.len() < 255 && text.bytes().all(|b| b.is_ascii_graphic());
            HostName::parse(host).filter(|_| plain).map(|_| format!("mailto:{text}"))
        })
    };
    let contacts: Vec<_> = field.items().iter().map(contact).collect();
    contacts.into_iter().collect()
}

fn directory(section: &Section<'_>) -> Option<String> {
    let Some(field) = section.field("directory") else { return Some(DIRECTORY.to_owned()) };
    let remedy = "write the URL of the authority's directory; it must be encrypted";
    field.text("a URL such as `https://acme.example/directory`", remedy, |text| {
        let rest = text.strip_prefix("https://")?;
        let plain = text.len() < 1024 && text.bytes().all(|b| b.is_ascii_graphic());
        (plain && !rest.is_empty() && !rest.starts_with('/')).then(|| text.to_owned())
    })
}

fn challenge(section: &Section<'_>, mode: Option<Mode>) -> Option<Challenge> {
    let bytes = mode == Some(Mode::Tcp);
    let Some(field) = section.field("challenge") else {
        return Some(if bytes { Challenge::Http01 } else { Challenge::TlsAlpn01 });
    };
    if bytes && field.as_text().as_deref() == Some("tls-alpn-01") {
        let remedy = "write \"http-01\": in mode \"tcp\" the protocols of clients are not looked at";
        field.refuse("\"http-01\"", remedy);
        return None;
    }
    let remedy =
        "\"tls-alpn-01\" is answered on this listener, which must be on port 443; \"http-01\" on port 80";
    field.text("\"tls-alpn-01\" or \"http-01\"", remedy, |text| match text {
        "tls-alpn-01" => Some(Challenge::TlsAlpn01),
        "http-01" => Some(Challenge::Http01),
        _ => None,
    })
}

fn agreed(section: &Section<'_>) -> Option<()> {
    let field = section.required("agree_to_terms", "agree_to_terms = true")?;
    if field.as_bool() == Some(true) {
        return Some(());
    }
    field.refuse("true", "read the authority's terms of service; without agreeing it issues nothing");
    None
}
