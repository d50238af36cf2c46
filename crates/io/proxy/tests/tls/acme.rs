//! Certificates by ACME, from a real authority for tests (pebble).

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::{
    certificates::Authority,
    clients::metric,
    peers::{Anyone, config, connect, shown},
    support::{Client, Plane, eventually, eventually_within, named, nobody},
};

/// The authority's program, where it is installed.
fn pebble() -> Option<&'static str> {
    let found =
        Command::new("pebble").arg("-help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIPPED: no `pebble` here (apt install pebble)");
    }
    found.then_some("pebble")
}

/// A running authority.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the authority; it looks for answers on these ports of `localhost`.
fn start(program: &str, folder: &Path, directory: SocketAddr, (http, tls): (u16, u16)) -> Running {
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "{{\"pebble\": {{\"listenAddress\": \"{directory}\", \"managementListenAddress\": \"\",
        \"certificate\": {:?}, \"privateKey\": {:?}, \"httpPort\": {http}, \"tlsPort\": {tls},
        \"ocspResponderURL\": \"\", \"externalAccountBindingRequired\": false}}}}",
        file("pebble.pem"),
        file("pebble.key")
    );
    std::fs::write(folder.join("pebble.json"), text).unwrap();
    let child = Command::new(program)
        .args(["-config", &file("pebble.json")])
        // Some nonces are refused, as any authority may.
        .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "20"), ("PEBBLE_AUTHZREUSE", "0")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn acme_lines(folder: &Path, directory: SocketAddr, challenge: &str) -> String {
    format!(
        "[listener.tls.acme]\ndomains = [\"localhost\"]\ncontacts = [\"ops@example.org\"]\n\
         directory = \"https://{directory}/dir\"\nca = \"{}\"\nstorage = \"{}\"\nchallenge = \"{challenge}\"\n\
         agree_to_terms = true\n",
        folder.join("ca.pem").display(),
        folder.join("state").display()
    )
}

#[test]
fn a_certificate_is_got_from_an_authority_by_either_challenge_and_kept() {
    let Some(program) = pebble() else { return };
    for challenge in ["tls-alpn-01", "http-01"] {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.write(folder.path(), "ca.pem");
        authority.issue(&["127.0.0.1"]).write(folder.path(), "pebble");
        let (directory, secure, plain) = (free(), free(), free());
        let _running = start(program, folder.path(), directory, (plain.port(), secure.port()));
        let text = |bind: SocketAddr| {
            let tls = acme_lines(folder.path(), directory, challenge);
            crate::clients::configuration("http", &tls, &[named("a")], "")
                .replacen("127.0.0.1:0\"\nmode", &format!("{bind}\"\nmode"), 1)
                .replacen(
                    "[[pool]]",
                    &format!("[[listener]]\nname = \"plain\"\nbind = \"{plain}\"\nmode = \"http\"\npool = \"app\"\n[[pool]]"),
                    1,
                )
        };
        eventually("the authority listens", || std::net::TcpStream::connect(directory).ok());
        let plane = Plane::start(&text(secure), 1);
        let anyone = {
            let mut config = (*config(&authority)).clone();
            config.dangerous().set_certificate_verifier(Arc::new(Anyone));
            Arc::new(config)
        };
        let first =
            shown(plane.address(), &anyone, "localhost").expect("a certificate from the first moment on");
        // Several orders may have to be begun anew, for a fifth of the nonces is refused.
        let issued = eventually_within(Duration::from_secs(60), "another certificate is shown", || {
            shown(plane.address(), &anyone, "localhost").filter(|shown| *shown != first)
        });
        assert!(metric(&plane, "evenkeel_tls_certificate_expiry_timestamp_seconds", &["web.pem"]) > 1.7e9);
        assert_eq!(connect(plane.address(), &anyone, "localhost").get("/").status, 200);
        let mut files: Vec<_> =
            std::fs::read_dir(folder.path().join("state")).unwrap().map(|file| file.unwrap()).collect();
        files.sort_by_key(std::fs::DirEntry::file_name);
        assert_eq!(files.len(), 2, "{files:?}");
        for file in &files {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
        }
        // A reload and a new start show what was issued, and ask for nothing.
        plane.reload().unwrap();
        assert_eq!(shown(plane.address(), &anyone, "localhost").as_ref(), Some(&issued));
        plane.begin_drain();
        plane.wait();
        drop(_running);
        let again = Plane::start(&text(free()), 1);
        assert_eq!(shown(again.address(), &anyone, "localhost").as_ref(), Some(&issued));
    }
}

#[test]
fn an_authority_that_is_gone_stands_in_nobodys_way() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(folder.path(), "ca.pem");
    let tls = acme_lines(folder.path(), nobody(), "tls-alpn-01");
    let plane = Plane::start(&crate::clients::configuration("http", &tls, &[named("a")], ""), 1);
    let mut config = (*config(&authority)).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Anyone));
    let config = Arc::new(config);
    for _ in 0..20 {
        assert_eq!(connect(plane.address(), &config, "localhost").get("/").status, 200);
        plane.reload().unwrap();
    }
    // Who asks for a challenge that nobody waits for gets nothing.
    let mut asking = (*config).clone();
    asking.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(shown(plane.address(), &Arc::new(asking), "localhost").is_none());
}

#[test]
fn a_path_of_an_authority_that_we_know_nothing_of_is_a_request_like_any_other() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(folder.path(), "ca.pem");
    let tls = acme_lines(folder.path(), nobody(), "http-01");
    let text = crate::clients::configuration("http", &tls, &[named("a")], "").replacen(
        "[[pool]]",
        "[[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n[[pool]]",
        1,
    );
    let plane = Plane::start(&text, 1);
    let mut client = Client::connect(plane.listener("plain"));
    assert_eq!(client.get("/.well-known/acme-challenge/someones-token").body, b"a");
}
