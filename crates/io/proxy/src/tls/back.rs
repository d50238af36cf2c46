//! TLS with servers: whom a pool believes its servers to be.
//!
//! Owns: versions, roots, our own certificate and the name that is asked for. Leaves to others: connecting (`pool`).
//! Invariant: a server whose certificate does not verify gets no byte of a request, unless the configuration says in
//! words that nothing is verified.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use evenkeel_config::balancer::{PoolTls, Protocol, Verify};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption, UnbufferedClientConnection, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls::{
    files::{self, FileError, Look},
    front::{self, HTTP2},
    session::Side,
};

/// Sessions kept to be taken up again, over all servers of a pool: each server gives two tickets with each handshake, and
/// a pool has at most 256 servers.
const KEPT_SESSIONS: usize = 1024;

/// TLS with a service that one of these vouches for.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client(roots: rustls::RootCertStore) -> Result<ClientConfig, FileError> {
    let config = ClientConfig::builder_with_provider(Arc::new(front::provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::Setup(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// TLS as a pool speaks it, for all workers and for health checks.
#[derive(Debug)]
pub(crate) struct Back {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    settings: PoolTls,
    /// What is spoken inside.
    protocol: Protocol,
    /// The files that it was made of, as they were.
    files: Vec<(PathBuf, Look)>,
}

impl Back {
    /// What a pool speaks.
    ///
    /// # Errors
    /// When a file is of no use.
    pub(crate) fn new(folder: &Path, settings: &PoolTls, protocol: Protocol) -> Result<Self, FileError> {
        let files = Self::files(folder, settings);
        let provider = Arc::new(front::provider());
        let setup = |error: Error| FileError::Setup(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(front::versions(settings.minimum_version))
            .map_err(setup)?;
        let verifier: Arc<dyn ServerCertVerifier> = match &settings.verify {
            Verify::Nothing => Arc::new(Anyone(Arc::clone(&provider))),
            Verify::System | Verify::Ca(_) => {
                let roots = match &settings.verify {
                    Verify::Ca(ca) => files::roots(&files::path(folder, ca))?,
                    Verify::System | Verify::Nothing => files::system_roots()?,
                };
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                verifier.build().map_err(|error| FileError::Setup(error.to_string()))?
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some(ours) => {
                let ours = files::certificate(folder, ours, &provider)?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(ours.key)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(KEPT_SESSIONS);
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![HTTP2.to_vec()],
        };
        let name = settings.server_name.as_ref().map(|name| {
            ServerName::try_from(name.as_str().to_owned())
                .map_err(|error| FileError::Setup(error.to_string()))
        });
        Ok(Self {
            config: Arc::new(config),
            name: name.transpose()?,
            settings: settings.clone(),
            protocol,
            files,
        })
    }

    fn files(folder: &Path, settings: &PoolTls) -> Vec<(PathBuf, Look)> {
        let ca = if let Verify::Ca(ca) = &settings.verify { Some(ca) } else { None };
        let ours = settings.certificate.iter().flat_map(|ours| [&ours.certificate, &ours.key]);
        let paths = ca.into_iter().chain(ours).map(|file| files::path(folder, file));
        paths.map(|path| (path.clone(), files::look(&path))).collect()
    }

    /// Whether making it anew by `settings` would give the same.
    pub(crate) fn is_current(&self, settings: &PoolTls, protocol: Protocol) -> bool {
        self.settings == *settings
            && self.protocol == protocol
            && self.files.iter().all(|(path, seen)| files::look(path) == *seen)
    }

    /// The beginning of a session with the server at `address`.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn begin(&self, address: SocketAddr) -> Result<Side, Error> {
        UnbufferedClientConnection::new(Arc::clone(&self.config), self.name(address)).map(Side::Client)
    }

    /// Makes a session with the server at `address` off the workers' threads, where ease counts for more than cost.
    ///
    /// # Errors
    /// When the connection fails or no session comes about.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name(address), stream).await
    }

    fn name(&self, address: SocketAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::from(address.ip()))
    }
}

/// Believes anyone to be the server; what is signed must still fit the certificate that was shown.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
