//! An authority and what it signs, made for one test.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// An authority.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    key: Vec<u8>,
}

impl Issued {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.clone()).unwrap()
    }

    /// Writes `name.pem` and `name.key`; their paths as lines of a configuration.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> String {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        replace(&certificate, &self.pem);
        replace(&key, &self.key_pem);
        format!("certificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display())
    }
}

/// Replaces a file as certbot and editors do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name would be taken for one whose signature is bad.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("Test Authority {}", COUNT.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let made = params.self_signed(&key).unwrap();
        Self { certificate: made.der().clone(), pem: made.pem(), params, key }
    }

    /// Signs a certificate for these names; an address is one too.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        params.distinguished_name.push(DnType::CommonName, *names.first().unwrap_or(&"nobody"));
        change(&mut params);
        let made = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        Issued {
            certificate: made.der().clone(),
            pem: made.pem(),
            key_pem: key.serialize_pem(),
            key: key.serialize_der(),
        }
    }

    /// Signs one that has expired.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }

    /// Writes its certificate and key; where.
    pub(crate) fn write_with_key(&self, folder: &Path) -> (String, String) {
        let (certificate, key) = (self.write(folder, "ca.pem"), folder.join("ca.key"));
        replace(&key, &self.key.serialize_pem());
        (certificate.display().to_string(), key.display().to_string())
    }

    /// Writes its certificate; where.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        replace(&path, &self.pem);
        path
    }
}
