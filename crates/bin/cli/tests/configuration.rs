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
