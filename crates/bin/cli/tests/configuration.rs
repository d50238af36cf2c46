//! `evenkeel check` and `evenkeel apply`, as the operator runs them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output},
    thread::{self, JoinHandle},
};

use tempfile::TempDir;

const GOOD: &str = r#"
[[listener]]
name = "web"
bind = "0.0.0.0:8080"
mode = "http"
pool = "app"

[[pool]]
name = "app"
[[pool.server]]
name = "app1"
address = "10.0.0.11:80"
"#;

const BAD: &str = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:8080\"\nmode = \"http\"\npool = \"app\"\n\
                   [[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"app1\"\naddress = \"app1:80\"\nweight = 0\n";

fn folder_with(name: &str, text: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join(name), text).expect("the folder can be written");
    folder
}

/// Runs the command in `folder`.
fn evenkeel(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).current_dir(folder).output();
    let Output { status, stdout, stderr } = run.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command prints UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_good_configuration_is_summed_up_in_a_line() {
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let (status, out, err) = evenkeel(folder.path(), &["check", "balancer.toml"]);
    assert_eq!(out, "balancer.toml: fine: 1 listener, 1 pool, 1 server\n");
    assert_eq!((status, err.as_str()), (Some(0), ""));
}

#[test]
fn every_error_is_printed_with_line_value_and_remedy() {
    let folder = folder_with("balancer.toml", BAD.as_bytes());
    let (status, out, err) = evenkeel(folder.path(), &["check", "balancer.toml"]);
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].starts_with("balancer.toml:10: pool[app].server[app1].address is `app1:80`; expected"));
    assert!(lines[1].starts_with("balancer.toml:11: pool[app].server[app1].weight is `0`; expected"));
    assert_eq!(lines[2], "evenkeel: balancer.toml: 2 errors; nothing was changed");
    assert_eq!((status, out.as_str()), (Some(1), ""));
}

#[test]
fn what_a_file_configures_is_told_by_its_name_or_by_the_operator() {
    let folder = folder_with("site.toml", GOOD.as_bytes());
    let (status, _, err) = evenkeel(folder.path(), &["check", "site.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("add --kind balancer or --kind agent"), "{err}");
    assert_eq!(evenkeel(folder.path(), &["check", "--kind", "balancer", "site.toml"]).0, Some(0));
    let (status, _, err) = evenkeel(folder.path(), &["check", "--kind", "agent", "site.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("site.toml:2: `listener` is not a known key"), "{err}");
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_named_with_its_remedy() {
    let folder = folder_with("balancer.toml", b"# fine\n\xff\n");
    let (status, _, err) = evenkeel(folder.path(), &["check", "balancer.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("balancer.toml:2: the text is not UTF-8"), "{err}");
    let (status, _, err) = evenkeel(folder.path(), &["check", "nowhere-balancer.toml"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("`nowhere-balancer.toml`: cannot be read; check the path"), "{err}");
}

/// A daemon that takes one request and gives `answer`; the request that it got.
fn daemon(socket: &Path, answer: &'static str) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).expect("the socket can be made");
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the command connects");
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        reader.read_line(&mut request).expect("the command sends a line");
        writeln!(reader.get_mut(), "{answer}").expect("the command reads the answer");
        request
    })
}

#[test]
fn apply_sends_the_text_as_it_is_and_tells_that_it_is_done() {
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let daemon = daemon(&folder.path().join("p.sock"), r#"{"done":{}}"#);
    let (status, out, err) = evenkeel(folder.path(), &["apply", "balancer.toml", "--socket", "p.sock"]);
    assert_eq!(out, "balancer.toml: applied: 1 listener, 1 pool, 1 server\n", "{err}");
    assert_eq!(status, Some(0));
    let request: serde_json::Value = serde_json::from_str(&daemon.join().unwrap()).unwrap();
    assert_eq!(request, serde_json::json!({"apply": {"text": GOOD}}));
}

#[test]
fn i8_apply_prints_what_the_daemon_refuses_and_fails() {
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let daemon =
        daemon(&folder.path().join("p.sock"), r#"{"refused":{"errors":["port 8080 is taken","and more"]}}"#);
    let (status, out, err) = evenkeel(folder.path(), &["apply", "balancer.toml", "--socket", "p.sock"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(
        err.starts_with("port 8080 is taken\nand more\nevenkeel: balancer.toml: the daemon refused it"),
        "{err}"
    );
    daemon.join().unwrap();
}

#[test]
fn i8_apply_sends_nothing_that_it_knows_to_be_wrong() {
    let folder = folder_with("balancer.toml", BAD.as_bytes());
    let (status, _, err) = evenkeel(folder.path(), &["apply", "balancer.toml", "--socket", "nobody.sock"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("2 errors; nothing was changed") && !err.contains("nobody.sock"), "{err}");
}

#[test]
fn apply_without_a_daemon_names_the_socket_and_the_remedy() {
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let (status, _, err) = evenkeel(folder.path(), &["apply", "balancer.toml", "--socket", "nobody.sock"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("`nobody.sock`: cannot be reached; is the daemon running"), "{err}");
}

const STATUS: &str = r#"{"done":{"version":"1.2.0","uptime_seconds":7,"workers":2,"draining":false,"listeners":[{"name":"web","address":"0.0.0.0:80","mode":"http","pool":"app","connections":3,"connections_total":9,"responses":41,"responses_5xx":1}],"pools":[{"name":"app","healthy":1,"servers":[{"name":"app1","address":"10.0.0.1:80","state":"draining","reason":"an operator lets it finish what it has","weight":50,"weight_ordered":true,"requests":41,"active":2,"idle_connections":0,"retries":0,"failures":1,"local_failures":0,"last_check":null}]}],"totals":{"requests":41,"server_errors":1,"median_us":900}}}"#;

#[test]
fn status_and_the_list_of_servers_show_what_the_daemon_tells() {
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let first = daemon(&folder.path().join("p.sock"), STATUS);
    let (status, out, err) = evenkeel(folder.path(), &["server", "list", "--socket", "p.sock"]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("app/app1  10.0.0.1:80  draining  50 (ordered)  2"), "{out}");
    assert_eq!(first.join().unwrap().trim(), r#"{"status":{}}"#);
    let second = daemon(&folder.path().join("q.sock"), STATUS);
    let (status, out, _) = evenkeel(folder.path(), &["status", "--once", "--socket", "q.sock"]);
    assert_eq!(status, Some(0));
    assert!(
        out.starts_with(
            "evenkeel-proxy 1.2.0: 2 workers, up 7 s\n41 answers, 1 of them 5xx, median 900 µs\n"
        ),
        "{out}"
    );
    second.join().unwrap();
}

#[test]
fn orders_about_a_server_are_sent_with_its_pool() {
    for (at, (arguments, request, out)) in [
        (
            vec!["drain", "app/app1"],
            r#"{"drain":{"pool":"app","server":"app1"}}"#,
            "app/app1: drains, 2 under way\n",
        ),
        (
            vec!["resume", "app/app1"],
            r#"{"resume":{"pool":"app","server":"app1"}}"#,
            "app/app1: in service again\n",
        ),
        (
            vec!["weight", "app/app1", "7"],
            r#"{"weight":{"pool":"app","server":"app1","weight":7}}"#,
            "app/app1: weight 7\n",
        ),
        (
            vec!["weight", "app/app1", "file"],
            r#"{"weight":{"pool":"app","server":"app1","weight":null}}"#,
            "app/app1: weight 7\n",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = folder_with("balancer.toml", GOOD.as_bytes());
        let name = format!("{at}.sock");
        let daemon =
            daemon(&folder.path().join(&name), r#"{"done":{"active":2,"weight":7,"draining":true}}"#);
        let (status, told, err) =
            evenkeel(folder.path(), &[&["server"], &arguments[..], &["--socket", &name]].concat());
        assert_eq!((status, told.as_str()), (Some(0), out), "{err}");
        assert_eq!(daemon.join().unwrap().trim(), request);
    }
    let folder = folder_with("balancer.toml", GOOD.as_bytes());
    let (status, _, err) = evenkeel(folder.path(), &["server", "drain", "app1", "--socket", "p.sock"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("server is `app1`; expected the names of its pool and its own"), "{err}");
}

/// A certificate for `name`, good through these years, and its key, in PEM.
fn certificate(name: &str, years: (i32, i32)) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    // The OCSP responses below are about this number.
    params.serial_number = Some(rcgen::SerialNumber::from(vec![7]));
    let made = params.self_signed(&key).expect("a certificate");
    (made.pem(), key.serialize_pem())
}

/// An element of DER, shorter than 128 bytes.
fn element(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    [vec![identifier, u8::try_from(value.len()).expect("it is short")], value].concat()
}

/// An OCSP response (RFC 6960 §4.2.1) that says this of the certificate with this number until 1 January of a year.
fn ocsp(said: &[u8], serial: u8, until: u16) -> Vec<u8> {
    let number = element(0x02, &[&[serial]]);
    let of = element(0x30, &[&element(0x30, &[]), &element(0x04, &[]), &element(0x04, &[]), &number]);
    let since = element(0x18, &[b"20200101000000Z"]);
    let until = element(0xa0, &[&element(0x18, &[format!("{until}0101000000Z").as_bytes()])]);
    let single = element(0x30, &[&of, said, &since, &until]);
    let data = element(0x30, &[&element(0xa2, &[&element(0x04, &[])]), &since, &element(0x30, &[&single])]);
    let basic = element(0x30, &[&data, &element(0x30, &[]), &element(0x03, &[&[0]])]);
    let kind = element(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = element(0x30, &[&kind, &element(0x04, &[&basic])]);
    element(0x30, &[&element(0x0a, &[&[0]]), &element(0xa0, &[&bytes])])
}

/// A configuration with every key that names a file; `DIR` stands where a path must be whole.
const FILES: &str = r#"
access_log = { path = "DIR/logs/access.log" }
[tracing]
endpoint = "https://127.0.0.1:4318"
ca = "collector.pem"
[[tracing.header]]
name = "authorization"
file = "token"
[error_pages]
"503" = "DIR/busy.html"
[[listener]]
name = "web"
bind = "0.0.0.0:8443"
mode = "http"
pool = "app"
error_pages = { 5xx = "DIR/web.html" }
[listener.tls]
certificate = "site.pem"
key = "site.key"
ocsp = "site.ocsp"
client_ca = "staff.pem"
[[listener.tls.more]]
certificate = "old.pem"
key = "old.key"
ocsp = "old.ocsp"
[listener.tls.acme]
domains = ["www.example.org"]
ca = "authority.pem"
storage = "acme"
agree_to_terms = true
[[route]]
name = "closed"
path = "/closed"
respond = { status = 503, file = "DIR/closed.html" }
[[route]]
path = "/staff"
maintenance = { file = "DIR/later.html" }
basic_auth = { realm = "staff", file = "DIR/users" }
error_pages = { "502" = "DIR/busy.html" }
[[pool]]
name = "app"
[pool.tls]
ca = "inner.pem"
certificate = "box.pem"
key = "box.key"
[pool.sticky]
cookie = "server"
secrets = "secrets"
[[pool.server]]
name = "app1"
address = "10.0.0.11:443"
"#;

/// A folder with [`FILES`] as its `balancer.toml`.
struct Checked(TempDir);

impl Checked {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        folder.write("balancer.toml", FILES.replace("DIR", &folder.path()));
        folder
    }

    /// All files are there, and nothing is wrong with them.
    fn filled() -> Self {
        let folder = Self::new();
        let (certificate, key) = certificate("site", (2020, 2100));
        for name in ["collector", "site", "staff", "old", "authority", "inner", "box"] {
            folder.write(&format!("{name}.pem"), &certificate);
        }
        for name in ["site", "old", "box"] {
            folder.write(&format!("{name}.key"), &key);
        }
        for name in ["site", "old"] {
            folder.write(&format!("{name}.ocsp"), ocsp(&[0x80, 0], 7, 2100));
        }
        for name in ["busy", "web", "closed", "later"] {
            folder.write(&format!("{name}.html"), "closed");
        }
        folder.write("token", "Bearer x\n");
        folder.write("users", "");
        folder.write("secrets", "0123456789abcdef0123456789abcdef\n");
        fs::create_dir(folder.0.path().join("logs")).expect("it is made");
        folder
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), text).expect("it is written");
    }

    /// What `evenkeel check` says, without the name of the configuration and with `DIR` for the folder.
    fn check(&self) -> Vec<String> {
        let (status, out, err) = evenkeel(self.0.path(), &["check", "balancer.toml"]);
        let good = out == "balancer.toml: fine: 1 listener, 1 pool, 1 server\n";
        assert_eq!(
            (status, good),
            if err.is_empty() { (Some(0), true) } else { (Some(1), false) },
            "{out}{err}"
        );
        let plain = |line: &str| line.replace(&self.path(), "DIR").replace("balancer.toml:", "");
        err.lines().map(plain).collect()
    }

    /// What it says are problems that start so, one of each and no others.
    fn finds(&self, starts: &[&str]) {
        let found = self.check();
        let errors = if starts.len() == 1 { "error" } else { "errors" };
        let end = format!("evenkeel:  {} {errors} in files that it names; ", starts.len());
        assert_eq!(found.len(), starts.len() + 1, "{}", found.join("\n"));
        for (line, start) in found.iter().zip(starts.iter().copied().chain([&end[..]])) {
            assert!(line.starts_with(start), "{line}\n{start}\n{}", found.join("\n"));
        }
    }
}

#[test]
fn every_file_that_is_missing_is_told_at_its_line() {
    let folder = Checked::new();
    folder.finds(&[
        "2: access_log.path: `DIR/logs/access.log`: cannot be written to",
        "5: tracing.ca: `collector.pem`: cannot be read",
        "8: tracing.header[authorization].file: `token`: cannot be read",
        "10: error_pages.503: [error_pages]: the page `DIR/busy.html` cannot be read",
        "16: listener[web].error_pages.5xx: listener `web`: the page `DIR/web.html` cannot be read",
        "18: listener[web].tls.certificate: `site.pem`: cannot be read",
        "19: listener[web].tls.key: `site.key`: cannot be read",
        "20: listener[web].tls.ocsp: `site.ocsp`: cannot be read",
        "21: listener[web].tls.client_ca: `staff.pem`: cannot be read",
        "23: listener[web].tls.more[1].certificate: `old.pem`: cannot be read",
        "24: listener[web].tls.more[1].key: `old.key`: cannot be read",
        "25: listener[web].tls.more[1].ocsp: `old.ocsp`: cannot be read",
        "28: listener[web].tls.acme.ca: `authority.pem`: cannot be read",
        "34: route[closed].respond.file: route `closed`: the page `DIR/closed.html` cannot be read",
        "37: route[2].maintenance.file: route `route-2`: the page `DIR/later.html` cannot be read",
        "38: route[2].basic_auth.file: route `route-2`: the file of users `DIR/users`: cannot be read",
        "39: route[2].error_pages.502: route `route-2`: the page `DIR/busy.html` cannot be read",
        "43: pool[app].tls.ca: `inner.pem`: cannot be read",
        "44: pool[app].tls.certificate: `box.pem`: cannot be read",
        "45: pool[app].tls.key: `box.key`: cannot be read",
        "48: pool[app].sticky.secrets: pool `app`: the secrets `secrets` cannot be read",
    ]);
    for line in &folder.check()[..21] {
        assert!(line.ends_with(": No such file or directory (os error 2)"), "{line}");
    }
    // On another machine the text alone is looked at.
    assert_eq!(evenkeel(folder.0.path(), &["check", "balancer.toml", "--no-files"]).0, Some(0));
    // From another folder the same files are looked for.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let filled = Checked::filled();
    let file = filled.0.path().join("balancer.toml").display().to_string();
    let (status, _, err) = evenkeel(elsewhere.path(), &["check", &file]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
}

#[test]
fn every_file_that_does_not_fit_is_told_at_its_line() {
    let folder = Checked::filled();
    assert_eq!(folder.check(), [""; 0]);
    let other = certificate("old", (2020, 2100));
    fs::create_dir(folder.0.path().join("logs/access.log")).expect("it is made");
    folder.write("acme", "a file where a folder must be");
    for name in ["collector.pem", "staff.pem", "authority.pem", "inner.pem", "old.pem"] {
        folder.write(name, "nothing");
    }
    folder.write("token", "two\nlines");
    folder.write("busy.html", b"\xff");
    folder.write("web.html", vec![b'x'; 2 << 20]);
    folder.write("site.key", &other.1);
    folder.write("old.ocsp", "not DER");
    folder.write("users", "anna:open sesame");
    folder.write("box.key", "-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n");
    folder.write("secrets", "short\n");
    folder.finds(&[
        "2: access_log.path: `DIR/logs/access.log`: cannot be written to",
        "5: tracing.ca: `collector.pem`: has no certificate",
        "8: tracing.header[authorization].file: `token`: not a field's value",
        "10: error_pages.503: [error_pages]: the error page `DIR/busy.html` is not UTF-8",
        "16: listener[web].error_pages.5xx: listener `web`: the page `DIR/web.html` is larger than",
        "19: listener[web].tls.key: `site.key`: not the key of `site.pem`",
        "21: listener[web].tls.client_ca: `staff.pem`: has no certificate",
        "23: listener[web].tls.more[1].certificate: `old.pem`: has no certificate",
        "25: listener[web].tls.more[1].ocsp: `old.ocsp`: not a successful OCSP response",
        "28: listener[web].tls.acme.ca: `authority.pem`: has no certificate",
        "29: listener[web].tls.acme.storage: `acme`: `acme` is not a folder",
        "38: route[2].basic_auth.file: route `route-2`: the file of users `DIR/users`: line 1 is not `user:hash`",
        "39: route[2].error_pages.502: route `route-2`: the error page `DIR/busy.html` is not UTF-8",
        "43: pool[app].tls.ca: `inner.pem`: has no certificate",
        "45: pool[app].tls.key: `box.key`: not the PEM that it begins as",
        "48: pool[app].sticky.secrets: pool `app`: the file of secrets `secrets`: ",
    ]);
}

#[test]
fn certificates_and_ocsp_responses_that_hold_no_more_or_not_yet_are_told() {
    let folder = Checked::filled();
    let (gone, coming) = (certificate("old", (2019, 2020)), certificate("site", (2099, 2100)));
    folder.write("old.pem", &gone.0);
    folder.write("old.key", &gone.1);
    folder.write("old.ocsp", ocsp(&[0x80, 0], 7, 2021));
    folder.write("site.pem", &coming.0);
    folder.write("site.key", &coming.1);
    folder.finds(&[
        "18: listener[web].tls.certificate: `site.pem`: begins only in ",
        "23: listener[web].tls.more[1].certificate: `old.pem`: expired ",
        "25: listener[web].tls.more[1].ocsp: `old.ocsp`: the OCSP response no longer holds; fetch it again",
    ]);

    let revoked = element(0xa1, &[&element(0x18, &[b"20200101000000Z"])]);
    for (said, serial, sentence) in [
        (&[0x80, 0][..], 8, "the OCSP response is about another certificate"),
        (&[0x82, 0], 7, "the OCSP response says that its authority does not know the certificate"),
        (&revoked, 7, "the OCSP response says that the certificate was revoked"),
    ] {
        let folder = Checked::filled();
        folder.write("site.ocsp", ocsp(said, serial, 2100));
        folder.finds(&[&format!("20: listener[web].tls.ocsp: `site.ocsp`: {sentence}")]);
    }
}

#[test]
fn a_certificate_and_its_key_may_be_one_file_and_what_is_wrong_is_told_at_the_right_key() {
    let folder = Checked::filled();
    let text = FILES.replace("\"box.key\"", "\"box.pem\"").replace("DIR", &folder.path());
    folder.write("balancer.toml", text);
    folder.finds(&["45: pool[app].tls.key: `box.pem`: has no private key"]);
    let (certificate, key) = certificate("box", (2020, 2100));
    folder.write("box.pem", certificate + &key);
    assert_eq!(folder.check(), [""; 0]);
}

#[test]
fn nothing_is_written_where_files_are_checked() {
    let folder = Checked::filled();
    folder.write("logs/access.log", "a line\n");
    assert_eq!(folder.check(), [""; 0]);
    assert_eq!(fs::read(folder.0.path().join("logs/access.log")).expect("it is there"), b"a line\n");
    fs::remove_file(folder.0.path().join("logs/access.log")).expect("it is removed");
    assert_eq!(folder.check(), [""; 0]);
    let left = fs::read_dir(folder.0.path().join("logs")).expect("it is there").count();
    assert_eq!((left, folder.0.path().join("acme").exists()), (0, false));
}
