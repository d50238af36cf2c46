//! Which route a request takes: the readable specification.

mod support;

use evenkeel_config::balancer::route::Action;
use evenkeel_route::{Scheme, Target, TargetError, Values, is_compressed, render, rewrite, share};
use support::{Asked, config, route_at};

const SITE: &str = include_str!("data/site.toml");

#[test]
fn the_most_specific_route_is_taken() {
    let config = config(SITE);
    for line in
        include_str!("data/site.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (request, expected) = line.split_once("=>").expect("`METHOD URL [Field: value] => route`");
        let mut words = request.split_whitespace();
        let (method, url) = (words.next().unwrap(), words.next().unwrap());
        let rest: Vec<&str> = words.collect();
        let mut source = "192.0.2.1";
        let mut fields = Vec::new();
        for pair in rest.chunks(2) {
            match pair {
                ["from", address] => source = address,
                [name, value] => fields.push((name.trim_end_matches(':'), *value)),
                _ => panic!("{line}"),
            }
        }
        let asked = Asked { method, url, fields: &fields, source };
        assert_eq!(route_at(&config, 0, &asked), expected.trim(), "{line}");
    }
}

#[test]
fn a_route_is_only_for_its_listeners() {
    let config = config("[[route]]\nname = \"only\"\nlistener = \"inside\"\npath_prefix = \"/x\"\n");
    let asked = Asked::get("http://a/x");
    assert_eq!((route_at(&config, 0, &asked), route_at(&config, 1, &asked)), ("-", "only"));
}

fn values<'a>(route: &'a evenkeel_config::balancer::route::Route, target: &'a Target<'a>) -> Values<'a> {
    Values {
        route,
        client: "192.0.2.1",
        authority: b"Site.Example:8080",
        scheme: Scheme::Http,
        method: b"GET",
        target,
        request_id: "id-1",
        tls_version: "",
    }
}

#[test]
fn templates_are_filled_in_by_the_request() {
    for (conditions, template, target, text) in [
        ("", "https://{host}{path}{query}", "/a//b?c=d", "https://site.example/a/b?c=d"),
        ("", "{scheme}://{authority}/{{}}", "/", "http://Site.Example:8080/{}"),
        ("path_prefix = \"/api\"", "/v2{rest}{query}", "/api/x", "/v2/x"),
        ("path_prefix = \"/\"", "/v2{rest}", "/x", "/v2/x"),
        ("path_regex = \"/(?<l>[a-z]{2})/(.*)\"", "/{2}?lang={l}", "/de/a/b", "/a/b?lang=de"),
    ] {
        let config = config(&format!("[[route]]\n{conditions}\nredirect = \"{template}\"\n"));
        let route = &config.routes()[0];
        let Action::Redirect(redirect) = &route.action else { panic!("{route:?}") };
        let target = Target::read(target.as_bytes(), config.routing().escaped_slash).unwrap();
        let mut out = Vec::new();
        render(&redirect.to, &values(route, &target), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text, "{template}");
    }
}

#[test]
fn a_rewritten_target_is_one_path_and_keeps_the_query() {
    for (conditions, to, target, result) in [
        ("path_prefix = \"/api\"", "{rest}", "/api", Ok("/")),
        ("path_prefix = \"/api\"", "{rest}", "/api?x", Ok("/?x")),
        ("path_prefix = \"/api\"", "{rest}", "/api/x/y?z=1", Ok("/x/y?z=1")),
        ("path_prefix = \"/api\"", "/v2{rest}?from=api", "/api/x?z=1", Ok("/v2/x?from=api&z=1")),
        ("path_regex = \"/([^/]*)/(.*)\"", "/{2}/{1}", "/a/", Ok("/a")),
        ("path_regex = \"/x(.*)\"", "{1}", "/x", Ok("/")),
        ("path_regex = \"/x(.*)\"", "{1}", "/xy", Err(TargetError::Malformed)),
        ("path_regex = \"/x-(.*)\"", "/{1}./admin", "/x-.", Err(TargetError::AboveRoot)),
    ] {
        let config = config(&format!("[[route]]\n{conditions}\nrewrite = \"{to}\"\n"));
        let route = &config.routes()[0];
        let slash = config.routing().escaped_slash;
        let target = Target::read(target.as_bytes(), slash).unwrap();
        let got = rewrite(route.rewrite.as_ref().unwrap(), &values(route, &target), slash);
        let got = got.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(got.as_deref().map_err(|error| *error), result, "{to} of {target:?}");
    }
}

#[test]
fn clients_stay_with_their_pool_and_pools_get_their_parts() {
    let shares = |canary: u16| {
        let pools = format!(
            "[{{ name = \"canary\", weight = {canary} }}, {{ name = \"app\", weight = {} }}]",
            100 - canary
        );
        config(&format!("[[route]]\nname = \"r\"\npools = {pools}\n"))
    };
    let of = |config: &evenkeel_config::balancer::Config, client: u32| {
        let route = &config.routes()[0];
        let Action::Pools(shares) = &route.action else { panic!("{route:?}") };
        share(route, shares, std::net::Ipv4Addr::from(client.wrapping_mul(2_654_435_761)).into())
            .unwrap()
            .position()
    };
    let (few, more) = (shares(5), shares(20));
    let on_canary = |config| (0..10_000).filter(|&client| of(config, client) == 1).count();
    let (small, large) = (on_canary(&few), on_canary(&more));
    assert!((400..600).contains(&small) && (1800..2200).contains(&large), "{small} {large}");
    for client in (0..10_000).filter(|&client| of(&few, client) == 1) {
        assert_eq!(of(&more, client), 1, "client {client} lost its pool when the canary grew");
    }
}

#[test]
fn only_listed_media_types_are_compressed() {
    let config = config("[[route]]\ncompress = { types = [\"text/\", \"application/json\"] }\n");
    let settings = config.routes()[0].compress.as_ref().unwrap();
    for (content_type, listed) in [
        ("text/html; charset=utf-8", true),
        ("TEXT/plain", true),
        ("application/json", true),
        ("application/json;x", true),
        ("application/jsonp", false),
        ("image/png", false),
        ("text", false),
        ("", false),
    ] {
        assert_eq!(is_compressed(settings, content_type.as_bytes()), listed, "{content_type}");
    }
}
