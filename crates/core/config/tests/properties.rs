//! What holds for any text: it is parsed or refused, and the examples are what they say they are.

use std::time::Duration;

use evenkeel_config::{
    MAX_ERRORS, MAX_FILE_BYTES,
    agent::{self, Restart},
    balancer::{Config, Expected, LogTarget, Mode, Policy, Probe},
};
use evenkeel_units::Slot;
use proptest::prelude::*;

const MINIMAL: &str = include_str!("../../../../examples/balancer.toml");
const ALL_KEYS: &str = include_str!("../../../../examples/balancer-all-keys.toml");
const AGENT: &str = include_str!("../../../../examples/agent.toml");

fn parse(text: &str) -> Config {
    Config::parse("balancer.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_example_with_every_key_says_what_the_defaults_are() {
    let (all, least) = (parse(ALL_KEYS), parse(MINIMAL));
    let (told, default) = (&all.pools()[0], &least.pools()[0]);
    assert_eq!(all.deadlines(), least.deadlines());
    assert_eq!(all.limits(), least.limits());
    assert_eq!(all.admin(), least.admin());
    assert_eq!(all.listeners()[0].forward, least.listeners()[0].forward);
    assert_eq!(all.listeners()[0].per_source, least.listeners()[0].per_source);
    assert_eq!(told.health_check, default.health_check);
    assert_eq!(told.ejection, default.ejection);
    assert_eq!(told.limits, default.limits);
    assert_eq!(told.retry, default.retry);
    assert_eq!(told.hedge, default.hedge);
    assert_eq!((told.slow_start, &told.policy), (default.slow_start, &default.policy));
    assert_eq!(told.failover, default.failover);
    assert_eq!(all.access_log().map(|log| &log.target), Some(&LogTarget::Stdout));
    assert_eq!(least.access_log(), None);
}

#[test]
fn with_the_least_configuration_everything_that_protects_is_on() {
    let config = parse(MINIMAL);
    let listener = &config.listeners()[0];
    let pool = config.pool(listener.pool);
    assert_eq!((listener.mode, pool.servers.len()), (Mode::Http, 3));
    assert_eq!(pool.policy, Policy::LeastLoaded);
    assert!(matches!(&pool.health_check.probe, Probe::Http { path, least: 200, most: 499 } if path == "/"));
    assert!(u16::from(pool.ejection.max_share) == 500 && u16::from(pool.retry.budget) == 100);
    assert!(pool.limits.queue_length > 0 && pool.retry.attempts > 0 && pool.slow_start > Duration::ZERO);
}

#[test]
fn a_pool_that_also_serves_tcp_is_checked_by_connecting() {
    let tcp =
        format!("{MINIMAL}\n[[listener]]\nname=\"raw\"\nbind=\"0.0.0.0:81\"\nmode=\"tcp\"\npool=\"app\"\n");
    assert_eq!(parse(&tcp).pools()[0].health_check.probe, Probe::Tcp);
}

#[test]
fn the_agents_example_is_read_with_every_key() {
    let config = agent::Config::parse("agent.toml", AGENT).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.slots.images(Slot::B).verity.as_str(), "/dev/disk/by-partlabel/verity_b");
    assert_eq!(config.gate.deadline, Duration::from_secs(140));
    assert_eq!(config.restart, Restart::Systemd);
    assert_eq!(config.device.name.map(|name| name.to_string()).as_deref(), Some("box1"));
    assert_eq!(config.server.url.to_string(), "http://10.0.2.2:9930/");
}

#[test]
fn keys_of_the_agent_marked_as_default_may_be_left_out() {
    let needed: Vec<&str> = AGENT.lines().filter(|line| !line.contains("# default")).collect();
    let full = agent::Config::parse("agent.toml", AGENT);
    assert_eq!(agent::Config::parse("agent.toml", &needed.join("\n")), full);
}

#[test]
fn a_text_with_more_errors_than_anyone_reads_is_refused_with_their_count() {
    let keys: String = (0..MAX_ERRORS + 5).map(|key| format!("k{key} = 1\n")).collect();
    let errors = Config::parse("balancer.toml", &format!("{keys}{MINIMAL}")).unwrap_err();
    assert_eq!((errors.as_slice().len(), errors.count()), (MAX_ERRORS, MAX_ERRORS + 5));
    assert!(errors.to_string().ends_with("and 5 more errors; mend these first"));
}

#[test]
fn a_text_that_is_too_long_is_refused_unread() {
    let errors = Config::parse("balancer.toml", &" ".repeat(MAX_FILE_BYTES + 1)).unwrap_err();
    assert_eq!(errors.count(), 1);
    assert!(errors.to_string().contains("expected at most 8388608; is it the right file?"));
}

#[test]
fn more_servers_than_a_pool_may_have_are_counted() {
    let servers: String = (0..1025)
        .map(|n| format!("[[pool.server]]\nname=\"x{n}\"\naddress=\"10.1.{}.{}:80\"\n", n / 256, n % 256))
        .collect();
    let text = "[[listener]]\nname=\"w\"\nbind=\"[::]:0\"\nmode=\"tcp\"\npool=\"p\"\n[[pool]]\nname=\"p\"\n";
    let errors = Config::parse("balancer.toml", &format!("{text}{servers}")).unwrap_err();
    assert_eq!(errors.count(), 1, "{errors}");
    assert!(errors.to_string().contains("pool[p].server is there 1025 times; expected at most 1024"));
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let errors =
        Config::parse("t", &format!("pool = {}{}", "[".repeat(100_000), "]".repeat(100_000))).unwrap_err();
    assert!(errors.count() > 0);
}

/// Texts that are nearly configurations: an example with some of its lines changed.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let count = lines.len();
    let words = prop_oneof![
        Just("name = \"web\"".to_owned()),
        Just("weight = -1".to_owned()),
        Just("[[pool.server]]".to_owned()),
        Just("[pool]".to_owned()),
        Just("pool = 1".to_owned()),
        Just("server = []".to_owned()),
        Just("listener = [1, {}, [], \"x\"]".to_owned()),
        Just("interval = \"99999999999999999999d\"".to_owned()),
        "[a-z_]{1,10} = [0-9a-z\"\\[\\]{}]{0,10}",
        "\\PC{0,30}",
    ];
    prop::collection::vec((0..count, words), 0..6).prop_map(move |changes| {
        let mut lines = lines.clone();
        changes.into_iter().for_each(|(at, line)| lines[at] = line);
        lines.join("\n")
    })
}

/// Each error names a line that the text has, and its sentence is one line.
fn well_formed(text: &str, errors: &evenkeel_config::Errors) -> Result<(), TestCaseError> {
    prop_assert!(errors.count() > 0);
    for error in errors.as_slice() {
        prop_assert!((1..=text.split('\n').count()).contains(&error.line), "{error}");
        prop_assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_and_never_panics(text: String) {
        if let Err(errors) = Config::parse("balancer.toml", &text) {
            well_formed(&text, &errors)?;
        }
        if let Err(errors) = agent::Config::parse("agent.toml", &text) {
            well_formed(&text, &errors)?;
        }
    }

    #[test]
    fn nearly_right_texts_are_parsed_or_refused_and_never_panic(
        balancer in mutated(ALL_KEYS),
        agent in mutated(AGENT),
    ) {
        if let Err(errors) = Config::parse("balancer.toml", &balancer) {
            well_formed(&balancer, &errors)?;
        }
        if let Err(errors) = agent::Config::parse("agent.toml", &agent) {
            well_formed(&agent, &errors)?;
        }
    }
}

#[test]
fn a_listener_of_datagrams_has_sessions_and_its_pool_is_checked_by_datagram() {
    let text = MINIMAL.replace("mode = \"http\"", "mode = \"udp\"");
    let config = parse(&text);
    let udp = config.listeners()[0].udp.expect("its sessions");
    assert_eq!((udp.idle, udp.max_sessions.get()), (Duration::from_secs(60), 20_000));
    let pool = &config.pools()[0];
    let probe = Probe::Udp { payload: Vec::new(), expect: Expected::Silence };
    assert_eq!((&pool.health_check.probe, pool.limits.connections_per_server.get()), (&probe, 20_000));
    // One port of TCP and the same number of UDP are two addresses.
    let bind = config.listeners()[0].bind;
    let both = format!("{text}\n[[listener]]\nname=\"tcp\"\nbind=\"{bind}\"\nmode=\"tcp\"\npool=\"app\"\n");
    assert_eq!(parse(&both).pools()[0].health_check.probe, Probe::Tcp);
}

#[test]
fn keys_of_datagrams_are_refused_where_there_are_none() {
    let refused = |text: &str, with: &str, words: &str| {
        let text = format!("{text}\n[pool.health_check]\n{with}\n");
        let errors = Config::parse("balancer.toml", &text).expect_err(with).to_string();
        assert!(errors.contains(words), "{with}: {errors}");
    };
    refused(MINIMAL, "payload_hex = \"00\"", "no such key in a check of kind \"http\"");
    refused(MINIMAL, "kind = \"udp\"\npayload_hex = \"0\"", "hexadecimal digits");
    refused(MINIMAL, "kind = \"udp\"\npath = \"/\"", "no such key in a check of kind \"udp\"");
    refused(MINIMAL, "port = 0", "a whole number from 1 to 65535");
    let udp = MINIMAL.replace("mode = \"http\"", "mode = \"tcp\"\nudp = { idle = \"1s\" }");
    assert!(Config::parse("t", &udp).expect_err("tcp has no sessions").to_string().contains("another mode"));
}

#[test]
fn a_listener_believes_headers_of_named_networks_only() {
    let with = |keys: &str| MINIMAL.replacen("pool = \"app\"\n", &format!("pool = \"app\"\n{keys}\n"), 1);
    let told = parse(&with("proxy_protocol = \"required\"\nproxy_trusted = [\"10.0.0.0/8\", \"::1\"]"));
    let believed = told.listeners()[0].proxy_protocol.as_ref().expect("it believes headers");
    assert!(believed.trusted[0].contains([10, 1, 2, 3].into()), "{believed:?}");
    for (keys, words) in [
        ("proxy_protocol = \"required\"", "proxy_trusted is missing"),
        ("proxy_protocol = \"required\"\nproxy_trusted = []", "a list of 1 to 64"),
        ("proxy_protocol = \"optional\"\nproxy_trusted = [\"::1\"]", "expected \"required\""),
        ("proxy_trusted = [\"::1\"]", "without proxy_protocol"),
    ] {
        let errors = Config::parse("t", &with(keys)).expect_err(keys).to_string();
        assert!(errors.contains(words), "{keys}: {errors}");
    }
}
