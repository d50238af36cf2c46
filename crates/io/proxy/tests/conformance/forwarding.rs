//! What servers are told of clients and of this hop.

use crate::{raw::Wire, support::field};

/// What a client may say of others.
const CLAIMS: &str = "X-Forwarded-For: 10.1.1.1\r\nX_Forwarded_For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 10.1.1.1\r\nForwarded: for=10.1.1.1\r\n";

const ALL: &str = "fields = [\"x-forwarded-for\", \"x-forwarded-proto\", \"x-forwarded-host\", \"forwarded\", \"x-request-id\"]\n";

#[test]
fn every_request_has_a_via_with_the_version_in_which_it_came() {
    let wire = Wire::forwarding("");
    for (request, version) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 front\r\n\r\n", "1.1"),
        ("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.0 front\r\n\r\n", "1.0"),
    ] {
        assert_eq!(wire.client().ask(request).status, 200);
        let seen = wire.requests().pop().unwrap();
        assert_eq!(field(&seen, "via"), Some("1.0 front"), "the Via of others stays first: {seen}");
        assert!(seen.contains(&format!("\r\nVia: {version} evenkeel-")), "{seen}");
        assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(&seen, "x-forwarded-proto"), Some("http"));
    }
}

#[test]
fn a_request_that_comes_back_is_answered_with_508() {
    let wire = Wire::forwarding("");
    assert_eq!(wire.client().get("/").status, 200);
    let seen = wire.requests().pop().unwrap();
    let via = field(&seen, "via").unwrap();
    let back = format!("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 front, {via}\r\n\r\n");
    assert_eq!(wire.client().ask(&back).status, 508);
    assert_eq!(wire.requests(), [""; 0]);
}

#[test]
fn what_a_stranger_says_of_others_never_reaches_a_server() {
    for lines in ["fields = []\n", "", ALL] {
        let wire = Wire::forwarding(lines);
        assert_eq!(wire.client().ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{CLAIMS}\r\n")).status, 200);
        let seen = wire.requests().pop().unwrap();
        assert!(
            !seen.contains("10.1.1.1") && !seen.contains("evil") && !seen.contains("X-Forwarded-Port"),
            "{seen}"
        );
    }
}

#[test]
fn what_a_trusted_client_says_of_others_is_kept_and_added_to() {
    let wire = Wire::forwarding(&format!("{ALL}trusted = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n"));
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{CLAIMS}X-Request-Id: front-1\r\n\r\n");
    assert_eq!(wire.client().ask(&request).status, 200);
    let expected = "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1;host=\"a\";proto=http\r\n\r\n";
    assert_eq!(wire.requests(), [request.replace("\r\n\r\n", &format!("\r\n{expected}"))]);
}

#[test]
fn a_request_id_is_one_and_the_same_for_the_server_the_log_and_an_answer_of_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = format!("[access_log]\npath = \"{}\"\n", path.display());
    let wire = Wire::with("fields = [\"x-request-id\"]", &log);
    let mut client = wire.client();
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n").status, 200);
    let seen = wire.requests().pop().unwrap();
    let id = field(&seen, "x-request-id").unwrap();
    assert_ne!(id, "mine", "a stranger's id is replaced");
    wire.answers("nothing of HTTP\r\n\r\n");
    let own = client.get("/");
    let seen = wire.requests().pop().unwrap();
    assert_eq!(field(&own.head, "x-request-id"), field(&seen, "x-request-id"));
    let text = crate::support::eventually("two lines", || {
        std::fs::read_to_string(&path).ok().filter(|text| text.lines().count() == 2)
    });
    assert!(text.lines().next().unwrap().contains(&format!("\"{id}\"")), "{text}");
}
