//! Clients that come back to their server by a cookie, in HTTP/1.1 and HTTP/2.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use support::{
    Plane, answering,
    both::{Asked, BOTH, Client, Got, Over},
    config, eventually, field, named, nobody, server,
};

const STICKY: &str = "[pool.sticky]\ncookie = \"srv\"\n";

/// `srv=VALUE`, when the answer gives one.
fn given(answer: &Got) -> Option<String> {
    let line = answer.all("set-cookie").into_iter().find(|line| line.starts_with("srv="))?;
    Some(line.split(';').next().unwrap().to_owned())
}

fn with_cookie(client: &mut Client, pair: &str) -> Got {
    client.ask(&Asked::get("/").with(&[("cookie", pair)]))
}

/// A cookie for each of the servers, by the body that they answer with.
fn cookie_for(plane: &Plane, over: Over, body: &str) -> String {
    eventually("a client of that server", || {
        let answer = Client::new(plane, over).get("/");
        assert_eq!(answer.status, 200);
        (answer.text() == body).then(|| given(&answer).expect("a new client gets a cookie"))
    })
}

fn assert_sticks(plane: &Plane, over: Over, pair: &str, body: &str) {
    for _ in 0..6 {
        let answer = with_cookie(&mut Client::new(plane, over), pair);
        assert_eq!((answer.text(), given(&answer)), (body, None), "{over:?}");
    }
}

fn order(plane: &Plane, request: &serde_json::Value) {
    let mut socket = UnixStream::connect(plane.folder.path().join("proxy.sock")).unwrap();
    writeln!(socket, "{request}").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    assert!(line.contains("\"done\""), "{line}");
}

#[test]
fn a_client_comes_back_to_its_server_on_every_worker_and_connection() {
    let plane = Plane::http(&[named("a"), named("b"), named("c")], STICKY, "");
    for over in BOTH {
        for body in ["a", "b", "c"] {
            let pair = cookie_for(&plane, over, body);
            assert_sticks(&plane, over, &pair, body);
            // On one connection, between requests of others.
            let mut client = Client::new(&plane, over);
            for _ in 0..4 {
                client.get("/");
                assert_eq!(with_cookie(&mut client, &pair).text(), body);
            }
        }
    }
}

#[test]
fn the_cookie_has_its_attributes_and_no_cache_keeps_it() {
    let cached = answering(|head, _| {
        let control = field(head, "x-control").map(|value| format!("Cache-Control: {value}\r\n"));
        let control = control.unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: app=1\r\n{control}Content-Length: 2\r\n\r\nok").into_bytes()
    });
    let plane = Plane::http(&[cached], STICKY, "");
    for over in BOTH {
        let mut client = Client::new(&plane, over);
        let first = client.get("/");
        let all = first.all("set-cookie");
        assert_eq!((all.len(), all[0]), (2, "app=1"), "the server's own stays");
        let (value, attributes) = all[1].split_once("; ").unwrap();
        assert_eq!((value.len(), attributes), (47, "Path=/; HttpOnly; SameSite=Lax"));
        assert_eq!(first.all("cache-control"), ["private"]);
        for (control, seen) in [
            ("max-age=60", &["max-age=60", "private"][..]),
            ("no-store", &["no-store"]),
            ("max-age=60, Private", &["max-age=60, Private"]),
        ] {
            let answer = client.ask(&Asked::get("/").with(&[("x-control", control)]));
            assert_eq!(answer.all("cache-control"), seen);
        }
        let kept = client.ask(&Asked::get("/").with(&[("cookie", value), ("x-control", "max-age=60")]));
        assert_eq!(
            (given(&kept), kept.all("cache-control")),
            (None, vec!["max-age=60"]),
            "who has it may cache"
        );
    }
}

#[test]
fn servers_never_see_the_cookie() {
    let echo = answering(|head, _| {
        let cookies: Vec<_> = head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("cookie:"))
            .map(|line| line.split_once(':').unwrap().1.trim())
            .collect();
        let seen = cookies.join("|");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len()).into_bytes()
    });
    let route = "[[route]]\npath = \"/set\"\nrequest_header = { set = { Cookie = \"by=route\" } }\n";
    let plane = Plane::http(&[echo], STICKY, route);
    for over in BOTH {
        let pair = given(&Client::new(&plane, over).get("/")).unwrap();
        let mut client = Client::new(&plane, over);
        for (cookie, seen) in [
            (pair.clone(), ""),
            (format!("a=1; {pair}; b=2"), "a=1; b=2"),
            ("a=1; b=2".to_owned(), "a=1; b=2"),
            ("a=1; srv=forged".to_owned(), "a=1"),
        ] {
            let answer = client.ask(&Asked::get("/").with(&[("cookie", &cookie)]));
            assert_eq!(answer.text(), seen, "{over:?} {cookie}");
            let answer = client.ask(&Asked::get("/set").with(&[("cookie", &cookie)]));
            assert_eq!(answer.text(), "by=route", "{over:?} {cookie}");
        }
    }
}

#[test]
fn a_cookie_that_was_changed_or_made_elsewhere_is_as_good_as_none() {
    let plane = Plane::http(&[named("a"), named("b")], STICKY, "");
    let other = Plane::http(&[named("a"), named("b")], STICKY, "");
    for over in BOTH {
        let pair = cookie_for(&plane, over, "b");
        let foreign = cookie_for(&other, over, "b");
        let mut changed = pair.clone().into_bytes();
        changed[10] = if changed[10] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        for bad in [&changed, &foreign, "srv=", "srv=s1", "srv=b", &pair[..pair.len() - 1]] {
            let bodies: Vec<_> = (0..4)
                .map(|_| {
                    let answer = with_cookie(&mut Client::new(&plane, over), bad);
                    assert!(given(&answer).is_some(), "a new cookie in the place of {bad}");
                    answer.text().to_owned()
                })
                .collect();
            assert!(bodies.contains(&"a".to_owned()), "{over:?} {bad}: {bodies:?}");
        }
    }
}

/// A server that can be told to fail: it then closes each connection without a word.
fn mortal(name: &'static str) -> (SocketAddr, Arc<AtomicBool>) {
    let dead = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&dead);
    let address = server(move |mut peer| {
        while let Some(_head) = peer.head() {
            if told.load(SeqCst) {
                return;
            }
            peer.stream.write_all(&support::ok(name.as_bytes())).unwrap();
        }
    });
    (address, dead)
}

#[test]
fn a_client_whose_server_dies_gets_another_one_and_its_cookie() {
    for over in BOTH {
        let (b, dead) = mortal("b");
        let plane = Plane::http(
            &[named("a"), b, named("c")],
            &format!("{STICKY}[pool.retry]\nbudget_per_mille = 1000\n"),
            "",
        );
        let pair = cookie_for(&plane, over, "b");
        assert_sticks(&plane, over, &pair, "b");
        dead.store(true, SeqCst);
        let answer = with_cookie(&mut Client::new(&plane, over), &pair);
        assert_eq!(answer.status, 200, "{over:?}: the request is answered by another");
        let body = answer.text().to_owned();
        assert_ne!(body, "b");
        assert_sticks(&plane, over, &given(&answer).expect("another cookie"), &body);
        with_cookie(&mut Client::new(&plane, over), "srv=guessed");
        let metrics = plane.admin("/metrics").1;
        let counted = |how: &str| -> u64 {
            let of = |line: &&str| {
                line.starts_with("evenkeel_server_sticky_requests_total{")
                    && line.contains(&format!("client=\"{how}\""))
            };
            metrics
                .lines()
                .filter(of)
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum()
        };
        // Six came back to each of the two servers, and the request that moved was first sent to the dead one, again on a
        // new connection when it had a kept one.
        assert!((13..=14).contains(&counted("returned")), "{metrics}");
        assert_eq!((counted("moved"), counted("unknown")), (1, 1), "{metrics}");
        assert!(counted("new") >= 1);
    }
}

#[test]
fn cookies_hold_through_reloads_and_new_orders_of_servers() {
    let bind = nobody();
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let text = |servers: &[(&str, SocketAddr)], sticky: &str| {
        let config =
            config("http", &[], "", "").replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{bind}\""));
        let list: String = servers
            .iter()
            .map(|(name, address)| format!("[[pool.server]]\nname = \"{name}\"\naddress = \"{address}\"\n"))
            .collect();
        format!("{config}{list}{sticky}")
    };
    let plane = Plane::start(&text(&[("a", a), ("b", b)], STICKY), 2);
    for over in BOTH {
        plane.apply(&text(&[("a", a), ("b", b)], STICKY)).unwrap();
        let pair = cookie_for(&plane, over, "b");
        let mut kept = Client::new(&plane, over);
        assert_eq!(with_cookie(&mut kept, &pair).text(), "b");
        plane.apply(&text(&[("c", c), ("b", b), ("a", a)], STICKY)).unwrap();
        assert_eq!(with_cookie(&mut kept, &pair).text(), "b");
        assert_sticks(&plane, over, &pair, "b");
        plane.apply(&text(&[("c", c)], STICKY)).unwrap();
        let answer = with_cookie(&mut kept, &pair);
        assert!(answer.text() == "c" && given(&answer).is_some(), "its server is no more");
        plane.apply(&text(&[("a", a), ("b", b)], "")).unwrap();
        let bodies: Vec<_> = (0..4).map(|_| with_cookie(&mut kept, &pair)).collect();
        assert!(bodies.iter().all(|answer| given(answer).is_none()), "the table has gone");
        assert!(bodies.iter().any(|answer| answer.text() == "a"));
    }
}

#[test]
fn with_a_file_of_secrets_cookies_hold_through_restarts_and_rotation() {
    const OLD: &str = "4c1b6a3fb8e24c0f9d0c5e4f7a1d2b3c";
    const NEW: &str = "b2a1908f7e6d5c4b3a29181706f5e4d3";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sticky.secrets");
    let sticky = format!("{STICKY}secrets = \"{}\"\n", file.display());
    let (a, b) = (named("a"), named("b"));
    let start = |secrets: &str| {
        std::fs::write(&file, secrets).unwrap();
        Plane::http(&[a, b], &sticky, "")
    };
    for over in BOTH {
        let pair = cookie_for(&start(OLD), over, "b");
        assert_sticks(&start(OLD), over, &pair, "b");
        let plane = start(&format!("{NEW}\n{OLD}\n"));
        let answer = with_cookie(&mut Client::new(&plane, over), &pair);
        let renewed = given(&answer).expect("signed anew");
        assert_eq!(answer.text(), "b");
        assert_sticks(&plane, over, &renewed, "b");
        assert_sticks(&start(NEW), over, &renewed, "b");
        assert!(
            given(&with_cookie(&mut Client::new(&start(NEW), over), &pair)).is_some(),
            "the old one is over"
        );
    }
    let plane = start(OLD);
    let text = std::fs::read_to_string(plane.folder.path().join("balancer.toml")).unwrap();
    for (secrets, reason) in [("short", "line 1 is no secret"), ("", "has no secret")] {
        std::fs::write(&file, secrets).unwrap();
        let sentences = plane.apply(&text).unwrap_err().sentences();
        assert!(sentences.len() == 1 && sentences[0].contains(reason), "{sentences:?}");
    }
    std::fs::remove_file(&file).unwrap();
    let sentences = plane.apply(&text).unwrap_err().sentences();
    assert!(
        sentences[0].contains("pool `app`: the secrets") && sentences[0].contains("No such file"),
        "{sentences:?}"
    );
}

#[test]
fn a_server_that_drains_keeps_its_clients_unless_they_are_to_move() {
    let target = serde_json::json!({"drain": {"pool": "app", "server": "s1"}});
    for over in BOTH {
        let keeps = Plane::http(&[named("a"), named("b")], STICKY, "");
        let pair = cookie_for(&keeps, over, "b");
        order(&keeps, &target);
        assert_sticks(&keeps, over, &pair, "b");
        assert!((0..6).all(|_| Client::new(&keeps, over).get("/").text() == "a"), "no new ones");
        let moves = Plane::http(&[named("a"), named("b")], &format!("{STICKY}draining = \"move\"\n"), "");
        let pair = cookie_for(&moves, over, "b");
        order(&moves, &target);
        let answer = with_cookie(&mut Client::new(&moves, over), &pair);
        assert_eq!(answer.text(), "a");
        assert_sticks(&moves, over, &given(&answer).expect("another cookie"), "a");
    }
}

#[test]
fn routes_lead_to_pools_that_have_their_own_cookies() {
    let rest = format!(
        "[[route]]\npath_prefix = \"/other\"\npool = \"other\"\nresponse_header = {{ remove = [\"Set-Cookie\"], set = {{ X-By = \"{{route}}\" }} }}\n\
         [[pool]]\nname = \"other\"\n[[pool.server]]\nname = \"x\"\naddress = \"{}\"\n\
         [[pool.server]]\nname = \"y\"\naddress = \"{}\"\n[pool.sticky]\ncookie = \"other\"\npath = \"/other\"\nmax_life = \"1h\"\n",
        named("x"),
        named("y")
    );
    let plane = Plane::http(&[named("a")], STICKY, &rest);
    for over in BOTH {
        let mut client = Client::new(&plane, over);
        let first = client.get("/other");
        let cookies = first.all("set-cookie");
        assert_eq!((cookies.len(), first.field("x-by")), (1, Some("route-1")));
        assert!(cookies[0].contains("; Path=/other; Max-Age=3600;"), "{cookies:?}");
        let pair = cookies[0].split(';').next().unwrap().to_owned();
        for _ in 0..4 {
            let again = Client::new(&plane, over).ask(&Asked::get("/other").with(&[("cookie", &pair)]));
            assert_eq!((again.body.as_slice(), again.all("set-cookie").len()), (first.body.as_slice(), 0));
        }
    }
}

#[test]
fn cookies_work_with_servers_of_http2() {
    let named = |name: &'static str| {
        support::http2::server(move |request, respond| async move {
            assert!(!request.headers().contains_key("cookie"), "{:?}", request.headers());
            support::http2::answer(respond, name.as_bytes()).await;
        })
    };
    let plane = Plane::start(
        &config("http", &[named("a"), named("b")], "", "")
            .replace("policy = \"round-robin\"", "policy = \"round-robin\"\nprotocol = \"http2\"")
            .replace(support::QUICK, &format!("{}{STICKY}", support::QUICK)),
        2,
    );
    for over in BOTH {
        let pair = cookie_for(&plane, over, "b");
        assert_sticks(&plane, over, &pair, "b");
    }
}
