//! The process: its words at the start, its signals, and what it tells systemd.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_evenkeel-proxy"))
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// A server that answers every connection with its name and closes it.
fn named(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A health check may have left before it is answered.
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{name}");
        }
    });
    address
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config(web: SocketAddr, server: SocketAddr) -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nname = \"web\"\nbind = \"{web}\"\nmode = \"http\"\n\
         pool = \"app\"\n[[pool]]\nname = \"app\"\npolicy = \"round-robin\"\n[[pool.server]]\nname = \"s\"\n\
         address = \"{server}\"\n"
    )
}

/// The running program, killed when a test gives up on it.
struct Running(Child);

impl Running {
    fn start(config: &Path, notify: &Path) -> Self {
        let child = program()
            .args(["--workers", "2", "--config"])
            .arg(config)
            .env("NOTIFY_SOCKET", notify)
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn signals_reload_and_stop_and_systemd_is_told_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (file, notify) = (folder.path().join("balancer.toml"), folder.path().join("notify"));
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 200];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let web = free();
    std::fs::write(&file, config(web, named("a"))).unwrap();
    let mut running = Running::start(&file, &notify);
    assert_eq!(told(), "READY=1\n");
    assert!(get(web).ends_with("\r\n\r\na"));

    std::fs::write(&file, config(web, named("b"))).unwrap();
    running.signal(Signal::SIGHUP);
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(), "READY=1\n");
    assert!(get(web).ends_with("\r\n\r\nb"));

    // I8: what cannot be run is refused whole.
    std::fs::write(&file, "nonsense").unwrap();
    running.signal(Signal::SIGHUP);
    assert!(told().starts_with("RELOADING=1\n"));
    assert_eq!(told(), "READY=1\n");
    assert!(get(web).ends_with("\r\n\r\nb"));

    running.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn what_keeps_it_from_starting_is_said_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("balancer.toml");
    let path = file.to_str().unwrap();
    let failed = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(failed(&["--config", path]).contains("cannot be read"));

    std::fs::write(&file, "[[listener]]\nname = \"web\"\nmode = \"sctp\"\npolicy = 3\n").unwrap();
    let errors = failed(&["--config", path]);
    assert!(errors.contains(":3") && errors.contains("sctp") && errors.contains("policy"), "{errors}");

    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(&file, config(occupied.local_addr().unwrap(), free())).unwrap();
    let error = failed(&["--config", path]);
    assert!(error.contains("listener `web`") && error.contains("in use"), "{error}");
}

#[test]
fn help_names_every_option_and_signal() {
    let output = run(&["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for word in ["--config", "--workers", "--control-socket", "SIGHUP", "SIGTERM", "evenkeel check"] {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
    assert!(output.status.success());
}
