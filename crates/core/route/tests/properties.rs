//! What holds for any routes and any request.

mod support;

use evenkeel_config::balancer::{
    Config,
    route::{EscapedSlash, HostPattern, PathPattern, Route},
};
use evenkeel_route::{RouteIndex, Table, Target};
use proptest::prelude::*;
use support::{Asked, BASE, choose};

const HOSTS: [&str; 6] = ["", "a.x", "b.x", "*.x", "*.a.x", "c.a.x"];
const PATHS: [&str; 9] = [
    "",
    "path = \"/a\"",
    "path = \"/a/b\"",
    "path_prefix = \"/\"",
    "path_prefix = \"/a\"",
    "path_prefix = \"/a/b\"",
    "path_prefix = \"/ab\"",
    "path_regex = \"/a/[bc]\"",
    "path_regex = \".*b\"",
];
const METHODS: [&str; 3] = ["", "GET", "POST"];

/// A route as its host, its path and its method.
type Drawn = (usize, usize, usize);

fn drawn() -> impl Strategy<Value = Drawn> {
    (0..HOSTS.len(), 0..PATHS.len(), 0..METHODS.len())
}

fn text(routes: &[Drawn]) -> String {
    let line = |key: &str, value: &str| {
        if value.is_empty() { String::new() } else { format!("{key} = \"{value}\"\n") }
    };
    let route = |(at, &(host, path, method)): (usize, &Drawn)| {
        let (host, method) = (line("host", HOSTS[host]), line("method", METHODS[method]));
        format!("[[route]]\nname = \"{at}\"\n{host}{method}{}\n", PATHS[path])
    };
    routes.iter().enumerate().map(route).collect()
}

/// Different routes: what the drawn ones are without those that an earlier one hides.
fn config(mut routes: Vec<Drawn>) -> Config {
    // The prefix `/` is any path.
    routes.iter_mut().for_each(|(_, path, _)| *path = if *path == 3 { 0 } else { *path });
    let mut different: Vec<Drawn> = Vec::new();
    for route in routes {
        if !different.contains(&route) {
            different.push(route);
        }
    }
    let text = format!("{BASE}{}", text(&different));
    Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn asked() -> impl Strategy<Value = (String, String)> {
    let host = proptest::sample::select(vec!["a.x", "b.x", "c.a.x", "x", "d.c.a.x", "A.X:80", "z"]);
    let path = proptest::sample::select(vec![
        "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abb", "/a;b", "/a/c", "//a", "/x/../a",
    ]);
    let method = proptest::sample::select(vec!["GET", "POST", "PUT"]);
    (host, path, method).prop_map(|(host, path, method)| (method.to_owned(), format!("http://{host}{path}")))
}

fn position(config: &Config, (method, url): &(String, String)) -> Option<usize> {
    let table = Table::new(config.routes(), config.listener_index(0).expect("a listener"));
    let asked = Asked { method, ..Asked::get(url) };
    choose(&table, &asked).map(RouteIndex::position)
}

/// How specific a route is for a request, larger is more; `None` when it does not match. Written for being read, not
/// for speed.
fn rank(route: &Route, host: &str, path: &str, method: &str) -> Option<(usize, usize, usize, usize)> {
    let host = match route.conditions.hosts.first() {
        None => 0,
        Some(HostPattern::Exact(name)) => (host == name).then_some(1000)?,
        Some(HostPattern::Below(name)) => host.ends_with(&format!(".{name}")).then_some(name.len())?,
    };
    let (path, expression) = match &route.conditions.path {
        PathPattern::Any => (0, 0),
        PathPattern::Exact(exact) => ((path == exact).then_some(1000)?, 0),
        PathPattern::Prefix(prefix) => {
            let rest = path.strip_prefix(prefix.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', ';'])).then_some((prefix.len(), 0))?
        }
        PathPattern::Regex(pattern) => {
            pattern.is_match(path.as_bytes()).then_some((pattern.literal_prefix().len(), 1))?
        }
    };
    let methods = &route.conditions.methods;
    (methods.is_empty() || methods.iter().any(|known| known == method)).then_some(())?;
    Some((host, path, expression, route.conditions.further()))
}

proptest! {
    #[test]
    fn the_choice_is_that_of_comparing_all_routes(
        routes in proptest::collection::vec(drawn(), 0..12),
        request in asked(),
    ) {
        let config = config(routes);
        let (method, url) = &request;
        let (authority, target) = url["http://".len()..].split_at(url["http://".len()..].find('/').unwrap());
        let host = authority.split(':').next().unwrap().to_lowercase();
        let target = Target::read(target.as_bytes(), EscapedSlash::Refuse).unwrap();
        let path = std::str::from_utf8(target.path()).unwrap();
        let ranked = config.routes().iter().enumerate();
        let ranked = ranked.filter_map(|(at, route)| Some((rank(route, &host, path, method)?, at)));
        // The first of the highest.
        let best = ranked.max_by(|(a, x), (b, y)| a.cmp(b).then(y.cmp(x))).map(|(_, at)| at);
        prop_assert_eq!(position(&config, &request), best);
    }

    #[test]
    fn a_route_that_does_not_match_changes_nothing(
        routes in proptest::collection::vec(drawn(), 0..10),
        more in drawn(),
        request in asked(),
    ) {
        let before = config(routes.clone());
        let alone = config(vec![more]);
        prop_assume!(position(&alone, &request).is_none());
        let after = config(routes.into_iter().chain([more]).collect());
        prop_assert_eq!(position(&before, &request), position(&after, &request));
    }

    #[test]
    fn a_path_has_one_normal_form_and_reading_that_changes_nothing(path in "/[a./%;26eEfF5c]{0,20}") {
        for slash in [EscapedSlash::Keep, EscapedSlash::Refuse] {
            let Ok(target) = Target::read(path.as_bytes(), slash) else { continue };
            let again = Target::read(target.path(), slash).unwrap();
            prop_assert_eq!(again.path(), target.path());
            prop_assert_eq!(again.changed(), target.changed().and_then(|_| again.changed()));
            let text = std::str::from_utf8(target.path()).unwrap();
            prop_assert!(!text.contains("//") && !text.split('/').any(|part| part == "." || part == ".."), "{}", text);
        }
    }

    #[test]
    fn no_target_is_read_with_a_panic(target in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Target::read(&target, EscapedSlash::Refuse);
        let _ = Target::read(&target, EscapedSlash::Keep);
    }
}

/// A limit as a configuration gives it.
fn limiter(requests: u32, per_ms: u64, burst: u32, keys: u32) -> evenkeel_route::Limiter {
    let text = format!(
        "{BASE}[[route]]\nrate_limit = {{ requests = {requests}, per = \"{per_ms}ms\", burst = {burst}, keys = {keys} }}\n"
    );
    let config = Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    evenkeel_route::Limiter::new(config.routes()[0].rate_limit.as_ref().expect("it has a limit"), 7)
}

proptest! {
    /// In any stretch of time nobody gets more than the burst and the rate times that time, and who keeps to the rate is
    /// never refused.
    #[test]
    fn nobody_gets_more_than_the_burst_and_the_rate(
        requests in 1_u32..200,
        burst in 1_u32..20,
        gaps in proptest::collection::vec((0_u64..40, 0_u8..3), 1..200),
    ) {
        let limiter = limiter(requests, 1000, burst, 64);
        let cost = 1_000_000_000 / u64::from(requests);
        let mut now = 1_000_000_000;
        let mut served: [Vec<u64>; 3] = Default::default();
        for (gap, who) in gaps {
            now += gap * 1_000_000;
            let at = evenkeel_units::Instant::from_nanos(now);
            if limiter.admit(limiter.key(&[who]), at) == evenkeel_route::Verdict::Within {
                served[usize::from(who)].push(now);
            }
        }
        for times in served {
            for (first, from) in times.iter().enumerate() {
                for (count, until) in times[first..].iter().enumerate() {
                    let most = u64::from(burst) + (until - from) / cost + 1;
                    prop_assert!((count as u64) < most, "{count} within {} ns", until - from);
                }
            }
        }
        let steady = limiter.key(b"steady");
        for round in 0..50 {
            let at = evenkeel_units::Instant::from_nanos(now + round * cost);
            prop_assert_eq!(limiter.admit(steady, at), evenkeel_route::Verdict::Within);
        }
    }

    /// After the time that a refusal names a request is within the limit, and just before it is not.
    #[test]
    fn a_refusal_names_the_time_of_the_next_request(requests in 1_u32..1000, burst in 1_u32..10) {
        let limiter = limiter(requests, 60_000, burst, 64);
        let key = limiter.key(b"who");
        let now = evenkeel_units::Instant::from_nanos(5_000_000_000);
        for _ in 0..burst {
            prop_assert_eq!(limiter.admit(key, now), evenkeel_route::Verdict::Within);
        }
        let evenkeel_route::Verdict::Exceeded { retry_after } = limiter.admit(key, now) else {
            return Err(TestCaseError::fail("the burst was exceeded"));
        };
        let just_before = now + (retry_after - std::time::Duration::from_nanos(1));
        prop_assert_ne!(limiter.admit(key, just_before), evenkeel_route::Verdict::Within);
        prop_assert_eq!(limiter.admit(key, now + retry_after), evenkeel_route::Verdict::Within);
    }
}

/// Threads that count one client at the same moment let through what one would.
#[test]
fn threads_share_a_limit_exactly() {
    let limiter = limiter(1, 3_600_000, 500, 64);
    let served: usize = std::thread::scope(|scope| {
        let count = || {
            let now = evenkeel_units::Instant::from_nanos(9_000_000_000);
            let admitted =
                |_: &u32| limiter.admit(limiter.key(b"one"), now) == evenkeel_route::Verdict::Within;
            (0..1000).filter(admitted).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it counts")).sum()
    });
    assert_eq!(served, 500);
}
