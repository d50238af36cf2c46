//! What an operator reads who has made mistakes: all of them at once, each with line, value and remedy.

use evenkeel_config::{agent, balancer};

const TEN_ERRORS: &str = include_str!("data/ten-errors.toml");

#[test]
fn a_configuration_with_ten_errors_is_refused_whole_with_exactly_these_ten() {
    let errors = balancer::Config::parse("balancer.toml", TEN_ERRORS).unwrap_err();
    assert_eq!(errors.to_string(), include_str!("data/ten-errors.txt").trim_end());
    assert_eq!(errors.count(), 10);
}

#[test]
fn what_a_line_that_is_not_toml_may_have_hidden_is_not_reported_as_missing() {
    let text = "[[listener]]\nname = \"web\nbind = \"0.0.0.0:8080\"\nmode = \"htp\"\npool = \"app\"\n";
    let errors = balancer::Config::parse("balancer.toml", text).unwrap_err();
    let lines: Vec<usize> = errors.as_slice().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 4], "{errors}");
}

#[test]
fn two_images_in_one_place_are_refused_for_an_update_would_overwrite_the_running_one() {
    let text = r#"
[device]
hardware = "x86_64"
channel = "stable"
[server]
url = "http://10.0.2.2:9930"
[slots.a]
root = "/dev/sda2"
verity = "/dev/sda3"
[slots.b]
root = "/dev/sda2"
verity = "/dev/sda5"
[gate]
site = "http://127.0.0.1:8080/"
"#;
    let errors = agent::Config::parse("agent.toml", text).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "agent.toml:11: slots.b.root is `/dev/sda2`, as on line 8; expected a value of its own; give each image \
         a place of its own, or an update overwrites the running one"
    );
}

#[test]
fn every_item_of_a_list_that_is_wrong_is_told() {
    let text = r#"
[[listener]]
name = "web"
bind = "0.0.0.0:8080"
mode = "http"
pool = "app"
[listener.forward]
fields = ["via", "x-forwarded", "x-real-ip"]
trusted = ["10.0.0.1/8",
  "10.0.0.0/33"]
[[pool]]
name = "app"
policy = "round-robin"
[[pool.server]]
name = "app1"
address = "10.0.0.7:80"
"#;
    let errors = balancer::Config::parse("balancer.toml", text).unwrap_err();
    let told: Vec<_> = errors.as_slice().iter().map(|error| (error.line, error.to_string())).collect();
    assert_eq!(told.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [8, 8, 9, 10], "{errors}");
    assert!(told[2].1.contains("listener[web].forward.trusted[1] is `10.0.0.1/8`"), "{errors}");
}

#[test]
fn a_collector_is_taken_apart_and_what_cannot_be_one_is_refused() {
    let base = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nmode = \"http\"\npool = \"app\"\n\
                [[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.7:80\"\n";
    let parse = |lines: &str| balancer::Config::parse("balancer.toml", &format!("{base}[tracing]\n{lines}"));
    for (url, tls, host, port, path) in [
        ("http://127.0.0.1:4318/v1/traces", false, "127.0.0.1", 4318, "/v1/traces"),
        ("http://collector", false, "collector", 80, "/v1/traces"),
        ("https://collector.example/otlp", true, "collector.example", 443, "/otlp"),
        ("https://[::1]", true, "[::1]", 443, "/v1/traces"),
        ("https://[::1]:4318/", true, "[::1]", 4318, "/v1/traces"),
        ("https://c:80/x", true, "c", 80, "/x"),
    ] {
        let config = parse(&format!("endpoint = \"{url}\"\n")).unwrap_or_else(|errors| panic!("{errors}"));
        let tracing = config.tracing().unwrap();
        let endpoint = &tracing.endpoint;
        assert_eq!(endpoint.encryption == balancer::Encryption::Tls, tls, "{url}");
        assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()), (host, port, path));
        assert_eq!((tracing.queue_length.get(), tracing.batch_size.get()), (2048, 512));
        assert_eq!((u16::from(tracing.sample), tracing.service_name.as_str()), (10, "evenkeel"));
    }
    let few = parse("endpoint = \"http://c\"\nqueue_length = 100\n").unwrap();
    assert_eq!(few.tracing().unwrap().batch_size.get(), 100, "a message takes no more than may wait");
    for (lines, count) in [
        ("", 1),
        ("endpoint = \"grpc://c:4317\"", 1),
        ("endpoint = \"http://user@c\"", 1),
        ("endpoint = \"http://c\"\nqueue_length = 100\nbatch_size = 101", 1),
        ("endpoint = \"http://c\"\nsample_per_mille = 1001\ndeadline = \"1h\"\nservice_name = \"\"", 3),
        ("endpoint = \"http://c\"\n[[tracing.header]]\nname = \"Content-Type\"\nfile = \"x\"", 1),
        ("endpoint = \"http://c\"\n[[tracing.header]]\nname = \"a b\"", 2),
        ("endpoint = \"http://c\"\nendpont = 1", 1),
    ] {
        assert_eq!(parse(lines).unwrap_err().count(), count, "{lines}");
    }
}

#[test]
fn a_route_cannot_take_the_host_from_a_request_nor_give_it_two() {
    let base = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nmode = \"http\"\npool = \"app\"\n\
                [[pool]]\nname = \"app\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.7:80\"\n";
    for (edits, passes) in [
        ("set = { Host = \"inner\" }", true),
        ("set = { X-A = \"1\" }, remove = [\"X-B\"]", true),
        ("remove = [\"host\"]", false),
        ("add = { Host = \"inner\" }", false),
        ("set = { Host = \"a\", host = \"b\" }", false),
        ("set = { Host = \"a\" }, add = { HOST = \"b\" }", false),
    ] {
        let text = format!("{base}[[route]]\nrequest_header = {{ {edits} }}\n");
        let errors = balancer::Config::parse("balancer.toml", &text).err();
        assert_eq!(errors.is_none(), passes, "{edits}: {errors:?}");
        assert!(
            errors.is_none_or(|errors| errors.to_string().contains("expected Host only in `set`, and once"))
        );
    }
}

#[test]
fn what_servers_are_told_is_asked_for_in_known_words_and_only_where_it_can_be_told() {
    use balancer::{ProxyField, ProxyFields};
    let parse = |lines: &str| {
        let text = format!(
            "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nmode = \"http\"\npool = \"app\"\n[[pool]]\n\
             name = \"app\"\n{lines}\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.7:80\"\n"
        );
        balancer::Config::parse("balancer.toml", &text)
    };
    let fields = |lines: &str| parse(lines).unwrap().pools()[0].proxy_protocol.unwrap().fields;
    assert_eq!(fields("proxy_protocol = \"v1\""), ProxyFields::NONE);
    assert_eq!(fields("proxy_protocol = \"v2\""), ProxyFields::ALL);
    assert_eq!(fields("proxy_protocol = \"v2\"\nproxy_fields = []"), ProxyFields::NONE);
    let two = fields("proxy_protocol = \"v2\"\nproxy_fields = [\"tls\", \"unique-id\"]");
    assert!(two.has(ProxyField::Tls) && two.has(ProxyField::UniqueId));
    assert!(
        !two.has(ProxyField::ClientName) && !two.has(ProxyField::Authority) && !two.has(ProxyField::Alpn)
    );
    for lines in [
        "proxy_fields = []",
        "proxy_protocol = \"v1\"\nproxy_fields = []",
        "proxy_protocol = \"v2\"\nproxy_fields = [\"ssl\"]",
        "proxy_protocol = \"v2\"\nproxy_fields = \"tls\"",
    ] {
        assert_eq!(parse(lines).unwrap_err().count(), 1, "{lines}");
    }
}
