//! TLS with clients: what a listener offers, and the handshake of each client.
//!
//! Owns: versions, ciphers, certificates and tickets of a listener. Leaves to others: what is spoken inside. Invariants:
//! what is offered by default is Mozilla's "intermediate" set or stronger; early data is never taken, for it can be
//! replayed (RFC 8446 §8); tickets of one listener open no session on another, whose clients may have to show more.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use evenkeel_config::balancer::{Acme, CertificateFiles, Challenge, ListenerTls, Presence, TlsVersion};
use rustls::{
    CipherSuite, ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    server::{
        NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    version,
};

use crate::{
    acme::{
        challenges::{ALPN, Challenges},
        self_signed, storage,
    },
    tls::{
        files::{self, Certificate, FileError, Look},
        names::{Certificates, Table},
        session::Side,
        tickets::Tickets,
    },
};

/// What may be spoken inside of TLS with clients of a listener (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, or HTTP/1.1 with who does not know it.
    Http,
    /// Whatever it is: nothing is agreed on.
    Bytes,
}

/// What HTTP/2 is called in the handshake (RFC 9113 §3.1).
pub(crate) const HTTP2: &[u8] = b"h2";

/// A certificate that a listener gets for itself.
#[derive(Debug)]
pub(crate) struct AcmeFront {
    pub(crate) settings: Acme,
    /// They go on through reloads, so that an order that is under way can be finished.
    pub(crate) challenges: Arc<Challenges>,
}

/// Who was let in with a session: whether clients show a certificate, and who may have signed it.
type Clients = Option<(Presence, Vec<CertificateDer<'static>>)>;

/// TLS as a listener offers it, for all workers.
#[derive(Debug)]
pub(crate) struct Front {
    config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<Certificates>,
    tickets: Option<Arc<Tickets>>,
    /// What the tickets depend on: who was let in with them.
    clients: Clients,
    settings: ListenerTls,
    listener: String,
    acme: Option<AcmeFront>,
    /// The files of its certificates, as they were before they were read.
    pub(crate) files: Vec<(PathBuf, Look)>,
}

impl Front {
    /// What a listener offers, in the place of `before`.
    ///
    /// # Errors
    /// When a file is of no use.
    pub(crate) fn new(
        (folder, listener): (&Path, &str),
        settings: &ListenerTls,
        inside: Inside,
        before: Option<&Self>,
    ) -> Result<Self, FileError> {
        let files = files((folder, listener), settings);
        let provider = Arc::new(provider());
        let table = table((folder, listener), settings, &provider, before)?;
        let acme = settings.acme.as_ref().map(|acme| AcmeFront {
            settings: acme.clone(),
            challenges: before
                .and_then(|before| before.acme.as_ref())
                .map_or_else(Arc::default, |acme| Arc::clone(&acme.challenges)),
        });
        let challenges = acme.as_ref().map(|acme| Arc::clone(&acme.challenges));
        let certificates = Arc::new(Certificates::new(table, settings.unknown_name, challenges));
        let setup = |error: rustls::Error| FileError::Setup(error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.minimum_version))
            .map_err(setup)?;
        let (verifier, clients) = clients(folder, settings, provider)?;
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::<Certificates>::clone(&certificates));
        let tickets = tickets(settings, &clients, before)?;
        // Sessions are kept by clients alone: a store of ours would be one that workers share and write.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match &tickets {
            Some(tickets) => config.ticketer = Arc::<Tickets>::clone(tickets),
            None => config.send_tls13_tickets = 0,
        }
        config.alpn_protocols = match inside {
            Inside::Http1 => vec![b"http/1.1".to_vec()],
            Inside::Http => vec![HTTP2.to_vec(), b"http/1.1".to_vec()],
            Inside::Bytes => Vec::new(),
        };
        if acme.as_ref().is_some_and(|acme| acme.settings.challenge == Challenge::TlsAlpn01) {
            config.alpn_protocols.push(ALPN.to_vec());
        }
        Ok(Self {
            config: Arc::new(config),
            certificates,
            tickets,
            clients,
            settings: settings.clone(),
            listener: listener.to_owned(),
            acme,
            files,
        })
    }

    /// The beginning of a session with a client.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn begin(&self) -> Result<Side, rustls::Error> {
        UnbufferedServerConnection::new(Arc::clone(&self.config)).map(Side::Server)
    }

    /// Whether clients must or may show a certificate.
    pub(crate) const fn asks_for_certificates(&self) -> bool {
        self.clients.is_some()
    }

    /// Whether an OCSP response is shown that by `now`, in seconds since 1970, no longer holds.
    pub(crate) fn has_ended_staple(&self, now: i64) -> bool {
        let table = self.certificates.table();
        table.certificates.iter().filter_map(|one| one.staple).any(|staple| staple.has_ended(now))
    }

    /// The certificate that it gets for itself.
    pub(crate) const fn acme(&self) -> Option<&AcmeFront> {
        self.acme.as_ref()
    }

    /// Reads the certificates again and shows them from the next handshake on.
    ///
    /// # Errors
    /// When a file is of no use; the certificates of before stay.
    pub(crate) fn renew(&self, folder: &Path) -> Result<(), FileError> {
        let place = (folder, self.listener.as_str());
        let table = table(place, &self.settings, self.config.crypto_provider(), Some(self))?;
        self.certificates.replace(table);
        Ok(())
    }
}

/// How certificates of clients are verified.
fn clients(
    folder: &Path,
    settings: &ListenerTls,
    provider: Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Clients), FileError> {
    let Some(client) = &settings.client else { return Ok((WebPkiClientVerifier::no_client_auth(), None)) };
    let path = files::path(folder, &client.ca);
    let roots = Arc::new(files::roots(&path)?);
    let signers = files::chain(&path)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let verifier = match client.presence {
        Presence::Required => verifier,
        Presence::Optional => verifier.allow_unauthenticated(),
    };
    let verifier = verifier.build().map_err(|error| FileError::Setup(error.to_string()))?;
    Ok((verifier, Some((client.presence, signers))))
}

fn files((folder, listener): (&Path, &str), settings: &ListenerTls) -> Vec<(PathBuf, Look)> {
    let of = |files: &CertificateFiles| {
        let files = [Some(&files.certificate), Some(&files.key), files.ocsp.as_ref()];
        files.map(|file| file.map(|file| files::path(folder, file)))
    };
    let issued = settings.acme.iter().map(|acme| storage::certificate_path(folder, acme, listener));
    let paths = settings.certificates.iter().flat_map(of).flatten().chain(issued);
    paths.map(|path| (path.clone(), files::look(&path))).collect()
}

/// The tickets of `before` go on when they say the same of who holds them.
fn tickets(
    settings: &ListenerTls,
    clients: &Clients,
    before: Option<&Front>,
) -> Result<Option<Arc<Tickets>>, FileError> {
    let Some(rotation) = settings.ticket_rotation else { return Ok(None) };
    let known = before.filter(|before| before.clients == *clients);
    if let Some(known) = known.and_then(|before| before.tickets.as_ref())
        && known.rotation() == rotation
    {
        return Ok(Some(Arc::clone(known)));
    }
    let new = Tickets::new(rotation);
    let new = new.ok_or_else(|| FileError::Setup("the system gives no random bytes".to_owned()))?;
    Ok(Some(Arc::new(new)))
}

/// Reads the certificates of a listener.
///
/// An expired one is refused where a good one would give way to it. Where the data plane starts, or it was shown before,
/// it is shown with a warning: its clients are told, and those of all others are served.
fn table(
    (folder, listener): (&Path, &str),
    settings: &ListenerTls,
    provider: &CryptoProvider,
    before: Option<&Front>,
) -> Result<Table, FileError> {
    let now = files::now();
    let mut certificates = Vec::with_capacity(settings.certificates.len());
    let shown = before.map(|before| before.certificates.table());
    if let Some(acme) = &settings.acme {
        certificates.push(issued((folder, listener), acme, provider)?);
    }
    for files in &settings.certificates {
        let certificate = files::certificate(folder, files, provider)?;
        if certificate.is_expired(now) {
            let same = |known: &Certificate| known.key.cert.first() == certificate.key.cert.first();
            if shown.as_ref().is_some_and(|shown| !shown.certificates.iter().any(same)) {
                let path = files::path(folder, &files.certificate);
                return Err(FileError::expired(path, &certificate, now));
            }
        }
        certificates.push(certificate);
    }
    Ok(Table::new(certificates))
}

/// The certificate that a listener has got for itself; until there is one, or where it is of no use, one that it makes.
fn issued(
    (folder, listener): (&Path, &str),
    acme: &Acme,
    provider: &CryptoProvider,
) -> Result<Certificate, FileError> {
    let path = storage::certificate_path(folder, acme, listener);
    let label = format!("{}/{listener}.pem", acme.storage);
    match files::certificate_at((&path, &path), None, label.clone(), provider) {
        Ok(certificate) => return Ok(certificate),
        Err(FileError::Read(_, error)) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(listener, "the certificate got by ACME is of no use: {}", error.sentence());
        }
    }
    let names: Vec<_> = acme.domains.iter().map(|name| name.as_str().to_owned()).collect();
    let setup = |error: rcgen::Error| FileError::Setup(error.to_string());
    let params = rcgen::CertificateParams::new(names.clone()).map_err(setup)?;
    let key = self_signed(&params).map_err(setup)?;
    Ok(Certificate {
        key,
        names,
        begins: 0,
        expires: i64::MAX,
        staple: None,
        is_self_made: true,
        file: label,
    })
}

pub(crate) fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    const ALL: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    match minimum {
        TlsVersion::Tls12 => ALL,
        TlsVersion::Tls13 => &ALL[..1],
    }
}

/// Ciphers and key exchanges: those of Mozilla's "intermediate" set that rustls has, which are all with forward secrecy,
/// and the hybrid with ML-KEM for clients that ask for it.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    debug_assert!(
        provider.cipher_suites.iter().all(|suite| suite.suite() != CipherSuite::TLS_NULL_WITH_NULL_NULL),
        "rustls has no weak suites"
    );
    provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::MLKEM768);
    provider
}
