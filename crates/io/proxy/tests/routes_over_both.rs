//! What routes promise, in HTTP/1.1 and in HTTP/2: each case holds in both.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use support::{
    Plane, answering,
    both::{Asked, BOTH, Client, Got, Over},
    config, eventually, field, named, nobody, ok,
};

/// `anna` with the password `open sesame`, made by `openssl passwd -6`.
const ANNA: &str =
    "$6$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAucjEsL95TW5MDF/7KcC3bcG5NoxZbmB6Lh82fxg8soAZ0";

const ROUTES: &str = r#"
[[route]]
name = "old"
path_prefix = "/old"
redirect = { to = "https://{host}/new{rest}{query}", status = 308 }
response_header = { set = { X-By = "{route}" } }
[[route]]
path = "/gone"
respond = { status = 410, body = "<h1>gone</h1>", content_type = "text/html" }
[[route]]
path = "/empty"
respond = { status = 204 }
[[route]]
path_prefix = "/admin"
respond = { status = 403 }
[[route]]
name = "api"
path_prefix = "/api"
method = ["GET", "POST"]
rewrite = "/v2{rest}?by={route}"
request_header = { set = { X-Real = "{client}", Host = "inner" }, add = { X-Host = "{host}", X-Scheme = "{scheme}" }, remove = ["X-Secret"] }
response_header = { set = { X-Two = "two" }, add = { X-Two = "too" }, remove = ["Server"] }
[[route]]
path_regex = "/user/(?<id>[0-9]+)"
rewrite = "/people/{id}"
[[route]]
path = "/beta"
header = { X-Beta = { prefix = "yes" } }
query = { v = "2" }
respond = { status = 218 }
[[route]]
host = "*.example.org"
respond = { status = 219 }
[[route]]
path_prefix = "/closed"
maintenance = { body = "back at nine", retry_after = "30m" }
[[route]]
path_prefix = "/open"
maintenance = { exempt = "127.0.0.0/8" }
[[route]]
path = "/staff"
basic_auth = { realm = "staff only", users = { anna = "ANNA" } }
[[route]]
path = "/limited"
rate_limit = { requests = 1, per = "1h", burst = 2, by = "header:X-Key" }
[[route]]
path = "/pages"
compress = true
[[route]]
path = "/late"
pool = "silent"
deadlines = { server_head = "100ms" }
[[route]]
path = "/over"
pool = "silent"
deadlines = { total = "100ms" }
"#;

/// Answers with the head that it got; below /page with a page that can be compressed.
fn origin() -> SocketAddr {
    answering(|head, _| {
        let body = if head.contains(" /pages ") { "<p>page</p>".repeat(1000) } else { head.to_owned() };
        let head = "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Type: text/html\r\nETag: \"v1\"\r\nX-Two: 2\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
}

/// A pool of one server.
fn pool(name: &str, server: SocketAddr) -> String {
    format!("[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"{name}\"\naddress = \"{server}\"\n")
}

fn plane(server: SocketAddr, rest: &str) -> Plane {
    Plane::start(&config("http", &[server], "", "").replace("[admin]", &format!("{rest}\n[admin]")), 2)
}

/// A request and what comes of it.
struct Case {
    asked: Asked<'static>,
    status: u16,
    /// Fields of the answer; `None` for those that must not be there.
    fields: &'static [(&'static str, Option<&'static str>)],
    /// What the content has: of an echo the head that the server got.
    has: &'static [&'static str],
    has_not: &'static [&'static str],
}

impl Case {
    const fn new(asked: Asked<'static>, status: u16) -> Self {
        Self { asked, status, fields: &[], has: &[], has_not: &[] }
    }

    const fn fields(self, fields: &'static [(&'static str, Option<&'static str>)]) -> Self {
        Self { fields, ..self }
    }

    const fn has(self, has: &'static [&'static str]) -> Self {
        Self { has, ..self }
    }

    const fn has_not(self, has_not: &'static [&'static str]) -> Self {
        Self { has_not, ..self }
    }

    fn assert(&self, over: Over, got: &Got) {
        let named = format!("{over:?} {} {}", self.asked.method, self.asked.path);
        assert_eq!(got.status, self.status, "{named}");
        for (name, value) in self.fields {
            assert_eq!(got.field(name), *value, "{named}: {name}");
        }
        let text = String::from_utf8_lossy(&got.body).to_lowercase();
        for part in self.has {
            assert!(text.contains(&part.to_lowercase()), "{named}: no {part} in {text}");
        }
        for part in self.has_not {
            assert!(!text.contains(&part.to_lowercase()), "{named}: {part} in {text}");
        }
    }
}

const fn asked(method: &'static str, path: &'static str) -> Asked<'static> {
    Asked { method, ..Asked::get(path) }
}

const LOGIN: &[(&str, &str)] = &[("authorization", "Basic YW5uYTpvcGVuIHNlc2FtZQ==")];
const WRONG: &[(&str, &str)] = &[("authorization", "Basic YW5uYTp3cm9uZw==")];

/// Each stands for itself: no case changes what another one gets.
const CASES: &[Case] = &[
    Case::new(asked("GET", "/"), 200).has(&["GET / HTTP/1.1\r\n"]),
    Case::new(asked("GET", "/old/x?y"), 308)
        .fields(&[("location", Some("https://site/new/x?y")), ("x-by", Some("old"))]),
    Case::new(asked("POST", "/old"), 308).fields(&[("location", Some("https://site/new"))]),
    Case::new(asked("GET", "/gone"), 410)
        .fields(&[("content-type", Some("text/html")), ("content-length", Some("13"))])
        .has(&["<h1>gone</h1>"]),
    Case::new(asked("HEAD", "/gone"), 410).fields(&[("content-length", Some("13"))]).has_not(&["gone"]),
    Case::new(asked("GET", "/empty"), 204).fields(&[("content-length", None)]),
    Case::new(asked("GET", "/admin/x"), 403),
    Case::new(asked("GET", "//%61dmin"), 403),
    Case::new(asked("GET", "/x/../admin"), 403),
    Case::new(asked("GET", "/x/%2e%2e/admin"), 403),
    Case::new(asked("GET", "/%2fadmin"), 400),
    Case::new(asked("GET", "/.."), 400),
    Case::new(asked("GET", "/x/..;/admin"), 400),
    Case::new(asked("GET", "/a//b/./%41?x=//%41"), 200).has(&["GET /a/b/A?x=//%41 HTTP/1.1"]),
    Case::new(
        asked("GET", "/api/users?id=1").with(&[("x-secret", "s"), ("x-real", "forged"), ("x-secret", "t")]),
        200,
    )
    .fields(&[("server", None), ("x-two", Some("two"))])
    .has(&[
        "GET /v2/users?by=api&id=1 HTTP/1.1",
        "x-real: 127.0.0.1",
        "host: inner",
        "x-host: site",
        "x-scheme: http",
    ])
    .has_not(&["forged", "x-secret"]),
    Case::new(Asked { body: b"hi", ..asked("POST", "/api") }, 200).has(&["POST /v2?by=api HTTP/1.1"]),
    Case::new(Asked { body: b"hi", ..asked("PUT", "/api") }, 200).has(&["PUT /api HTTP/1.1"]),
    Case::new(asked("GET", "/user/42"), 200).has(&["GET /people/42 HTTP/1.1"]),
    Case::new(asked("GET", "/user/42/x"), 200).has(&["GET /user/42/x HTTP/1.1"]),
    Case::new(asked("GET", "/beta?v=2").with(&[("x-beta", "yes, please")]), 218),
    Case::new(asked("GET", "/beta?v=2"), 200),
    Case::new(asked("GET", "/beta?v=1").with(&[("x-beta", "yes")]), 200),
    Case::new(Asked { host: "www.Example.org:80", ..asked("GET", "/") }, 219),
    Case::new(Asked { host: "example.org", ..asked("GET", "/") }, 200),
    Case::new(asked("GET", "/closed/x"), 503)
        .fields(&[("retry-after", Some("1800")), ("cache-control", Some("no-store"))])
        .has(&["back at nine"]),
    Case::new(asked("GET", "/open"), 200),
    Case::new(asked("GET", "/staff"), 401)
        .fields(&[("www-authenticate", Some("Basic realm=\"staff only\", charset=\"UTF-8\""))]),
    Case::new(asked("GET", "/staff").with(WRONG), 401),
    Case::new(asked("GET", "/staff").with(LOGIN), 200).has(&["GET /staff HTTP/1.1"]),
    Case::new(asked("GET", "/pages"), 200).fields(&[
        ("content-encoding", None),
        ("vary", Some("Accept-Encoding")),
        ("etag", Some("\"v1\"")),
        ("content-length", Some("11000")),
    ]),
    Case::new(asked("GET", "/pages").with(&[("accept-encoding", "br;q=0.5, gzip")]), 200).fields(&[
        ("content-encoding", Some("gzip")),
        ("vary", Some("Accept-Encoding")),
        ("etag", Some("W/\"v1\"")),
        ("content-length", None),
    ]),
    Case::new(asked("HEAD", "/pages").with(&[("accept-encoding", "gzip")]), 200)
        .fields(&[("content-encoding", None), ("content-length", Some("11000"))]),
    Case::new(asked("GET", "/late"), 504).has(&["the server did not answer in time"]),
    Case::new(asked("GET", "/over"), 504).has(&["the route's time was over"]),
];

#[test]
fn every_case_holds_in_both_protocols_on_connections_of_their_own_and_on_one() {
    let silent = support::server(|mut peer| while peer.head().is_some() {});
    let rest = ROUTES.replace("ANNA", ANNA)
        + &pool("silent", silent)
        + "[pool.ejection]\nconsecutive_failures = 1000\n";
    let plane = plane(origin(), &rest);
    for over in BOTH {
        for case in CASES {
            case.assert(over, &Client::new(&plane, over).ask(&case.asked));
        }
        // Refusals of a head end a connection of HTTP/1.1, as do errors of ours.
        let ends = |case: &&Case| over == Over::Http1 && matches!(case.status, 400 | 504);
        let mut client = Client::new(&plane, over);
        for case in CASES.iter().filter(|case| !ends(case)) {
            case.assert(over, &client.ask(&case.asked));
        }
    }
}

#[test]
fn a_compressed_page_is_the_page() {
    let plane =
        plane(origin(), ROUTES.replace("ANNA", ANNA).split("[[route]]\npath = \"/late\"").next().unwrap());
    let page = "<p>page</p>".repeat(1000).into_bytes();
    for over in BOTH {
        let mut client = Client::new(&plane, over);
        for coding in ["gzip", "br", "zstd"] {
            let got = client.ask(&Asked::get("/pages").with(&[("accept-encoding", coding)]));
            let mut plain = Vec::new();
            match coding {
                "gzip" => {
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&got.body[..]), &mut plain)
                }
                "br" => std::io::Read::read_to_end(
                    &mut brotli::Decompressor::new(&got.body[..], 4096),
                    &mut plain,
                ),
                _ => zstd::stream::decode_all(&got.body[..])
                    .map(|all| std::mem::replace(&mut plain, all).len()),
            }
            .unwrap();
            assert!(
                plain == page && got.body.len() < page.len() / 20,
                "{over:?} {coding}: {}",
                got.body.len()
            );
            assert_eq!(got.field("content-encoding"), Some(coding));
        }
    }
}

#[test]
fn a_rate_is_one_for_both_protocols() {
    let plane = plane(
        named("app"),
        "[[route]]\npath = \"/x\"\nrate_limit = { requests = 1, per = \"1h\", burst = 4 }\n",
    );
    for over in [Over::Http1, Over::Http2, Over::Http1, Over::Http2] {
        assert_eq!(Client::new(&plane, over).get("/x").status, 200, "{over:?}");
    }
    for over in BOTH {
        let refused = Client::new(&plane, over).get("/x");
        assert_eq!(refused.status, 429, "{over:?}");
        let after: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&after));
        assert_eq!(refused.field("ratelimit-policy"), Some("\"burst\";q=4, \"rate\";q=1;w=3600"));
        assert!(refused.text().contains("too many requests"));
        assert_eq!(Client::new(&plane, over).get("/").status, 200);
    }
}

#[test]
fn a_client_gets_the_same_pool_in_both_protocols() {
    let rest = |weight: u32| {
        pool("canary", named("canary"))
            + &format!(
                "[[route]]\npools = [{{ name = \"canary\", weight = {weight} }}, {{ name = \"app\", weight = {} }}]\n",
                100 - weight
            )
    };
    for weight in [1, 20, 40, 60, 80, 99] {
        let plane = plane(named("app"), &rest(weight));
        let bodies = BOTH.map(|over| Client::new(&plane, over).get("/").body);
        assert_eq!(bodies[0], bodies[1], "{weight} %");
        let again = BOTH.map(|over| Client::new(&plane, over).get("/x").body);
        assert_eq!(again, bodies);
    }
}

#[test]
fn copies_are_sent_of_requests_in_both_protocols() {
    let copies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&copies);
    let shadow = answering(move |head, _| {
        kept.lock().unwrap().push(head.lines().next().unwrap().to_owned());
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let rest = pool("shadow", shadow)
        + support::QUICK
        + "[pool.ejection]\nconsecutive_failures = 1000\n\
           [[route]]\npath_prefix = \"/x\"\nrewrite = \"/y{rest}\"\nmirror = { pool = \"shadow\" }\n";
    let plane = plane(named("app"), &rest);
    for over in BOTH {
        for n in 0..5 {
            assert_eq!(Client::new(&plane, over).get(&format!("/x/{over:?}{n}")).text(), "app");
        }
        assert_eq!(Client::new(&plane, over).get("/other").text(), "app");
    }
    let mut seen = eventually("ten copies", || {
        let copies = copies.lock().unwrap();
        (copies.len() >= 10).then(|| copies.clone())
    });
    seen.sort();
    let mut expected: Vec<_> =
        BOTH.iter().flat_map(|over| (0..5).map(move |n| format!("GET /y/{over:?}{n} HTTP/1.1"))).collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn an_unwanted_answer_is_asked_for_elsewhere_in_both_protocols() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let bad = answering(move |_, _| {
        counted.fetch_add(1, SeqCst);
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad".to_vec()
    });
    let quiet = "[pool.ejection]\nconsecutive_failures = 1000\n[pool.retry]\nbudget_per_mille = 1000\n";
    let route = "[[route]]\npath_prefix = \"/r\"\nretry = { status = [503] }\n";
    let text =
        config("http", &[bad, named("good")], quiet, "").replace("[admin]", &format!("{route}\n[admin]"));
    let plane = Plane::start(&text, 1);
    for over in BOTH {
        let before = asked.load(SeqCst);
        let mut client = Client::new(&plane, over);
        for _ in 0..6 {
            assert_eq!(client.get("/r").text(), "good", "{over:?}");
        }
        assert!(asked.load(SeqCst) >= before + 2, "the bad server was asked first in turn");
        let post = Asked { method: "POST", body: b"hi", ..Asked::get("/r") };
        let statuses: Vec<_> = (0..4).map(|_| client.ask(&post).status).collect();
        assert!(statuses.contains(&503), "{over:?}: an order is not given twice: {statuses:?}");
    }
}

#[test]
fn errors_have_the_page_of_the_route_then_of_the_listener_then_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let page = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{name} {{status}} {{request_id}}")).unwrap();
        path.display().to_string()
    };
    let (route, listener, all) = (page("route"), page("listener"), page("all"));
    let rest = format!(
        "[error_pages]\n4xx = \"{all}\"\n\"503\" = \"{all}\"\n5xx = \"{all}\"\n\
         [[route]]\npath = \"/own\"\nerror_pages = {{ \"502\" = \"{route}\" }}\n\
         [[route]]\npath = \"/staff\"\nbasic_auth = {{ users = {{ anna = \"{ANNA}\" }} }}\n"
    );
    let text = config("http", &[nobody()], "", "[limits]\nrequest_body_bytes = 10\n")
        .replace("[admin]", &format!("{rest}\n[admin]"))
        .replacen(
            "pool = \"app\"\n",
            &format!(
                "pool = \"app\"\nerror_pages = {{ \"413\" = \"{listener}\", \"502\" = \"{listener}\" }}\n"
            ),
            1,
        );
    let plane = Plane::start(&text, 2);
    for over in BOTH {
        let big = Asked { method: "POST", body: b"more than ten bytes", ..Asked::get("/") };
        for (asked, page, status) in [
            (Asked::get("/own"), "route", 502),
            (Asked::get("/"), "listener", 502),
            (big, "listener", 413),
            (Asked::get("/staff"), "all", 401),
            (Asked::get("/%zz"), "all", 400),
        ] {
            let got = Client::new(&plane, over).ask(&asked);
            let id = got.field("x-request-id").unwrap_or_default().to_owned();
            assert_eq!(got.text(), format!("{page} {status} {id}"), "{over:?} {}", asked.path);
            assert!(got.field("content-type").unwrap().starts_with("text/html"));
        }
    }
    let missing = text
        .replace(&listener, "/nowhere/page.html")
        .replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{}\"", plane.address()));
    let sentences = plane.apply(&missing).unwrap_err().sentences();
    assert!(
        sentences[0].starts_with("listener `web`: the page `/nowhere/page.html` cannot be read"),
        "{sentences:?}"
    );
}

/// One id: in the template for the server, in that for the client, in the access log, and in an error of ours.
#[test]
fn a_request_has_one_id_wherever_it_is_named() {
    const SET: &str = "set = { X-Id = \"{request_id}\" }";
    let echo = answering(|head, _| {
        ok(field(head, "x-id").or(field(head, "x-request-id")).unwrap_or("none").as_bytes())
    });
    let routes = format!(
        "[[route]]\npath_prefix = \"/named\"\nrequest_header = {{ {SET} }}\nresponse_header = {{ {SET} }}\n\
         [[route]]\npath_prefix = \"/moved\"\nredirect = \"/x?id={{request_id}}\"\n\
         [[route]]\npath_prefix = \"/dead\"\npool = \"dead\"\nrequest_header = {{ {SET} }}\n\
         [[route]]\npath_prefix = \"/shut\"\nmaintenance = true\nresponse_header = {{ {SET} }}\n"
    );
    for ids in ["", "forward = { fields = [\"x-request-id\"] }\n"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let rest = format!("[access_log]\npath = \"{}\"\n{routes}{}", log.display(), pool("dead", nobody()));
        let text = config("http", &[echo], "", "").replace("[admin]", &format!("{rest}\n[admin]")).replacen(
            "pool = \"app\"\n",
            &format!("pool = \"app\"\n{ids}"),
            1,
        );
        let plane = Plane::start(&text, 1);
        let logged = |target: &str| {
            eventually("the line", || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
                let found: serde_json::Value =
                    lines.find(|line: &serde_json::Value| line["target"] == target)?;
                Some(found["request_id"].as_str().unwrap().to_owned())
            })
        };
        for over in BOTH {
            let ask = |kind: &str| {
                let target = format!("/{kind}/{over:?}");
                let got = Client::new(&plane, over).get(&target);
                (got, logged(&target))
            };
            let (named, id) = ask("named");
            assert_eq!((named.field("x-id"), named.text()), (Some(&*id), &*id), "{over:?} {ids}");
            let (moved, id) = ask("moved");
            assert_eq!(moved.field("location"), Some(&*format!("/x?id={id}")), "{over:?} {ids}");
            let (shut, id) = ask("shut");
            assert_eq!(
                (shut.field("x-id"), shut.field("x-request-id")),
                (Some(&*id), Some(&*id)),
                "{over:?} {ids}"
            );
            assert!(shut.text().contains(&id));
            let (dead, id) = ask("dead");
            assert_eq!((dead.status, dead.field("x-request-id")), (502, Some(&*id)), "{over:?} {ids}");
            let (plain, id) = ask("plain");
            assert_eq!(plain.text(), if ids.is_empty() { "none" } else { &*id }, "{over:?}");
        }
    }
}
