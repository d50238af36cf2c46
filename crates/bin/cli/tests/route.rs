//! `evenkeel route`: what an operator reads of a request that was never sent.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::process::Command;

/// Two listeners and two pools, as for the tests of routes themselves.
const BASE: &str = include_str!("../../../core/route/tests/data/base.toml");

const ROUTES: &str = r#"[[route]]
name = "api"
host = "www.example.org"
path_prefix = "/api"
method = ["GET", "HEAD"]
header = { X-Version = { prefix = "2." } }
pool = "canary"
rewrite = "/v2{rest}"
request_header = { set = { X-Client = "{client}" }, remove = ["Cookie"] }
rate_limit = { requests = 100, per = "1m", burst = 20 }
[[route]]
name = "secure"
path_prefix = "/login"
redirect = { to = "https://{host}{path}{query}", status = 301 }
[pool.sticky]
cookie = "srv"
"#;

fn explain(arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("balancer.toml");
    std::fs::write(&file, format!("{BASE}{ROUTES}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("route")
        .arg(&file)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), text.replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_request_is_explained_without_being_sent() {
    let (fine, text) = explain(&["https://www.example.org//api/%75sers?id=7", "--header", "X-Version: 2.1"]);
    let expected = "\
request   GET www.example.org//api/%75sers?id=7 at listener web
path      /api/users
route     api (balancer.toml:22)
matches   host www.example.org, path /api and below, method GET or HEAD, field x-version beginning with `2.`
limit     100 requests in 60s, 20 at once, for each client address; else 429
becomes   a request to pool canary
sticky    by the cookie `srv` to the server that answered last
asks for  /v2/users?id=7
request   gains X-Client: 127.0.0.1
request   loses cookie
";
    assert_eq!((fine, text.as_str()), (true, expected));
    let (fine, text) = explain(&["http://x/login?next=/"]);
    assert!(fine && text.contains("becomes   301 to https://x/login?next=/\n"), "{text}");
    let (fine, text) = explain(&["/", "--method", "POST"]);
    assert!(
        fine && text.contains("route     none that matches\nbecomes   a request to pool app\n"),
        "{text}"
    );
    let (fine, text) = explain(&["/a%2fb"]);
    assert!(
        fine && text.contains("becomes   400 Bad Request: the path has an escaped slash or backslash\n"),
        "{text}"
    );
}

#[test]
fn what_is_no_request_is_refused_with_the_remedy() {
    for (arguments, remedy) in [
        (&["ftp://x/"][..], "write the URL as a browser shows it"),
        (&["http://x/a b"], "escape them with `%`"),
        (&["/", "--header", "nothing"], "write `Name: value`"),
        (&["/", "--listener", "other"], "name one of the file's"),
    ] {
        let (fine, text) = explain(arguments);
        assert!(!fine && text.contains(remedy), "{arguments:?}: {text}");
    }
}
