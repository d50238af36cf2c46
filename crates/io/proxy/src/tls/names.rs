//! Which certificate is for which name.
//!
//! Owns: the choice by the name and the signatures that a client asks for. Leaves to others: where certificates come
//! from (`files`). Invariants: a name has its own certificate rather than a wildcard's; a wildcard stands for exactly one
//! label, the first (RFC 9525 §6.3); all certificates are replaced at once.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use evenkeel_config::balancer::UnknownName;
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{
    acme::challenges::{ALPN, Challenges},
    tls::files::Certificate,
};

/// Certificates for one name, the cheapest to sign with first.
type Keys = Vec<Arc<CertifiedKey>>;

/// The certificates of one moment.
pub(crate) struct Table {
    /// In the order of the configuration.
    pub(crate) certificates: Vec<Certificate>,
    exact: HashMap<String, Keys>,
    /// By what follows `*.`.
    wildcards: HashMap<String, Keys>,
    /// For everyone else: the first, and those that do where a client does not understand its kind of key.
    others: Keys,
}

impl Table {
    /// A table of these; at least one.
    pub(crate) fn new(certificates: Vec<Certificate>) -> Self {
        let mut table =
            Self { certificates, exact: HashMap::new(), wildcards: HashMap::new(), others: Vec::new() };
        for certificate in &table.certificates {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.wildcards, parent),
                    None => (&mut table.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
            table.others.push(Arc::clone(&certificate.key));
        }
        for keys in table.exact.values_mut().chain(table.wildcards.values_mut()) {
            keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        }
        table
    }

    /// The certificates for `name`, if there are any.
    fn named(&self, name: &str) -> Option<&Keys> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || {
            let (label, parent) = name.split_once('.')?;
            self.wildcards.get(parent).filter(|_| !label.is_empty())
        };
        self.exact.get(&name).or_else(wildcard)
    }

    fn choose(
        &self,
        name: Option<&str>,
        unknown: UnknownName,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.named(name));
        let keys = match (named, name, unknown) {
            (Some(keys), _, _) => keys,
            (None, Some(_), UnknownName::Refuse) => return None,
            (None, Some(_), UnknownName::Default) | (None, None, _) => &self.others,
        };
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        keys.iter().find(fits).or_else(|| keys.first()).map(Arc::clone)
    }
}

/// The certificates of a listener, for all workers.
pub(crate) struct Certificates {
    table: RwLock<Arc<Table>>,
    unknown: UnknownName,
    /// What an authority is shown that asks whether a name is ours.
    challenges: Option<Arc<Challenges>>,
}

impl Certificates {
    /// What a listener begins with.
    pub(crate) fn new(table: Table, unknown: UnknownName, challenges: Option<Arc<Challenges>>) -> Self {
        Self { table: RwLock::new(Arc::new(table)), unknown, challenges }
    }

    /// The certificates of now.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next handshake on these are shown.
    pub(crate) fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("unknown", &self.unknown).finish_non_exhaustive()
    }
}

thread_local! {
    /// The name in the last first message that a client of this thread sent.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The name that the client asked for whose first message was read just now, on this thread; once.
///
/// A session of rustls without buffers does not tell it.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(Into::into));
        if let Some(challenges) = &self.challenges
            && hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN))
        {
            return challenges.certificate_for(&hello.server_name()?.to_ascii_lowercase());
        }
        self.table().choose(hello.server_name(), self.unknown, hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str], file: &str) -> Certificate {
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(vec![made.der().clone()], key, &provider).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Certificate {
            key: Arc::new(key),
            names,
            begins: 0,
            expires: i64::MAX,
            is_self_made: false,
            file: file.to_owned(),
        }
    }

    #[test]
    fn each_name_gets_the_certificate_that_has_it_and_wildcards_stand_for_one_label() {
        let table = Table::new(vec![
            certificate(&["first.example"], "first"),
            certificate(&["*.b.example", "b.example"], "wild"),
            certificate(&["own.b.example"], "own"),
            certificate(&["f*.c.example", "*"], "odd"),
        ]);
        let file = |name: Option<&str>, unknown| {
            let chosen = table.choose(name, unknown, &[SignatureScheme::ECDSA_NISTP256_SHA256])?;
            let of = |one: &&Certificate| Arc::ptr_eq(&one.key, &chosen);
            table.certificates.iter().find(of).map(|found| found.file.as_str())
        };
        for (name, chosen) in [
            (Some("first.example"), Some("first")),
            (Some("FIRST.Example."), Some("first")),
            (Some("a.b.example"), Some("wild")),
            (Some("b.example"), Some("wild")),
            (Some("own.b.example"), Some("own")),
            (Some("a.a.b.example"), None),
            (Some(".b.example"), None),
            (Some("foo.c.example"), None),
            (Some("localhost"), None),
        ] {
            assert_eq!(file(name, UnknownName::Refuse), chosen, "{name:?}");
            assert_eq!(file(name, UnknownName::Default), chosen.or(Some("first")), "{name:?}");
        }
        assert_eq!(file(None, UnknownName::Refuse), Some("first"), "who asks for no name");
    }
}
