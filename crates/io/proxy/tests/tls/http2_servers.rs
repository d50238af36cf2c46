//! HTTP/2 with servers over TLS: it must be chosen in the handshake (RFC 9113 §3.2).

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::Request;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::{
    certificates::{Authority, Issued},
    peers::server_config,
    support::{
        Plane, QUICK, config, eventually,
        http2::{Client, answer, content, request, run},
        noise,
    },
};

/// What a server saw of a handshake: the name that was asked for, and the protocol that was chosen.
type Seen = (Option<String>, Option<Vec<u8>>);

/// A server of HTTP/2 over TLS.
struct Server {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<Seen>>>,
    requests: Arc<AtomicUsize>,
}

/// A server that shows `issued` and speaks `protocols`; it answers with what it was sent, or else with what it was asked.
fn serving(issued: &Issued, protocols: &[&[u8]]) -> Server {
    let mut config: ServerConfig = (*server_config(issued, None)).clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (handshakes, requests) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(AtomicUsize::new(0)));
    let server = Server { address, handshakes: Arc::clone(&handshakes), requests: Arc::clone(&requests) };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (handshakes, requests) = (Arc::clone(&handshakes), Arc::clone(&requests));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let session = stream.get_ref().1;
                    let name = session.server_name().map(str::to_owned);
                    handshakes.lock().unwrap().push((name, session.alpn_protocol().map(<[u8]>::to_vec)));
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        requests.fetch_add(1, Relaxed);
                        tokio::spawn(async move {
                            let (head, body) = request.into_parts();
                            match content(body).await.0 {
                                body if body.is_empty() => answer(respond, head.uri.to_string()).await,
                                body => answer(respond, body).await,
                            }
                        });
                    }
                });
            }
        });
    });
    server
}

/// A data plane over HTTP/2 with this line in `[pool.tls]` beside the authority.
fn plane(server: &Server, folder: &Path, authority: &Authority, tls: &str, check: &str) -> Plane {
    let ca = authority.write(folder, "ca.pem");
    let pool = format!("[pool.tls]\nca = \"{}\"\n{tls}", ca.display());
    let text = config("http", &[server.address], &pool, "");
    let text = text.replacen("policy =", "protocol = \"http2\"\npolicy =", 1).replace(QUICK, check);
    Plane::start(&text, 1)
}

const NAMED: &str = "server_name = \"app.internal\"\n";
const CHECKED: &str = "[pool.health_check]\nkind = \"http\"\ninterval = \"50ms\"\nrise = 1\nfall = 1\n";

#[test]
fn clients_of_both_versions_reach_servers_of_http2_over_tls_under_the_name_that_they_have() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    for (names, tls, asked_for) in
        [("app.internal", NAMED, Some("app.internal".to_owned())), ("127.0.0.1", "", None)]
    {
        let server = serving(&authority.issue(&[names]), &[b"h2", b"http/1.1"]);
        let plane = plane(&server, folder.path(), &authority, tls, CHECKED);
        let mut old = plane.client();
        // The scheme is that of the connection to the server.
        assert_eq!(old.get("/a?b").body, b"https://site/a?b");
        run(async {
            let mut client = Client::connect(plane.address()).await;
            assert_eq!(client.get("/a?b").await.text(), "https://site/a?b");
            for size in [1, 16_384, 16_385, 300_000, 3 << 20] {
                let mut asked = request("PUT", "/");
                *asked.body_mut() = noise(size);
                assert!(client.ask(asked).await.unwrap().body == noise(size), "{size} bytes");
                old.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").as_bytes());
                old.send(&noise(size));
                assert!(old.answer(false).unwrap().body == noise(size), "{size} bytes of HTTP/1.1");
            }
        });
        eventually("a health check in HTTP/2", || {
            plane.admin("/status").1.contains("status 200").then_some(())
        });
        let handshakes = server.handshakes.lock().unwrap().clone();
        let expected = (asked_for, Some(b"h2".to_vec()));
        assert!(handshakes.iter().all(|seen| *seen == expected), "{handshakes:?}");
        let (_, status) = plane.admin("/status");
        assert!(!status.contains("last_tls_fault"), "{status}");
    }
}

#[test]
fn many_requests_share_a_session_with_the_server() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = serving(&authority.issue(&["app.internal"]), &[b"h2"]);
    let plane = plane(&server, folder.path(), &authority, NAMED, QUICK);
    run(async {
        let mut client = Client::connect(plane.address()).await;
        for _ in 0..5 {
            let mut answers = Vec::new();
            for _ in 0..60 {
                answers.push(client.begin(Request::get("http://site/").body(()).unwrap(), true).await.0);
            }
            for answer in answers {
                let answer = crate::support::http2::read(answer.await.unwrap()).await.unwrap();
                assert_eq!(Bytes::from(answer.body), "https://site/");
            }
        }
    });
    // Health checks have sessions of their own.
    let sessions = server.handshakes.lock().unwrap().len();
    assert!(sessions <= 4, "{sessions} sessions");
    assert_eq!(server.requests.load(Relaxed), 300);
}

#[test]
fn a_server_that_does_not_choose_http2_gets_no_request_and_that_is_told() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    // The first knows nothing of protocols, the second refuses the handshake.
    for (protocols, why) in
        [(&[][..], "did not choose HTTP/2"), (&[&b"http/1.1"[..]], "NoApplicationProtocol")]
    {
        for check in [QUICK, CHECKED] {
            let server = serving(&authority.issue(&["app.internal"]), protocols);
            let plane = plane(&server, folder.path(), &authority, NAMED, check);
            // By the request, or because its check has found out before.
            let status = plane.client().get("/").status;
            assert!(matches!(status, 502 | 503), "{status}");
            let page = eventually("the reason", || {
                let (_, page) = plane.admin("/status");
                page.contains(why).then_some(page)
            });
            if check == CHECKED {
                eventually("the server is down", || {
                    plane.admin("/status").1.contains("\"down\"").then_some(())
                });
            } else {
                assert!(page.contains("last_tls_fault"), "{page}");
                let (_, metrics) = plane.admin("/metrics");
                let failed = metrics.lines().find(|line| line.contains("reason=\"tls_handshake\"")).unwrap();
                assert!(!failed.ends_with(" 0"), "{failed}");
            }
            assert_eq!(server.requests.load(Relaxed), 0);
        }
    }
}

#[test]
fn a_server_of_http2_whose_certificate_does_not_verify_gets_no_request_and_the_reason_is_told() {
    let (authority, others, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    for (issued, why) in [
        (authority.issue(&["127.0.0.1", "other.internal"]), "not valid for name"),
        (authority.issue_expired(&["app.internal"]), "expired"),
        (others.issue(&["app.internal"]), "UnknownIssuer"),
    ] {
        let server = serving(&issued, &[b"h2"]);
        let plane = plane(&server, folder.path(), &authority, NAMED, QUICK);
        run(async {
            assert_eq!(Client::connect(plane.address()).await.get("/").await.status, 502, "{why}");
        });
        let (_, page) = plane.admin("/status");
        let fault = page.split("\"last_tls_fault\":").nth(1).expect("a reason");
        assert!(fault.split('}').next().unwrap().contains(why), "{why}: {fault}");
        assert_eq!(server.requests.load(Relaxed), 0, "{why}");
    }
}
