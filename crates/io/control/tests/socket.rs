//! Both halves over a real socket, and the peers that misbehave.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use evenkeel_control::{Answer, Error, MAX_LINE_BYTES, ProxyRequest, Server, call};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const WAIT: Duration = Duration::from_secs(20);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("control.sock");
    (folder, path)
}

/// Serves at `path` a daemon that accepts texts without `bad` in them.
fn daemon(path: &std::path::Path) -> Arc<Server> {
    let server = Arc::new(Server::bind(path).expect("the socket can be made"));
    let serving = Arc::clone(&server);
    tokio::spawn(async move {
        serving
            .serve(|request: ProxyRequest| async move {
                match request {
                    ProxyRequest::Apply { text } if text.contains("bad") => Answer::refused("it is bad"),
                    ProxyRequest::Apply { .. }
                    | ProxyRequest::Reload {}
                    | ProxyRequest::Status {}
                    | ProxyRequest::ReopenLogs {}
                    | ProxyRequest::Drain { .. }
                    | ProxyRequest::Resume { .. }
                    | ProxyRequest::Weight { .. } => Answer::done(),
                }
            })
            .await;
    });
    server
}

#[tokio::test]
async fn a_request_gets_the_daemons_answer() {
    let (_folder, path) = folder();
    let _daemon = daemon(&path);
    let good = ProxyRequest::Apply { text: "good\n".repeat(100_000) };
    assert_eq!(call(&path, &good, WAIT).await.unwrap(), Answer::done());
    let bad = ProxyRequest::Apply { text: "bad".into() };
    assert_eq!(call(&path, &bad, WAIT).await.unwrap(), Answer::refused("it is bad"));
}

#[tokio::test]
async fn only_the_owner_may_connect() {
    let (_folder, path) = folder();
    let _daemon = daemon(&path);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_a_dead_ones_socket_is_replaced() {
    let (_folder, path) = folder();
    {
        let _left_behind = std::os::unix::net::UnixListener::bind(&path).unwrap();
    }
    let first = daemon(&path);
    assert!(matches!(Server::bind(&path), Err(Error::InUse { .. })));
    assert_eq!(call(&path, &ProxyRequest::Reload {}, WAIT).await.unwrap(), Answer::done());
    drop(first);
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_not_touched() {
    let (_folder, path) = folder();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path), Err(Error::NotSocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn the_socket_goes_with_its_server_but_never_a_successors() {
    let (_folder, path) = folder();
    let first = Server::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = Server::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_socket_and_remedy() {
    let (_folder, path) = folder();
    let error = call(&path, &ProxyRequest::Reload {}, WAIT).await.unwrap_err().to_string();
    assert!(error.contains("control.sock") && error.contains("is the daemon running"), "{error}");
}

/// What the daemon answers to bytes that are not a request.
async fn told(bytes: &[u8]) -> String {
    let (_folder, path) = folder();
    let _daemon = daemon(&path);
    let mut stream = UnixStream::connect(&path).await.expect("the daemon listens");
    // The daemon may stop reading before all is written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = String::new();
    let _ = tokio::time::timeout(WAIT, stream.read_to_string(&mut answer)).await.expect("an answer in time");
    answer
}

#[tokio::test]
async fn nonsense_is_refused_in_a_sentence() {
    assert!(told(b"nonsense\n").await.contains("not understood"));
    assert!(told(b"{\"stop\":{}}\n").await.contains("unknown variant `stop`"));
    assert!(told(b"{\"reload\":{}").await.contains("closed before its line was complete"));
}

#[tokio::test]
async fn a_line_without_end_is_cut_off_at_the_limit() {
    let answer = told(&vec![b'x'; MAX_LINE_BYTES + 1]).await;
    assert!(answer.contains("longer than"), "{answer}");
}

#[tokio::test]
async fn one_connection_may_ask_again_after_a_refusal() {
    let answers = told(b"{}\n{\"reload\":{}}\n").await;
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 2, "{answers}");
    assert!(lines[0].starts_with("{\"refused\""));
    assert_eq!(lines[1], "{\"done\":{}}");
}
