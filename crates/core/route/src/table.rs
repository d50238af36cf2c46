//! The routes of one listener, and which of them a request takes.
//!
//! Of all routes that match, the most specific is taken: first by host (an exact name, then the longest `*.suffix`, then
//! any), then by path (exact, then the longest beginning, expressions before prefixes of the same length), then by the
//! number of further conditions, and last by the order of the file. So neither the order of unrelated routes nor adding
//! one changes what another gets.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use evenkeel_config::balancer::{
    ListenerIndex,
    route::{Conditions, HostPattern, PathPattern, Route},
};

use crate::{
    Fields, Request,
    frozen::Frozen,
    host::Host,
    paths::{Gathered, Paths, RuleNumber},
    request::meets,
};

/// The place of a route in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(u32);

impl RouteIndex {
    /// The position among the routes that the table was made of.
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// The routes of one listener.
///
/// A copy has memory of its own for searching with expressions, so threads with a copy each never meet.
#[derive(Debug, Clone)]
pub struct Table {
    rules: Vec<Rule>,
    hosts: Frozen<Paths>,
    suffixes: Frozen<Paths>,
    anywhere: Paths,
}

/// A route, as far as a table must look into it.
#[derive(Debug, Clone)]
struct Rule {
    route: RouteIndex,
    conditions: Conditions,
    /// Whether there is more to a match than host and path.
    is_conditional: bool,
}

impl Table {
    /// The routes among `routes`, which are those of a configuration, that are for `listener`.
    #[must_use]
    pub fn new(routes: &[Route], listener: ListenerIndex) -> Self {
        let for_it = |route: &Route| route.listeners.is_empty() || route.listeners.contains(&listener);
        let mut rules: Vec<Rule> = (0..)
            .zip(routes)
            .filter(|(_, route)| for_it(route))
            .map(|(index, route)| Rule {
                route: RouteIndex(index),
                conditions: route.conditions.clone(),
                is_conditional: route.conditions.further() > 0
                    || matches!(route.conditions.path, PathPattern::Regex(_)),
            })
            .collect();
        // Stable, so that the order of the file is the last word.
        rules.sort_by_key(|rule| core::cmp::Reverse(rule.conditions.further()));
        let mut hosts: BTreeMap<Box<[u8]>, Gathered> = BTreeMap::new();
        let mut suffixes: BTreeMap<Box<[u8]>, Gathered> = BTreeMap::new();
        let mut anywhere = Gathered::default();
        for (number, rule) in (0..).zip(&rules) {
            let path = &rule.conditions.path;
            if rule.conditions.hosts.is_empty() {
                anywhere.add(path, number);
            }
            for host in &rule.conditions.hosts {
                let (map, name) = match host {
                    HostPattern::Exact(name) => (&mut hosts, name),
                    HostPattern::Below(name) => (&mut suffixes, name),
                };
                map.entry(name.as_bytes().into()).or_default().add(path, number);
            }
        }
        let freeze = |map: BTreeMap<Box<[u8]>, Gathered>| {
            Frozen::new(map.into_iter().map(|(host, paths)| (host, paths.freeze())).collect())
        };
        Self { hosts: freeze(hosts), suffixes: freeze(suffixes), anywhere: anywhere.freeze(), rules }
    }

    /// Whether it has no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The route that a request takes; `None` when it is for the listener's pool.
    #[must_use]
    pub fn choose<F: Fields>(&self, request: &Request<'_, F>) -> Option<RouteIndex> {
        let path = request.target.path();
        let mut takes = |number: RuleNumber| {
            let rule = &self.rules[number as usize];
            !rule.is_conditional
                || is_described(path, &rule.conditions.path) && meets(request, &rule.conditions)
        };
        let mut find = |paths: &Paths| paths.find(path, &mut takes);
        let named = !self.hosts.is_empty() || !self.suffixes.is_empty();
        let by_host = named.then(|| Host::of(request.host)).and_then(|host| {
            let host = host.as_bytes();
            self.hosts.get(host).and_then(&mut find).or_else(|| {
                let dots = host.iter().enumerate().filter(|&(_, &b)| b == b'.');
                dots.map(|(at, _)| &host[at + 1..])
                    .filter_map(|suffix| self.suffixes.get(suffix))
                    .find_map(&mut find)
            })
        });
        let number = by_host.or_else(|| find(&self.anywhere))?;
        Some(self.rules[number as usize].route)
    }
}

fn is_described(path: &[u8], pattern: &PathPattern) -> bool {
    match pattern {
        PathPattern::Regex(pattern) => pattern.is_match(path),
        PathPattern::Any | PathPattern::Exact(_) | PathPattern::Prefix(_) => true,
    }
}
