//! Routes on the wire: which server a request reaches, in which form, and what is answered without one.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use support::{Client, Peer, Plane, answering, config, eventually, field, named, nobody, ok};

/// A further pool of one server.
fn pool(name: &str, server: SocketAddr) -> String {
    format!("[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"{name}\"\naddress = \"{server}\"\n")
}

/// A data plane with a listener's pool `app` of one server, and further text.
fn plane(app: SocketAddr, rest: &str) -> Plane {
    Plane::start(&config("http", &[app], "", "").replace("[admin]", &format!("{rest}\n[admin]")), 2)
}

/// A server that answers with the head that it got, which is kept.
fn echo() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let address = answering(move |head, _| {
        kept.lock().unwrap().push(head.to_owned());
        ok(head.as_bytes())
    });
    (address, heads)
}

fn request_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn requests_reach_the_pool_of_their_route() {
    let rest = [
        pool("api", named("api")),
        pool("beta", named("beta")),
        "[[route]]\nhost = \"*.example.org\"\npath_prefix = \"/api\"\npool = \"api\"\n\
         [[route]]\nheader = { X-Beta = true }\npool = \"beta\"\n"
            .to_owned(),
    ]
    .concat();
    let plane = plane(named("app"), &rest);
    let mut client = plane.client();
    for (request, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "app"),
        ("GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n", "app"),
        ("GET /api/x HTTP/1.1\r\nHost: www.Example.org:80\r\n\r\n", "api"),
        ("GET /apix HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "app"),
        ("POST /x HTTP/1.1\r\nHost: a\r\nX-Beta:\r\nContent-Length: 2\r\n\r\nhi", "beta"),
        ("GET /x HTTP/1.1\r\nHost: a\r\nConnection: X-Beta\r\nX-Beta: 1\r\n\r\n", "app"),
        ("GET http://www.example.org/api HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "api"),
    ] {
        let answer = client.ask(request);
        assert_eq!(
            (answer.status, String::from_utf8(answer.body).unwrap().as_str()),
            (200, body),
            "{request}"
        );
    }
}

#[test]
fn a_server_sees_the_path_that_its_route_was_chosen_by() {
    let (server, heads) = echo();
    let plane = plane(server, "[[route]]\npath_prefix = \"/admin\"\nrespond = { status = 403 }\n");
    for disguise in ["/admin", "//admin", "/%61dmin/x", "/x/../admin", "/./admin", "/x/%2e%2e/admin/"] {
        assert_eq!(plane.client().get(disguise).status, 403, "{disguise}");
    }
    for ambiguous in ["/%2fadmin", "/x%5cadmin", "/..", "/x/..;/admin", "/a%00", "/%zz"] {
        let answer = plane.client().get(ambiguous);
        assert_eq!((answer.status, field(&answer.head, "connection")), (400, Some("close")), "{ambiguous}");
    }
    assert!(heads.lock().unwrap().is_empty());
    for (asked, sent) in
        [("/a//b/./%41?x=//%41", "/a/b/A?x=//%41"), ("/a%c3%a4", "/a%C3%A4"), ("/plain?", "/plain?")]
    {
        let answer = plane.client().get(asked);
        assert_eq!(request_line(&answer.body), format!("GET {sent} HTTP/1.1"), "{asked}");
    }
}

#[test]
fn without_routes_a_path_passes_as_it_comes() {
    let (server, _) = echo();
    let plane = plane(server, "");
    let answer = plane.client().get("//a/../%2fb");
    assert_eq!(request_line(&answer.body), "GET //a/../%2fb HTTP/1.1");
}

#[test]
fn targets_and_fields_are_rewritten_in_both_directions() {
    let server = answering(|head, _| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: s\r\nX-Two: 2\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        answer.into_bytes()
    });
    let route = "[[route]]\nname = \"r\"\npath_prefix = \"/api\"\nrewrite = \"/v2{rest}?by={route}\"\n\
                 request_header = { set = { X-Real = \"{client}\", Host = \"inner\" }, add = { X-Host = \"{host}\" }, remove = [\"X-Secret\"] }\n\
                 response_header = { set = { X-Two = \"two\" }, remove = [\"Server\"] }\n";
    let plane = plane(server, route);
    let answer = plane.client().ask(
        "GET /api/users?id=1 HTTP/1.1\r\nHost: Outer:80\r\nX-Secret: s\r\nx-real: forged\r\nX-SECRET: t\r\nAccept: */*\r\n\r\n",
    );
    let head = String::from_utf8(answer.body).unwrap();
    assert_eq!(request_line(head.as_bytes()), "GET /v2/users?by=r&id=1 HTTP/1.1");
    assert_eq!(
        (field(&head, "x-real"), field(&head, "host"), field(&head, "x-host")),
        (Some("127.0.0.1"), Some("inner"), Some("outer"))
    );
    assert!(!head.contains("forged") && !head.to_lowercase().contains("x-secret"), "{head}");
    assert_eq!(head.to_lowercase().matches("\r\nhost:").count(), 1, "{head}");
    assert_eq!((field(&answer.head, "x-two"), field(&answer.head, "server")), (Some("two"), None));
}

#[test]
fn redirects_and_fixed_answers_keep_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("gone.html");
    std::fs::write(&page, "<h1>gone</h1>").unwrap();
    let routes = format!(
        "[[route]]\npath_prefix = \"/old\"\nredirect = {{ to = \"https://{{host}}/new{{rest}}{{query}}\", status = 308 }}\n\
         response_header = {{ set = {{ X-By = \"{{route}}\" }} }}\n\
         [[route]]\npath = \"/gone\"\nrespond = {{ status = 410, file = \"{}\", content_type = \"text/html\" }}\n\
         [[route]]\npath = \"/empty\"\nrespond = {{ status = 204 }}\n",
        page.display()
    );
    let plane = plane(named("app"), &routes);
    let mut client = plane.client();
    client.send(
        b"GET /old/x?y HTTP/1.1\r\nHost: Site:80\r\n\r\nHEAD /gone HTTP/1.1\r\nHost: a\r\n\r\n\
          POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /empty HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let moved = client.answer(false).unwrap();
    assert_eq!((moved.status, field(&moved.head, "location")), (308, Some("https://site/new/x?y")));
    assert_eq!(field(&moved.head, "x-by"), Some("route-1"));
    let head = client.answer(true).unwrap();
    assert_eq!((head.status, field(&head.head, "content-length")), (410, Some("13")));
    let gone = client.answer(false).unwrap();
    assert_eq!(
        (&gone.body[..], field(&gone.head, "content-type")),
        (&b"<h1>gone</h1>"[..], Some("text/html"))
    );
    let empty = client.answer(false).unwrap();
    assert_eq!((empty.status, field(&empty.head, "content-length")), (204, None));
    assert_eq!(client.get("/").body, b"app");
    // Content that has not come ends the connection with the answer.
    let mut early = plane.client();
    early.send(b"POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart");
    let answer = early.answer(false).unwrap();
    assert_eq!((answer.status, field(&answer.head, "connection")), (410, Some("close")));
    assert!(early.is_closed());
    let mut old = plane.client();
    let kept = old.ask("GET /gone HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(field(&kept.head, "connection"), Some("keep-alive"));
}

#[test]
fn in_maintenance_only_the_exempt_are_served() {
    let closed = |exempt: &str| {
        format!(
            "[[route]]\nmaintenance = {{ body = \"<p>back at nine</p>\", retry_after = \"30m\", exempt = \"{exempt}\" }}\n"
        )
    };
    let shut = plane(named("app"), &closed("10.0.0.0/8"));
    let answer = shut.client().get("/");
    assert_eq!((answer.status, field(&answer.head, "retry-after")), (503, Some("1800")));
    assert_eq!(answer.body, b"<p>back at nine</p>");
    let open = plane(named("app"), &closed("127.0.0.0/8"));
    assert_eq!(open.client().get("/").body, b"app");
}

/// However a client's connections are spread over workers, it gets its burst and not one request more.
#[test]
fn a_rate_is_one_for_all_workers() {
    let route = "[[route]]\npath = \"/slow\"\nrate_limit = { requests = 1, per = \"1h\", burst = 10 }\n\
                 [[route]]\npath = \"/keyed\"\nrate_limit = { requests = 1, per = \"1h\", by = \"header:X-Key\" }\n";
    let plane = plane(named("app"), route);
    let answers: Vec<_> = (0..40).map(|_| plane.client().get("/slow")).collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 10);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    let after: u64 = field(&refused.head, "retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&after), "{}", refused.head);
    assert_eq!(field(&refused.head, "ratelimit-policy"), Some("\"burst\";q=10, \"rate\";q=1;w=3600"));
    assert_eq!(plane.client().get("/").status, 200, "other routes are free");
    let mut keyed = plane.client();
    let mut ask =
        |key: &str| keyed.ask(&format!("GET /keyed HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\n\r\n")).status;
    assert_eq!([ask("a"), ask("b"), ask("a"), ask("b")], [200, 200, 429, 429]);
}

#[test]
fn a_route_has_deadlines_of_its_own() {
    let silent = support::server(|mut peer| while peer.head().is_some() {});
    let retry = "[[route]]\npath = \"/head\"\ndeadlines = { server_head = \"100ms\" }\n\
                 [[route]]\npath = \"/total\"\ndeadlines = { total = \"100ms\" }\n";
    let plane = plane(silent, retry);
    for (path, reason) in
        [("/head", "the server did not answer in time"), ("/total", "the route's time was over")]
    {
        let answer = plane.client().get(path);
        assert_eq!(answer.status, 504);
        assert!(String::from_utf8(answer.body).unwrap().contains(reason), "{path}");
    }
}

#[test]
fn an_answer_that_a_route_does_not_want_is_asked_for_elsewhere() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let bad = answering(move |_, _| {
        counted.fetch_add(1, SeqCst);
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad".to_vec()
    });
    let route =
        |methods: &str| format!("[[route]]\npath_prefix = \"/r\"\nretry = {{ status = [503]{methods} }}\n");
    let quiet = "[pool.ejection]\nconsecutive_failures = 1000\n[pool.retry]\nbudget_per_mille = 1000\n";
    let start = |servers: &[SocketAddr], methods: &str| {
        Plane::start(
            &config("http", servers, quiet, "").replace("[admin]", &format!("{}\n[admin]", route(methods))),
            1,
        )
    };
    let careful = start(&[bad, named("good")], "");
    let mut client = careful.client();
    for _ in 0..6 {
        assert_eq!(client.get("/r").body, b"good");
    }
    assert!(asked.load(SeqCst) >= 2, "the bad server was asked first in turn");
    let statuses: Vec<_> = (0..4).map(|_| client.get("/other").status).collect();
    assert!(statuses.contains(&503), "only the route asks again: {statuses:?}");
    let post = "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let statuses: Vec<_> = (0..4).map(|_| client.ask(post).status).collect();
    assert!(statuses.contains(&503), "an order is not given twice: {statuses:?}");
    let any = start(&[bad, named("good")], ", methods = \"any\"");
    let mut client = any.client();
    assert!((0..4).all(|_| client.ask(post).status == 200));
    let alone = start(&[bad], "");
    assert_eq!(alone.client().get("/r").body, b"bad", "nobody else is there to ask");
}

#[test]
fn a_client_gets_the_same_one_of_several_pools_each_time() {
    let rest = pool("canary", named("canary"))
        + "[[route]]\npools = [{ name = \"canary\", weight = 50 }, { name = \"app\", weight = 50 }]\n";
    let plane = plane(named("app"), &rest);
    let from = |last: u8| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
        socket.connect(&plane.address().into()).unwrap();
        Client(Peer::new(TcpStream::from(socket))).get("/").body
    };
    let first: Vec<_> = (1..60).map(from).collect();
    let second: Vec<_> = (1..60).map(from).collect();
    assert_eq!(first, second);
    let canaries = first.iter().filter(|body| **body == b"canary").count();
    assert!((10..50).contains(&canaries), "{canaries} of 59");
}

/// I8: routes come and go under load, and no request fails or is answered by two configurations.
#[test]
fn i8_routes_are_reloaded_under_load() {
    let bind = format!("bind = \"{}\"", nobody());
    let (app, other) = (named("app"), named("other"));
    let text = |routes: &str| {
        config("http", &[app], "", "")
            .replace("bind = \"127.0.0.1:0\"", &bind)
            .replace("[admin]", &format!("{routes}\n[admin]"))
    };
    let routed =
        pool("other", other) + "[[route]]\npath_prefix = \"/x\"\npool = \"other\"\nrewrite = \"/y{rest}\"\n";
    let many: String = (0..500)
        .map(|n| format!("[[route]]\npath = \"/many/{n}\"\nrespond = {{ status = 404 }}\n"))
        .collect();
    let plane = Plane::start(&text(""), 2);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), plane.address());
            thread::spawn(move || {
                let mut kept = Client::connect(address);
                while !stop.load(SeqCst) {
                    let answer = kept.get("/x/1");
                    assert_eq!(answer.status, 200, "{}", answer.head);
                    assert!([&b"app"[..], b"other"].contains(&&answer.body[..]));
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let missing =
        format!("[[route]]\nrespond = {{ status = 200, file = \"{}/none\" }}\n", folder.path().display());
    for round in 0..10 {
        let before = answered.load(SeqCst);
        plane.apply(&text(if round % 2 == 0 { &routed } else { &many })).unwrap();
        let sentences = plane.apply(&text(&missing)).unwrap_err().sentences();
        assert!(sentences.len() == 1 && sentences[0].contains("route `route-1`: the page"), "{sentences:?}");
        eventually("requests go on", || (answered.load(SeqCst) > before + 20).then_some(()));
    }
    plane.apply(&text(&routed)).unwrap();
    assert_eq!(plane.client().get("/x/1").body, b"other");
    stop.store(true, SeqCst);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_request_split_at_any_byte_takes_the_same_route() {
    let plane = plane(named("app"), "[[route]]\npath = \"/x\"\nrespond = { status = 418 }\n");
    let request = b"GET /%78 HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 1..request.len() {
        let mut client = plane.client();
        client.send(&request[..at]);
        client.0.stream.flush().unwrap();
        client.send(&request[at..]);
        assert_eq!(client.answer(false).unwrap().status, 418);
    }
}
