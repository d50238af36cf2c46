//! Cookies that lead back to a server, and those that do not.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

use std::time::Duration;

use evenkeel_config::balancer::Config;
use evenkeel_route::{Known, Left, Renew, Scheme, Shown, StickyCookies, StickySecretError, StickySecrets};
use evenkeel_units::WallTime;
use proptest::prelude::*;

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";
const SERVERS: [&str; 3] = ["a", "b", "c"];
const NOON: WallTime = WallTime::from_unix_seconds(1_795_521_600);

fn cookies_of(keys: &str, secrets: &str, pool: &str, servers: &[&str]) -> StickyCookies {
    let text = format!(
        "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n\
         [[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n\
         [pool.sticky]\ncookie = \"srv\"\n{keys}\n"
    );
    let config = Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = config.pools()[0].sticky.as_ref().expect("the table is there");
    let secrets = StickySecrets::parse(secrets).unwrap();
    StickyCookies::new(settings, &secrets, pool, servers)
}

fn cookies(keys: &str) -> StickyCookies {
    cookies_of(keys, OLD, "app", &SERVERS)
}

fn line(cookies: &StickyCookies, server: usize, (since, now): (WallTime, WallTime)) -> String {
    let mut out = Vec::new();
    cookies.write(server, (since, now), Scheme::Https, &mut out);
    String::from_utf8(out).unwrap()
}

/// `srv=VALUE`, as a client sends it back.
fn given(cookies: &StickyCookies, server: usize, now: WallTime) -> String {
    let line = line(cookies, server, (now, now));
    line.strip_prefix("Set-Cookie: ").unwrap().split(';').next().unwrap().to_owned()
}

fn find(cookies: &StickyCookies, field: &str, now: WallTime) -> Shown {
    cookies.find(std::iter::once(field.as_bytes()), now)
}

fn later(seconds: u64) -> WallTime {
    WallTime::from_unix_seconds(NOON.unix_seconds() + seconds)
}

fn server(shown: Shown) -> Option<usize> {
    match shown {
        Shown::Server(known) => Some(known.server),
        Shown::Nothing | Shown::Nobody => None,
    }
}

#[test]
fn a_cookie_leads_back_to_its_server_wherever_it_stands() {
    let all = cookies("");
    for place in 0..3 {
        let pair = given(&all, place, NOON);
        for field in [pair.clone(), format!("x=1; {pair}; y=2"), format!("srv=stale;{pair}")] {
            let known = Known { server: place, since: NOON, renew: Renew::No };
            assert_eq!(find(&all, &field, later(1_000_000)), Shown::Server(known), "{field}");
        }
        let moved = cookies_of("", OLD, "app", &["new", "c", "b", "a"]);
        assert_eq!(server(find(&moved, &pair, NOON)), Some(3 - place), "by name, not place");
    }
}

#[test]
fn what_was_not_made_here_leads_nowhere() {
    let all = cookies("");
    let pair = given(&all, 1, NOON);
    for field in ["", "x=1", &format!("x{pair}"), "srv", &pair.replace("srv", "SRV")] {
        assert_eq!(find(&all, field, NOON), Shown::Nothing, "{field}");
    }
    let value = &pair[4..];
    for value in
        ["", "b", "b1", &value[..42], &format!("{value}A"), &format!("{value}="), &format!("\"{value}\"")]
    {
        assert_eq!(find(&all, &format!("srv={value}"), NOON), Shown::Nobody, "{value}");
    }
    for other in [
        cookies_of("", NEW, "app", &SERVERS),
        cookies_of("", OLD, "other", &SERVERS),
        cookies_of("", OLD, "app", &["a", "c"]),
    ] {
        assert_eq!(find(&other, &pair, NOON), Shown::Nobody, "another secret, pool, or no such server");
    }
}

#[test]
fn a_value_shows_nothing_of_servers() {
    let one = given(&cookies_of("", OLD, "app", &["a"]), 0, NOON);
    let many: Vec<_> = (0..1000).map(|n| format!("server{n}")).collect();
    let many = cookies_of("", OLD, "app", &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(one.len(), "srv=".len() + 43);
    assert!((0..1000).all(|place| given(&many, place, NOON).len() == one.len()), "nor how many there are");
    assert_eq!(format!("{:?}", StickySecrets::parse(OLD).unwrap()), "StickySecrets(1)");
    assert!(!format!("{many:?}").contains("server1"));
}

#[test]
fn the_first_of_several_secrets_signs_and_all_are_believed() {
    let (before, after) = (cookies(""), cookies_of("", &format!("# new\n{NEW}\n\n{OLD}\n"), "app", &SERVERS));
    let old = given(&before, 2, NOON);
    let known = Known { server: 2, since: NOON, renew: Renew::Yes };
    assert_eq!(find(&after, &old, NOON), Shown::Server(known), "and it is signed anew");
    let new = given(&after, 2, NOON);
    assert_eq!(find(&after, &new, NOON), Shown::Server(Known { renew: Renew::No, ..known }));
    assert_eq!(find(&before, &new, NOON), Shown::Nobody);
    assert_eq!(
        server(find(&cookies_of("", NEW, "app", &SERVERS), &new, NOON)),
        Some(2),
        "the old one may go"
    );
}

#[test]
fn secrets_that_could_be_guessed_are_refused() {
    for (text, error) in [
        ("", StickySecretError::None),
        ("# nothing\n\n", StickySecretError::None),
        ("short", StickySecretError::Unfit { line: 1 }),
        (&format!("{OLD}\n{OLD} x\n"), StickySecretError::Unfit { line: 2 }),
        (&"x".repeat(1025), StickySecretError::Unfit { line: 1 }),
        (&format!("{OLD}\n").repeat(9), StickySecretError::TooMany),
    ] {
        assert_eq!(StickySecrets::parse(text).unwrap_err(), error, "{text}");
    }
    assert!(StickySecrets::parse(&format!("{OLD}\r\n").repeat(8)).is_ok());
}

#[test]
fn a_client_that_paused_too_long_or_came_too_often_is_a_new_one() {
    let all = cookies("max_idle = \"10m\"\nmax_life = \"1h\"");
    let pair = given(&all, 0, NOON);
    let known = |renew| Shown::Server(Known { server: 0, since: NOON, renew });
    for (seconds, shown) in [
        (0, known(Renew::No)),
        (149, known(Renew::No)),
        (150, known(Renew::Yes)),
        (599, known(Renew::Yes)),
        (600, Shown::Nobody),
    ] {
        assert_eq!(find(&all, &pair, later(seconds)), shown, "{seconds} s");
    }
    let renewed = line(&all, 0, (NOON, later(3300)));
    assert!(renewed.contains("; Max-Age=300;"), "what is left of its life: {renewed}");
    let renewed = renewed.split([' ', ';']).nth(1).unwrap();
    assert_eq!(find(&all, renewed, later(3599)), known(Renew::Yes));
    assert_eq!(find(&all, renewed, later(3600)), Shown::Nobody);
}

#[test]
fn a_clock_that_is_a_little_ahead_does_no_harm() {
    let all = cookies("max_idle = \"10m\"");
    let pair = given(&all, 0, later(300));
    assert_eq!(server(find(&all, &pair, NOON)), Some(0));
    let pair = given(&all, 0, later(301));
    assert_eq!(find(&all, &pair, NOON), Shown::Nobody);
}

#[test]
fn a_cookie_has_the_attributes_that_the_configuration_gives_it() {
    let value = &given(&cookies(""), 0, NOON)[4..].to_owned();
    for (keys, attributes) in [
        ("", "Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("secure = false\nhttp_only = false\nsame_site = \"strict\"", "Path=/; SameSite=Strict"),
        (
            "path = \"/app\"\ndomain = \"example.org\"\nsame_site = \"none\"\nmax_life = \"8h\"",
            "Path=/app; Domain=example.org; Max-Age=28800; Secure; HttpOnly; SameSite=None",
        ),
    ] {
        assert_eq!(
            line(&cookies(keys), 0, (NOON, NOON)),
            format!("Set-Cookie: srv={value}; {attributes}\r\n")
        );
    }
    let mut out = Vec::new();
    cookies("").write(0, (NOON, NOON), Scheme::Http, &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("Secure"), "a browser would not send it back");
    assert_eq!(line(&cookies(""), 3, (NOON, NOON)), "", "no such server");
}

#[test]
fn servers_do_not_see_the_cookie() {
    let all = cookies("");
    for (value, left) in [
        ("srv=1", ""),
        ("a=b; srv=1; c=d", "a=b; c=d"),
        ("srv=1;;a", "a"),
        (" a=b ;xsrv=1", "a=b; xsrv=1"),
        ("", ""),
    ] {
        let mut out = Vec::new();
        let left_over = all.strip(value.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), left);
        assert_eq!(left_over, if left.is_empty() { Left::Nothing } else { Left::Something });
    }
}

#[test]
fn cookies_that_browsers_would_not_take_are_refused() {
    for (keys, reason) in [
        ("cookie = \"a b\"", "1 to 64 letters"),
        ("cookie = \"__Host-s\"", "add secure = true"),
        ("cookie = \"__Host-s\"\nsecure = true\npath = \"/x\"", "for one host and all of it only"),
        ("cookie = \"s\"\nsame_site = \"none\"\nsecure = false", "remove `secure`"),
        ("cookie = \"s\"\npath = \"x\"", "begin it with `/`"),
        ("cookie = \"s\"\npath = \"/x;y\"", "begin it with `/`"),
        ("cookie = \"s\"\nmax_idle = \"2h\"\nmax_life = \"1h\"", "from \"2h\""),
        ("cookie = \"s\"\n[pool.hedge]\nafter = \"p95\"", "must not be answered by another"),
        ("path = \"/\"", "cookie = \"server\""),
    ] {
        let text = format!(
            "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n\
             [[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[pool.sticky]\n{keys}\n"
        );
        let errors = Config::parse("balancer.toml", &text).unwrap_err();
        assert!(errors.count() == 1 && errors.to_string().contains(reason), "{keys}: {errors}");
    }
}

proptest! {
    #[test]
    fn a_value_with_any_flipped_bit_is_refused(place in 0..3usize, at in 0..43usize, bit in 0..8u32, now in 0..u64::from(u32::MAX)) {
        let all = cookies("");
        let now = WallTime::from_unix_seconds(now);
        let mut field = given(&all, place, now).into_bytes();
        prop_assert_eq!(server(all.find(std::iter::once(&field[..]), now)), Some(place));
        field[4 + at] ^= 1 << bit;
        prop_assert_eq!(server(all.find(std::iter::once(&field[..]), now)), None);
    }

    #[test]
    fn no_bytes_of_a_client_lead_anywhere_or_do_harm(field in proptest::collection::vec(any::<u8>(), 0..200), value in "[A-Za-z0-9_-]{43}") {
        let all = cookies("max_idle = \"1m\"\nmax_life = \"1h\"");
        prop_assert_eq!(server(all.find(std::iter::once(&field[..]), NOON)), None);
        prop_assert_eq!(find(&all, &format!("srv={value}"), NOON), Shown::Nobody);
        let mut out = Vec::new();
        all.strip(&field, &mut out);
        prop_assert!(out.len() <= field.len() * 2);
    }

    #[test]
    fn a_value_is_believed_for_exactly_as_long_as_it_should(idle in 1..100_000u64, life in 0..100_000u64, passed in 0..250_000u64) {
        let life = idle + life;
        let all = cookies(&format!("max_idle = \"{idle}s\"\nmax_life = \"{life}s\""));
        let shown = find(&all, &given(&all, 1, NOON), later(passed));
        prop_assert_eq!(server(shown).is_some(), Duration::from_secs(passed) < Duration::from_secs(idle.min(life)));
    }
}
