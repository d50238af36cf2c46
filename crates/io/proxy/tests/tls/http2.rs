//! HTTP/2 chosen in the handshake (ALPN, RFC 9113 §3.2).

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::{
    certificates::Authority,
    clients::configuration,
    peers::config,
    support::{Plane, answering, http2, noise, ok},
};

#[test]
fn clients_choose_the_version_in_the_handshake_and_any_length_passes() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let text = configuration("http", &tls, &[answering(|_, body| ok(body))], "");
    for (line, offered, chosen) in [
        ("mode = \"http\"", &[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        ("mode = \"http\"", &[b"http/1.1"], Some(b"http/1.1")),
        ("mode = \"http\"\nhttp2 = false", &[b"h2", b"http/1.1"], Some(b"http/1.1")),
        ("mode = \"http\"", &[], None),
    ] {
        let plane = Plane::start(&text.replacen("mode = \"http\"", line, 1), 2);
        let mut client = (*config(&authority)).clone();
        client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        http2::run(async {
            let stream = tokio::net::TcpStream::connect(plane.address()).await.unwrap();
            let name = ServerName::try_from("site").unwrap();
            let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{line}");
            if chosen == Some(b"h2") {
                let mut client = http2::Client::over(stream).await;
                for size in [0, 1, 16_384, 100_000, 3 << 20] {
                    let mut asked = http2::request("PUT", "/");
                    *asked.body_mut() = noise(size);
                    assert!(client.ask(asked).await.unwrap().body == noise(size), "{size} bytes");
                }
            }
        });
    }
}
