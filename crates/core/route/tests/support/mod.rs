//! Configurations and requests for the tests of routes.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::net::IpAddr;

use evenkeel_config::balancer::{
    Config,
    route::{EscapedSlash, Route},
};
use evenkeel_route::{Request, RouteIndex, Table, Target};

/// What each configuration of a test begins with.
pub(crate) const BASE: &str = include_str!("../data/base.toml");

pub(crate) fn config(routes: &str) -> Config {
    Config::parse("balancer.toml", &format!("{BASE}{routes}")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A request as a test writes it: `GET http://host/path` and fields.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) source: &'a str,
}

impl<'a> Asked<'a> {
    pub(crate) fn get(url: &'a str) -> Self {
        Self { method: "GET", url, fields: &[], source: "192.0.2.1" }
    }

    fn authority_and_target(&self) -> (&'a str, &'a str) {
        let rest = self.url.strip_prefix("http://").expect("a test's URL");
        rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
    }
}

pub(crate) fn choose(table: &Table, asked: &Asked<'_>) -> Option<RouteIndex> {
    let (host, target) = asked.authority_and_target();
    let target = Target::read(target.as_bytes(), EscapedSlash::Refuse).expect("a test's path");
    let source: IpAddr = asked.source.parse().expect("a test's address");
    table.choose(&Request {
        method: asked.method.as_bytes(),
        host: host.as_bytes(),
        target: &target,
        source,
        fields: asked.fields,
    })
}

/// The name of the route that a request takes at the listener `position`; `-` for none.
pub(crate) fn route_at<'c>(config: &'c Config, position: usize, asked: &Asked<'_>) -> &'c str {
    let listener = config.listener_index(position).expect("a test's listener");
    let table = Table::new(config.routes(), listener);
    choose(&table, asked).map_or("-", |route| name(&config.routes()[route.position()]))
}

fn name(route: &Route) -> &str {
    route.name.as_str()
}
