//! Clients and servers that speak TLS by rustls's other interface than the one under test.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, ServerName},
    server::WebPkiClientVerifier,
};

use crate::{
    certificates::{Authority, Issued},
    support::{Client, PATIENCE, Peer, server},
};

pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;
pub(crate) type TlsPeer = Peer<StreamOwned<ServerConnection, TcpStream>>;

/// What a client trusts and shows.
pub(crate) fn client_config(
    authority: &Authority,
    ours: Option<&Issued>,
    version: ProtocolVersion,
) -> Arc<ClientConfig> {
    let version = match version {
        ProtocolVersion::TLSv1_2 => &rustls::version::TLS12,
        _ => &rustls::version::TLS13,
    };
    let builder =
        ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(authority.roots());
    let config = match ours {
        None => builder.with_no_client_auth(),
        Some(ours) => builder.with_client_auth_cert(vec![ours.certificate.clone()], ours.key()).unwrap(),
    };
    Arc::new(config)
}

/// Today's version, and no certificate of its own.
pub(crate) fn config(authority: &Authority) -> Arc<ClientConfig> {
    client_config(authority, None, ProtocolVersion::TLSv1_3)
}

/// Connects and shakes hands, or tells what came of it.
pub(crate) fn try_connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<TlsClient, std::io::Error> {
    let mut connection =
        ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(Client(Peer::over(StreamOwned::new(connection, stream))))
}

pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
    try_connect(address, config, name).unwrap()
}

/// The certificate that a client is shown who asks for `name`.
pub(crate) fn shown(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Option<CertificateDer<'static>> {
    let client = try_connect(address, config, name).ok()?;
    client
        .0
        .stream
        .conn
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|own| own.clone().into_owned())
}

/// What a server shows, and whose certificates it asks for.
pub(crate) fn server_config(issued: &Issued, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder
            .with_client_cert_verifier(WebPkiClientVerifier::builder(authority.roots()).build().unwrap()),
    };
    Arc::new(builder.with_single_cert(vec![issued.certificate.clone()], issued.key()).unwrap())
}

/// A server that speaks TLS, whose every connection is handled by `handle`.
pub(crate) fn tls_server(
    config: Arc<ServerConfig>,
    handle: impl Fn(TlsPeer) + Send + Sync + 'static,
) -> SocketAddr {
    server(move |peer| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        peer.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        handle(Peer::over(StreamOwned::new(connection, peer.stream)));
    })
}

/// An address that leads to `target`, and what a client sends first goes there byte by byte.
pub(crate) fn byte_by_byte(target: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = TcpStream::connect(target).unwrap();
            server.set_nodelay(true).unwrap();
            let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                let mut passed = 0;
                while let Ok(length) = client.read(&mut piece)
                    && length > 0
                {
                    let step = if passed < 3 * piece.len() { 1 } else { length };
                    passed += length;
                    if piece[..length].chunks(step).any(|part| server.write_all(part).is_err()) {
                        return;
                    }
                }
                let _ = server.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

/// Believes anyone.
#[derive(Debug)]
pub(crate) struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
