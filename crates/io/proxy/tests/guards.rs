//! What routes do beyond choosing: passwords, compression, copies for another pool, and the form of errors.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use support::{Answer, Plane, answering, config, eventually, field, named, nobody, ok, server};

fn plane(app: SocketAddr, rest: &str) -> Plane {
    Plane::start(&config("http", &[app], "", "").replace("[admin]", &format!("{rest}\n[admin]")), 2)
}

/// `anna` with the password `open sesame`, made by `openssl passwd -6`.
const ANNA: &str =
    "$6$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAucjEsL95TW5MDF/7KcC3bcG5NoxZbmB6Lh82fxg8soAZ0";

/// `ben` with the password `open sesame`, made by `openssl passwd -5`.
const BEN: &str = "$5$saltstring$sOFRiuqOzKEQCZAIFmMrCbPuMEMUPOi/BmBpBwWMgW3";

/// `GET path` with credentials, which are `user:password` in base64.
fn login(plane: &Plane, path: &str, credentials: &str) -> Answer {
    plane
        .client()
        .ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\n\r\n"))
}

#[test]
fn a_guarded_route_wants_a_name_and_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("# staff\nben:{BEN}\n")).unwrap();
    let route = format!(
        "[[route]]\npath_prefix = \"/staff\"\nbasic_auth = {{ realm = \"staff only\", users = {{ anna = \"{ANNA}\" }}, file = \"{}\" }}\n",
        file.display()
    );
    let plane = plane(named("app"), &route);
    let asked = plane.client().get("/staff/x");
    assert_eq!(
        (asked.status, field(&asked.head, "www-authenticate")),
        (401, Some("Basic realm=\"staff only\", charset=\"UTF-8\""))
    );
    for (credentials, status) in [
        ("YW5uYTpvcGVuIHNlc2FtZQ==", 200), // anna:open sesame
        ("YW5uYTpvcGVuIHNlc2FtZQ==", 200), // again, remembered
        ("YmVuOm9wZW4gc2VzYW1l", 200),     // ben:open sesame
        ("YW5uYTp3cm9uZw==", 401),         // anna:wrong
        ("bm9ib2R5Om9wZW4gc2VzYW1l", 401), // nobody:open sesame
        ("bm9jb2xvbg==", 401),             // nocolon
        ("***", 401),
    ] {
        assert_eq!(login(&plane, "/staff", credentials).status, status, "{credentials}");
    }
    assert_eq!(plane.client().get("/open").status, 200);
    assert_eq!(plane.client().get("/x/../%73taff").status, 401);
    let broken = route.replace(&file.display().to_string(), &nobody().to_string());
    assert!(!broken.is_empty());
    std::fs::write(&file, "carl:plaintext\n").unwrap();
    let bind = format!("bind = \"{}\"", plane.address());
    let again = config("http", &[named("b")], "", "").replace("bind = \"127.0.0.1:0\"", &bind);
    let sentences =
        plane.apply(&again.replace("[admin]", &format!("{route}\n[admin]"))).unwrap_err().sentences();
    assert!(sentences.len() == 1 && sentences[0].contains("line 1 is not `user:hash`"), "{sentences:?}");
}

/// Slow checks happen off the worker: requests of other routes go on while they run.
#[test]
fn checking_passwords_delays_nobody_else() {
    let slow = bcrypt::hash("right", 11).unwrap();
    let route = format!("[[route]]\npath = \"/slow\"\nbasic_auth = {{ users = {{ anna = \"{slow}\" }} }}\n");
    let plane = Plane::start(
        &config("http", &[named("app")], "", "").replace("[admin]", &format!("{route}\n[admin]")),
        1,
    );
    let mut waiting: Vec<_> = (0..4).map(|_| plane.client()).collect();
    for client in &mut waiting {
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uYTp3cm9uZw==\r\n\r\n");
    }
    let began = Instant::now();
    let mut other = plane.client();
    let fast: Vec<Duration> = (0..20)
        .map(|_| {
            let asked = Instant::now();
            assert_eq!(other.get("/").status, 200);
            asked.elapsed()
        })
        .collect();
    let others = began.elapsed();
    for client in &mut waiting {
        assert_eq!(client.answer(false).unwrap().status, 401);
    }
    assert!(others < began.elapsed(), "20 requests {fast:?} were over before 4 checks");
}

fn html(body: &[u8], fields: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn ask(plane: &Plane, path: &str, accept: &str) -> Answer {
    plane.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accept}\r\n\r\n"))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut plain).unwrap();
    plain
}

#[expect(clippy::too_many_lines, reason = "a table of answers")]
#[test]
fn answers_are_compressed_where_that_is_asked_for_and_allowed() {
    let page = "<p>many words and the same words again</p>".repeat(2000).into_bytes();
    let long = page.clone();
    let server = answering(move |head, _| {
        let path = head.split(' ').nth(1).unwrap();
        match path {
            "/page" => html(&long, "ETag: \"v1\"\r\nAccept-Ranges: bytes\r\n"),
            "/short" => html(b"short", ""),
            "/fixed" => html(&long, "Cache-Control: private, no-transform\r\n"),
            "/coded" => html(&long, "Content-Encoding: br\r\n"),
            "/part" => html(&long, "Content-Range: bytes 0-1/2\r\n"),
            "/chunked" => {
                let mut answer =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n"
                        .to_vec();
                for part in long.chunks(10_000) {
                    answer.extend(format!("{:x}\r\n", part.len()).bytes());
                    answer.extend_from_slice(part);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"0\r\n\r\n");
                answer
            }
            _ => ok(&long),
        }
    });
    let plane = plane(server, "[[route]]\ncompress = true\n");
    for path in ["/page", "/chunked"] {
        let answer = ask(&plane, path, "gzip");
        assert_eq!(
            (field(&answer.head, "content-encoding"), field(&answer.head, "vary")),
            (Some("gzip"), Some("Accept-Encoding"))
        );
        assert_eq!(
            (field(&answer.head, "content-length"), field(&answer.head, "accept-ranges")),
            (None, None)
        );
        assert!(
            gunzip(&answer.body) == page && answer.body.len() < page.len() / 20,
            "{path}: {}",
            answer.body.len()
        );
    }
    let answer = ask(&plane, "/page", "br, gzip");
    assert_eq!(
        (field(&answer.head, "content-encoding"), field(&answer.head, "etag")),
        (Some("br"), Some("W/\"v1\""))
    );
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut brotli::Decompressor::new(&answer.body[..], 4096), &mut plain).unwrap();
    assert!(plain == page);
    let answer = ask(&plane, "/page", "zstd");
    assert!(zstd::stream::decode_all(&answer.body[..]).unwrap() == page);
    let plain = ask(&plane, "/page", "identity");
    assert_eq!(
        (plain.body == page, field(&plain.head, "vary"), field(&plain.head, "etag")),
        (true, Some("Accept-Encoding"), Some("\"v1\""))
    );
    for path in ["/short", "/fixed", "/coded", "/part", "/untyped"] {
        let answer = ask(&plane, path, "gzip");
        assert!(
            field(&answer.head, "content-encoding").is_none_or(|coding| coding == "br"),
            "{path}: {}",
            answer.head
        );
        assert!(answer.body == page || path == "/short", "{path}");
    }
    let head = plane.client().ask("HEAD /page HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(field(&head.head, "content-encoding"), None);
    let old = plane.client().ask("GET /page HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(old.body == page);
    let mut kept = plane.client();
    for _ in 0..3 {
        let answer = kept.ask("GET /page HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        assert!(gunzip(&answer.body) == page, "the connection stays");
    }
}

/// What a server has sent before it pauses can be read before it goes on.
#[test]
fn a_stream_is_compressed_piece_by_piece() {
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = server(move |mut peer| {
        while peer.head().is_some() {
            let head =
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            peer.stream.write_all(head).unwrap();
            for part in ["data: one\n\n", "data: two\n\n"] {
                peer.stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            peer.stream.write_all(b"0\r\n\r\n").unwrap();
        }
    });
    let plane = plane(server, "[[route]]\ncompress = { codings = \"gzip\" }\n");
    let mut client = plane.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.0.head().unwrap();
    assert_eq!(field(&head, "content-encoding"), Some("gzip"));
    let mut coded = Vec::new();
    let mut seen = |client: &mut support::Client, wanted: &str| {
        eventually(wanted, || {
            let size = client.0.take(1);
            coded.extend(size);
            let mut content = Vec::new();
            let mut rest = &coded[..];
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
                let Some(data) = rest.get(end + 2..end + 2 + size) else { break };
                content.extend_from_slice(data);
                rest = rest.get(end + 4 + size..).unwrap_or_default();
            }
            let mut plain = Vec::new();
            let _ = std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&content[..]), &mut plain);
            String::from_utf8(plain).unwrap().contains(wanted).then_some(())
        });
    };
    seen(&mut client, "data: one\n\n");
    go_on.send(()).unwrap();
    seen(&mut client, "data: two\n\n");
    go_on.send(()).unwrap();
}

#[test]
fn copies_go_to_another_pool_and_the_client_never_waits_for_them() {
    let copied = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&copied);
    let shadow = answering(move |head, body| {
        assert!(head.starts_with("POST /x ") && body == b"hi");
        counted.fetch_add(1, SeqCst);
        b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops".to_vec()
    });
    let mirror = |address: SocketAddr, more: &str| {
        format!(
            "[[pool]]\nname = \"shadow\"\n[[pool.server]]\nname = \"s\"\naddress = \"{address}\"\n\
             [pool.ejection]\nconsecutive_failures = 1000\n\
             [[route]]\nmirror = {{ pool = \"shadow\"{more} }}\n"
        )
    };
    let post = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let all = plane(named("app"), &mirror(shadow, ""));
    for _ in 0..10 {
        assert_eq!(all.client().ask(post).body, b"app");
    }
    eventually("ten copies", || (copied.load(SeqCst) == 10).then_some(()));
    let some = Plane::start(
        &config("http", &[named("app")], "", "")
            .replace("[admin]", &format!("{}\n[admin]", mirror(shadow, ", per_mille = 250"))),
        1,
    );
    let mut client = some.client();
    for _ in 0..20 {
        assert_eq!(client.ask(post).body, b"app");
    }
    eventually("a quarter of them", || (copied.load(SeqCst) == 15).then_some(()));
    // A pool that never answers costs the clients nothing.
    let silent = server(|mut peer| while peer.head().is_some() {});
    let dead = plane(named("app"), &mirror(silent, ", in_flight = 2"));
    let began = Instant::now();
    let mut client = dead.client();
    for _ in 0..100 {
        assert_eq!(client.ask(post).body, b"app");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn errors_come_in_the_form_that_the_client_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sorry.html");
    std::fs::write(&file, "<h1>Sorry</h1> {status} {request_id}").unwrap();
    let plane = plane(
        nobody(),
        &format!(
            "[error_pages]\n\"503\" = \"{0}\"\n[[route]]\npath = \"/own\"\nerror_pages = {{ 5xx = \"{0}\" }}\n",
            file.display()
        ),
    );
    let ask = |path: &str, accept: &str| {
        let answer =
            plane.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
        let kind = field(&answer.head, "content-type").unwrap().to_owned();
        let id = field(&answer.head, "x-request-id").unwrap().to_owned();
        let body = String::from_utf8(answer.body).unwrap();
        assert!(answer.status >= 500 && body.contains(&id), "{body}");
        (kind, body)
    };
    let (kind, body) = ask("/", "application/json");
    assert!(kind == "application/problem+json", "{kind}");
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(problem["status"].as_u64().is_some_and(|status| status >= 500));
    let (kind, body) = ask("/", "text/html,*/*;q=0.8");
    assert!(
        kind.starts_with("text/html") && body.starts_with("<!doctype html>") || body.contains("Sorry"),
        "{body}"
    );
    assert!(ask("/", "*/*").0.starts_with("text/plain") || ask("/", "*/*").1.contains("Sorry"));
    let (kind, body) = ask("/own", "*/*");
    assert!(kind.starts_with("text/html") && body.starts_with("<h1>Sorry</h1> 50"), "{body}");
}
