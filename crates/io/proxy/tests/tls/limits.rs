//! What a listener does with clients over TLS as it does without: their number by source, and their cookies.

use crate::{
    certificates::Authority,
    clients::{configuration, metric},
    peers::{config, connect, try_connect},
    support::{Plane, field, named},
};

/// No handshake is begun with who comes beyond the limit: it would cost more than the connection.
#[test]
fn a_source_with_too_many_connections_is_cut_off_before_the_handshake() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    let text = configuration("http", &tls, &[named("a")], "").replacen(
        "pool = \"app\"\n",
        "pool = \"app\"\nper_source = { connections = 2, exempt = [] }\n",
        1,
    );
    let plane = Plane::start(&text, 2);
    let config = config(&authority);
    let mut held: Vec<_> = (0..2).map(|_| connect(plane.address(), &config, "site")).collect();
    for _ in 0..3 {
        assert!(try_connect(plane.address(), &config, "site").is_err());
    }
    assert_eq!(metric(&plane, "evenkeel_source_limit_refused_total", &["web"]), 3.0);
    assert_eq!(metric(&plane, "evenkeel_tls_handshake_failures_total", &["web"]), 0.0);
    assert!(held.iter_mut().all(|client| client.get("/").body == b"a"));
}

#[test]
fn a_cookie_that_is_given_over_tls_is_only_sent_over_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = authority.issue(&["site"]).write(folder.path(), "site");
    for (sticky, secure) in [("", true), ("secure = true\n", true), ("secure = false\n", false)] {
        let text = configuration("http", &tls, &[named("a")], "")
            + &format!("[pool.sticky]\ncookie = \"server\"\n{sticky}");
        let plane = Plane::start(&text, 1);
        let answer = connect(plane.address(), &config(&authority), "site").get("/");
        let cookie = field(&answer.head, "set-cookie").unwrap();
        assert_eq!(cookie.contains("; Secure; "), secure, "{cookie}");
    }
}
