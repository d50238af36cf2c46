//! The real program: looks healthy, answers 500, ends when told to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longest wait for anything; each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

struct Faulty {
    child: Child,
    site: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts the program and waits until it says that it is ready.
fn start(folder: &Path) -> Faulty {
    let (site, admin) = (free_address(), free_address());
    let config = folder.join("balancer.toml");
    let text = format!(
        "[admin]\nlisten = \"{admin}\"\n[[listener]]\nname = \"web\"\nbind = \"{site}\"\nmode = \"http\"\n\
         pool = \"app\"\n[[pool]]\nname = \"app\"\npolicy = \"round-robin\"\n[[pool.server]]\nname = \"app1\"\n\
         address = \"127.0.0.1:1\"\n"
    );
    fs::write(&config, text).unwrap();
    let notify = UnixDatagram::bind(folder.join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_evenkeel-faulty"))
        .args(["--workers", "2", "--config"])
        .arg(&config)
        .arg("--control-socket")
        .arg(folder.join("proxy.sock"))
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .spawn()
        .unwrap();
    let faulty = Faulty { child, site, admin };
    let mut said = [0; 64];
    let length = notify.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"READY=1");
    faulty
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_says_that_it_is_well_and_answers_500() {
    let folder = tempfile::tempdir().unwrap();
    let faulty = start(folder.path());
    for path in ["/live", "/ready", "/metrics"] {
        assert!(get(faulty.admin, path).starts_with("HTTP/1.1 200 OK\r\n"), "{path}");
    }
    let status = get(faulty.admin, "/status");
    let json: serde_json::Value = serde_json::from_str(status.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(json["pools"][0]["servers"][0]["state"], "usable");
    assert_eq!(json["totals"]["server_errors"], 0);
    assert!(get(faulty.site, "/").starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
}

#[test]
fn it_takes_orders_over_the_control_socket() {
    let folder = tempfile::tempdir().unwrap();
    let _faulty = start(folder.path());
    let mut stream = UnixStream::connect(folder.path().join("proxy.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"{\"reload\":{}}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "{\"done\":{}}\n");
}

#[test]
fn it_ends_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut faulty = start(folder.path());
    kill(Pid::from_raw(i32::try_from(faulty.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(faulty.child.wait().unwrap().success());
}
