//! WebSockets between every pair of versions, and what becomes of those that nobody takes.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use support::{Plane, answering, config, field, http2::*, noise, ok, server as http1_server};

/// Longer than every buffer and window on the way.
const LONG: usize = 3 << 20;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The version that a side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

/// A server that takes WebSockets of `chat`, greets and echoes until its client ends.
fn echo(version: Version) -> SocketAddr {
    match version {
        Version::Http1 => http1_server(|mut peer| {
            let Some(head) = peer.head() else { return };
            assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\n"), "{head}");
            assert_eq!(field(&head, "upgrade"), Some("websocket"));
            assert_eq!(field(&head, "sec-websocket-key").map(str::len), Some(KEY.len()));
            assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
            let accept = if field(&head, "sec-websocket-key") == Some(KEY) { ACCEPT } else { "x" };
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"
            );
            peer.stream.write_all(head.as_bytes()).unwrap();
            let early = peer.held;
            let _ = peer.stream.write_all(&early);
            let mut piece = [0; 16 * 1024];
            while let Ok(count @ 1..) = peer.stream.read(&mut piece) {
                peer.stream.write_all(&piece[..count]).unwrap();
            }
        }),
        Version::Http2 => {
            let mut builder = h2::server::Builder::new();
            builder.enable_connect_protocol();
            server_with(builder, Arc::default(), |request, mut respond| async move {
                let (head, mut body) = request.into_parts();
                let protocol = head.extensions.get::<h2::ext::Protocol>();
                assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
                assert_eq!((head.method.as_str(), head.uri.path()), ("CONNECT", "/chat"));
                assert_eq!(head.uri.authority().unwrap(), "site");
                let fields = &head.headers;
                assert_eq!(fields["sec-websocket-version"], "13");
                assert!(
                    ["sec-websocket-key", "upgrade", "connection"].iter().all(|n| !fields.contains_key(*n))
                );
                let accepted = Response::builder().header("sec-websocket-protocol", "chat").body(()).unwrap();
                let mut stream = respond.send_response(accepted, false).unwrap();
                stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
                while let Some(Ok(piece)) = body.data().await {
                    let _ = body.flow_control().release_capacity(piece.len());
                    let mut piece = piece;
                    while !piece.is_empty() {
                        stream.reserve_capacity(piece.len());
                        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
                        let now = piece.split_to(room.unwrap().unwrap().min(piece.len()));
                        stream.send_data(now, false).unwrap();
                    }
                }
                stream.send_data(Bytes::new(), true).unwrap();
            })
        }
    }
}

fn plane(servers: &[SocketAddr], version: Version, rest: &str) -> Plane {
    let text = config("http", servers, "", rest);
    match version {
        Version::Http1 => Plane::start(&text, 1),
        Version::Http2 => Plane::start(&text.replacen("policy =", "protocol = \"http2\"\npolicy =", 1), 1),
    }
}

fn upgrade(more: &str) -> String {
    format!(
        "GET /chat?a=b HTTP/1.1\r\nHost: site\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

fn key() -> String {
    format!("Sec-WebSocket-Key: {KEY}\r\n")
}

fn extended_connect() -> Request<()> {
    let asked = Request::builder().method("CONNECT").uri("http://site/chat?a=b");
    let mut asked = asked.header("sec-websocket-version", "13").body(()).unwrap();
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    asked
}

/// Waits until the data plane's SETTINGS have come.
async fn connected(plane: &Plane) -> Client {
    let client = Client::connect(plane.address()).await;
    while !client.requests.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    client
}

/// Speaks with an echo over HTTP/1.1.
fn talk_http1(plane: &Plane) {
    let mut client = plane.client();
    client.send(upgrade(&key()).as_bytes());
    let head = client.0.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let connection = field(&head, "connection").map(str::to_ascii_lowercase);
    assert_eq!((connection.as_deref(), field(&head, "upgrade")), (Some("upgrade"), Some("websocket")));
    assert_eq!(field(&head, "sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("chat"));
    assert_eq!((field(&head, "content-length"), field(&head, "transfer-encoding")), (None, None));
    assert_eq!(client.0.take(5), b"hello");
    for message in [&b"one"[..], b"two"] {
        client.send(message);
        assert_eq!(client.0.take(3), message);
    }
    let mut writer = client.0.stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || {
        writer.write_all(&noise(LONG)).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(client.0.take(LONG) == noise(LONG), "what came back");
    sent.join().unwrap();
    assert!(client.is_closed(), "an end in one direction reaches the server, which ends too");
}

/// Speaks with an echo over HTTP/2.
async fn talk_http2(plane: &Plane) {
    let mut client = connected(plane).await;
    let (answer, mut stream) = client.begin(extended_connect(), false).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    let one_hop = ["sec-websocket-accept", "upgrade", "connection", "content-length"];
    assert!(one_hop.iter().all(|name| !answer.headers().contains_key(*name)), "{:?}", answer.headers());
    let mut content = answer.into_body();
    assert_eq!(content.data().await.unwrap().unwrap(), "hello");
    for message in ["one", "two"] {
        stream.send_data(Bytes::from_static(message.as_bytes()), false).unwrap();
        assert_eq!(content.data().await.unwrap().unwrap(), message);
    }
    let mut back = Vec::new();
    let receive = async {
        while let Some(piece) = content.data().await {
            let piece = piece.unwrap();
            let _ = content.flow_control().release_capacity(piece.len());
            back.extend_from_slice(&piece);
        }
    };
    let (sent, ()) = tokio::join!(send(stream, Bytes::from(noise(LONG))), receive);
    sent.unwrap();
    // Of the short messages nothing was released; they are within the first window.
    assert!(back == noise(LONG), "{} bytes came back", back.len());
}

#[test]
fn websockets_pass_between_every_pair_of_versions() {
    for servers in VERSIONS {
        let plane = plane(&[echo(servers)], servers, "");
        talk_http1(&plane);
        run(talk_http2(&plane));
        // A server that takes WebSockets is no worse for anything that was done here.
        let (_, status) = plane.admin("/status");
        assert!(status.contains("\"usable\""), "{status}");
    }
}

#[test]
fn a_server_of_http2_that_takes_no_websockets_is_passed_over_for_one_that_does() {
    let plain = || server(|_, respond| answer(respond, "no tunnel"));
    let alone = plane(&[plain()], Version::Http2, "");
    let refused = alone.client().ask(&upgrade(&key()));
    let words = String::from_utf8(refused.body).unwrap();
    assert!(refused.status == 501 && words.contains("takes no WebSockets over HTTP/2"), "{words}");
    run(async {
        let mut client = connected(&alone).await;
        let (answer, _stream) = client.begin(extended_connect(), false).await;
        assert_eq!(answer.await.unwrap().status(), 501);
    });
    // It has not failed, and goes on with what it does take.
    for _ in 0..3 {
        assert_eq!(alone.client().get("/").body, b"no tunnel");
    }
    let both = plane(&[plain(), echo(Version::Http2)], Version::Http2, "");
    for _ in 0..4 {
        talk_http1(&both);
    }
}

#[test]
fn an_upgrade_without_a_sound_key_is_refused_before_a_server_of_http2_is_asked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let server = server_with(builder, Arc::default(), move |_, respond| {
        counter.fetch_add(1, Relaxed);
        answer(respond, "")
    });
    let plane = plane(&[server], Version::Http2, "");
    for keys in ["", "Sec-WebSocket-Key: a\r\n", &key().repeat(2)] {
        assert_eq!(plane.client().ask(&upgrade(keys)).status, 400, "{keys}");
    }
    assert_eq!(asked.load(Relaxed), 0);
}

#[test]
fn a_refused_websocket_is_an_answer_like_any_other_and_the_connection_stays() {
    let servers = |version| match version {
        Version::Http1 => answering(|_, _| {
            b"HTTP/1.1 403 Forbidden\r\nX-Why: closed\r\nContent-Length: 2\r\n\r\nno".to_vec()
        }),
        Version::Http2 => {
            let mut builder = h2::server::Builder::new();
            builder.enable_connect_protocol();
            server_with(builder, Arc::default(), |_, mut respond| async move {
                let refused = Response::builder().status(403).header("x-why", "closed").body(()).unwrap();
                let mut stream = respond.send_response(refused, false).unwrap();
                stream.send_data(Bytes::from_static(b"no"), true).unwrap();
            })
        }
    };
    for version in VERSIONS {
        let plane = plane(&[servers(version)], version, "");
        let mut client = plane.client();
        for _ in 0..3 {
            let refused = client.ask(&upgrade(&key()));
            assert_eq!((refused.status, field(&refused.head, "x-why")), (403, Some("closed")), "{version:?}");
            assert_eq!(refused.body, b"no");
        }
        run(async {
            let mut client = connected(&plane).await;
            for _ in 0..3 {
                let (answer, _stream) = client.begin(extended_connect(), false).await;
                let refused = read(answer.await.unwrap()).await.unwrap();
                assert_eq!((refused.status, refused.field("x-why")), (403, Some("closed")), "{version:?}");
                assert_eq!(refused.body, b"no");
            }
        });
    }
}

/// What a client says right behind its request for a WebSocket, as if the tunnel stood, is the server's next request where
/// the server does not switch.
#[test]
fn i9_nothing_of_a_websocket_reaches_a_server_that_has_not_switched() {
    let (asked, smuggled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (requests, others) = (Arc::clone(&asked), Arc::clone(&smuggled));
    let plane = plane(
        &[answering(move |head, _| {
            if head.starts_with("GET /chat") {
                requests.fetch_add(1, Relaxed);
            } else if head.contains("/admin") {
                others.fetch_add(1, Relaxed);
            }
            ok(b"x")
        })],
        Version::Http1,
        "",
    );
    run(async {
        for _ in 0..20 {
            let mut client = connected(&plane).await;
            let (answer, mut stream) = client.begin(extended_connect(), false).await;
            let hidden = b"POST /admin HTTP/1.1\r\nHost: site\r\nContent-Length: 0\r\n\r\n";
            stream.send_data(Bytes::from_static(hidden), false).unwrap();
            // 200 from a server that did not switch would tell the client that its tunnel stands.
            assert_eq!(answer.await.unwrap().status(), 502);
        }
    });
    for _ in 0..5 {
        assert_eq!(plane.client().get("/").status, 200);
    }
    assert!(asked.load(Relaxed) > 0);
    assert_eq!(smuggled.load(Relaxed), 0, "requests that no rule of ours has seen");
}

#[test]
fn a_server_that_vanishes_takes_its_websockets_along() {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let server = server_with(builder, Arc::default(), |request, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
        // Who answers has been greeted, so that the reset overtakes nothing.
        request.into_body().data().await.unwrap().unwrap();
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    });
    let plane = plane(&[server], Version::Http2, "");
    let mut client = plane.client();
    client.send(upgrade(&key()).as_bytes());
    client.0.head().unwrap();
    assert_eq!(client.0.take(5), b"hello");
    client.send(b"x");
    assert!(client.0.stream.read(&mut [0; 1]).is_err(), "a reset, not an orderly end");
    run(async {
        let mut client = connected(&plane).await;
        let (answer, mut stream) = client.begin(extended_connect(), false).await;
        let mut content = answer.await.unwrap().into_body();
        assert_eq!(content.data().await.unwrap().unwrap(), "hello");
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        assert!(content.data().await.unwrap().unwrap_err().is_reset());
    });
}

#[test]
fn fields_of_the_upgrade_reach_servers_of_both_versions() {
    let told = |fields: &HeaderMap| fields["x-told"].to_str().unwrap().to_owned();
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let server = server_with(builder, Arc::default(), |request, mut respond| async move {
        let origin = request.headers()["origin"].clone();
        let seen = Response::builder().status(403).header("x-told", origin).body(()).unwrap();
        respond.send_response(seen, true).unwrap();
    });
    let plane = plane(&[server], Version::Http2, "");
    let answer = plane.client().ask(&upgrade(&format!("{}Origin: https://a.example\r\n", key())));
    assert_eq!(field(&answer.head, "x-told"), Some("https://a.example"));
    run(async {
        let mut client = connected(&plane).await;
        let mut asked = extended_connect();
        asked.headers_mut().insert("origin", "https://b.example".parse().unwrap());
        let (answer, _stream) = client.begin(asked, false).await;
        assert_eq!(told(answer.await.unwrap().headers()), "https://b.example");
    });
}
