//! Connections that misbehave, and the end of the server.

use std::time::{Duration, Instant};

use evenkeel_protocol::ContentDigest;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{DEADLINE, Server, eventually};

async fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    let _ =
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text)).await.expect("the server never closed");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_within_ten_seconds_ends_the_connection() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let start = Instant::now();
    read_to_end(stream).await;
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(8) && waited < Duration::from_secs(20), "{waited:?}");
}

#[tokio::test]
async fn a_bundle_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (token, digest) = (&server.token, ContentDigest::of(&[7; 1000]));
    let head = format!(
        "PUT /api/targets/a.bundle HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-digest: {digest}\r\ncontent-length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 600]).await.unwrap();
    let uploads = server.folder.join("repository").join("uploads");
    let count = || std::fs::read_dir(&uploads).unwrap().count();
    eventually("the upload begins", || async { (count() == 1).then_some(()) }).await;
    drop(stream);
    eventually("what came is removed", || async { (count() == 0).then_some(()) }).await;
    assert_eq!(std::fs::read_dir(server.folder.join("repository").join("targets")).unwrap().count(), 0);
    server.get("/live").await.done(StatusCode::OK);
}

#[tokio::test]
async fn a_server_that_is_told_to_end_lets_held_requests_go_and_ends_well() {
    let mut server = Server::start();
    let device = server.new_device(1).await;
    let mut ended = None;
    let facts = device.facts_held();
    let start = Instant::now();
    let (orders, ()) = tokio::join!(device.check_in(&server, &facts, 60), async {
        server.shows("held open").await;
        terminate(server.pid());
    });
    assert_eq!(orders.assignment, None);
    eventually("the server ends", || {
        ended = ended.or(server.exit_status());
        async move { ended }
    })
    .await;
    assert!(ended.unwrap().success(), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

/// Sends SIGTERM to a process that we started.
fn terminate(pid: u32) {
    let status = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
