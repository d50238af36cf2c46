//! `[pool.discovery]`: servers that DNS names, beside those of the file.
//!
//! Owns: what is asked, and what of an answer is believed. Leaves to others: asking. Invariant: an answer never makes a
//! pool that the file could not have: addresses and names differ, no address is one that nothing can listen on, and there
//! are at most as many servers as a pool may have.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use super::{Pool, Priority, Server, ranges};
use crate::{
    Name, Weight,
    document::{Field, Section},
    range::Span,
};

/// Which servers DNS is asked for, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovery {
    /// The name that is looked up, without a dot at its end.
    pub name: DomainName,
    /// The records that are asked for.
    pub records: Records,
    /// Longest time from one lookup to the next, whatever the answer's time to live says.
    pub interval: Duration,
    /// Shortest time from one lookup to the next; at most `interval`.
    pub least_interval: Duration,
    /// Whom to ask; empty for the system's resolvers.
    pub resolvers: Vec<SocketAddr>,
    /// Whether an answer may name this box itself.
    pub loopback: Loopback,
}

/// The records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Records {
    /// IPv4 addresses, all with this port.
    A(NonZeroU16),
    /// IPv6 addresses, all with this port.
    Aaaa(NonZeroU16),
    /// Services (RFC 2782), with priority, weight and port of their own.
    Srv,
}

/// Whether an answer may name this box itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loopback {
    /// Yes.
    Allowed,
    /// No: who can change an answer could else reach what listens only for the box itself.
    Refused,
}

/// A name in the DNS (RFC 1035 §2.3.1, with `_` as RFC 2782 has it): 1 to 253 bytes in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DomainName(String);

impl DomainName {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let fits = text.len() <= 253 && text.split('.').all(label) && text.parse::<IpAddr>().is_err();
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A server that an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Found {
    /// The lower, the sooner it is taken, 0 to 65,535 (RFC 2782); 0 where records have none.
    pub priority: u16,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share beside others of the same priority, 0 to 65,535 (RFC 2782).
    pub weight: u16,
}

impl Discovery {
    /// Whether a server could stand at this address.
    #[must_use]
    pub fn believes(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let itself = ip.is_loopback() && self.loopback == Loopback::Refused;
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast && !itself
    }
}

impl Pool {
    /// The pool with the servers of an answer beside its own.
    ///
    /// What is not believed, or stands in the file already, is left out, and so is what would be too much. Priorities
    /// become ours in their order, the first one being that of servers without one in the file; weights keep their
    /// proportion, as far as 1 to 256 can.
    #[must_use]
    pub fn joined_by(&self, found: &[Found]) -> Self {
        let Some(discovery) = &self.discovery else { return self.clone() };
        let mut found: Vec<_> =
            found.iter().copied().filter(|found| discovery.believes(found.address)).collect();
        found.sort_unstable();
        let mut priorities: Vec<_> = found.iter().map(|found| found.priority).collect();
        priorities.dedup();
        let most = found.iter().map(|found| found.weight).max().unwrap_or(0);
        let mut pool = self.clone();
        for one in found {
            let known = |server: &Server| server.address == one.address;
            let Some(name) = Name::parse(&server_name(one.address)) else { continue };
            let full = pool.servers.len() >= ranges::MAX_SERVERS;
            if full || pool.servers.iter().any(|server| known(server) || server.name == name) {
                continue;
            }
            let rank = priorities.iter().position(|&priority| priority == one.priority).unwrap_or(0);
            pool.servers.push(Server {
                name,
                address: one.address,
                weight: weight(one.weight, most),
                priority: Priority::ranked(rank),
                zone: None,
            });
        }
        pool
    }
}

/// A weight of RFC 2782 as ours: what has none gets the least.
fn weight(weight: u16, most: u16) -> Weight {
    let scaled = match most {
        0..=Weight::MOST => u64::from(weight),
        most => u64::from(weight) * u64::from(Weight::MOST) / u64::from(most),
    };
    Weight::new(scaled.max(1)).unwrap_or(Weight::ONE)
}

/// The name of a server that DNS found: its address in the letters that a name may have.
fn server_name(address: SocketAddr) -> String {
    let ip = format!("{}", address.ip().to_canonical()).replace(':', "-");
    format!("dns-{ip}-{}", address.port())
}

pub(super) const DISCOVERY_KEYS: &[&str] =
    &["name", "kind", "port", "interval", "least_interval", "resolvers", "allow_loopback"];

pub(super) fn discovery(section: &Section<'_>) -> Option<Discovery> {
    let name = section.required("name", "name = \"app.internal\"").and_then(|field| {
        field.text("a name such as `app.internal`", "write a name that DNS knows", DomainName::parse)
    });
    let records = records(section);
    let interval = section.duration("interval", ranges::DISCOVERY_INTERVAL);
    let most = interval.unwrap_or(ranges::DISCOVERY_INTERVAL.most);
    let least_interval = match section.field("least_interval") {
        None => Some(ranges::DISCOVERY_LEAST.default.min(most)),
        Some(field) => {
            field.duration(Span { most: most.min(ranges::DISCOVERY_LEAST.most), ..ranges::DISCOVERY_LEAST })
        }
    };
    let resolvers = section.field("resolvers").map_or(Some(Vec::new()), |field| resolvers(&field));
    let loopback = section.field("allow_loopback").map_or(Some(false), |field| field.flag());
    Some(Discovery {
        name: name?,
        records: records?,
        interval: interval?,
        least_interval: least_interval?,
        resolvers: resolvers?,
        loopback: if loopback? { Loopback::Allowed } else { Loopback::Refused },
    })
}

fn records(section: &Section<'_>) -> Option<Records> {
    let kind = section.field("kind").map_or(Some("a".to_owned()), |field| {
        let remedy = "write \"srv\" where DNS also knows the port";
        field.text("\"a\", \"aaaa\" or \"srv\"", remedy, |text| {
            matches!(text, "a" | "aaaa" | "srv").then(|| text.to_owned())
        })
    });
    let port = section.field("port");
    match (kind?.as_str(), port) {
        ("srv", None) => Some(Records::Srv),
        ("srv", Some(field)) => {
            field.refuse("no such key with kind = \"srv\"", "remove it: each record has its own port");
            None
        }
        (kind, Some(field)) => {
            let port = NonZeroU16::new(u16::try_from(field.count(ranges::DISCOVERY_PORT)?).ok()?)?;
            Some(if kind == "aaaa" { Records::Aaaa(port) } else { Records::A(port) })
        }
        (_, None) => {
            section.required("port", "port = 8080")?;
            None
        }
    }
}

fn resolvers(field: &Field<'_>) -> Option<Vec<SocketAddr>> {
    let items = field.items();
    if items.len() > ranges::MAX_RESOLVERS {
        field.refuse(
            format!("at most {} resolvers", ranges::MAX_RESOLVERS),
            "those nearest to the box will do",
        );
        return None;
    }
    let resolver = |item: &Field<'_>| {
        let expected = "an IP address, with or without a port, such as `10.0.0.53` or `10.0.0.53:53`";
        item.text(expected, "write the address of a resolver", |text| {
            let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
            address.filter(|address| address.port() != 0 && !address.ip().is_unspecified())
        })
    };
    let resolvers: Vec<_> = items.iter().map(resolver).collect();
    resolvers.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;
    use crate::balancer::Config;

    fn pool(servers: &str, discovery: &str) -> Pool {
        let text = format!(
            "[[listener]]\nname=\"l\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"p\"\n[[pool]]\nname=\"p\"\n{servers}\
             [pool.discovery]\nname=\"App.Internal.\"\n{discovery}"
        );
        Config::parse("t", &text).unwrap_or_else(|errors| panic!("{errors}")).pools()[0].clone()
    }

    fn found(address: &str, priority: u16, weight: u16) -> Found {
        Found { address: address.parse().unwrap(), priority, weight }
    }

    fn shown(pool: &Pool) -> Vec<String> {
        let show = |server: &Server| {
            format!(
                "{} {} w{} p{}",
                server.name,
                server.address,
                server.weight.as_u16(),
                server.priority.as_u8()
            )
        };
        pool.servers.iter().map(show).collect()
    }

    #[test]
    fn answers_become_servers_beside_those_of_the_file() {
        let pool = pool("[[pool.server]]\nname=\"own\"\naddress=\"10.0.0.1:80\"\n", "port=80\n");
        assert_eq!(pool.discovery.as_ref().map(|discovery| discovery.name.as_str()), Some("app.internal"));
        let joined = pool.joined_by(&[
            found("10.0.0.2:80", 0, 0),
            found("10.0.0.1:80", 0, 0),
            found("10.0.0.2:80", 0, 0),
        ]);
        assert_eq!(shown(&joined), ["own 10.0.0.1:80 w1 p0", "dns-10.0.0.2-80 10.0.0.2:80 w1 p0"]);
    }

    #[test]
    fn priorities_and_weights_of_services_become_ours() {
        let pool = pool("", "kind=\"srv\"\n");
        let joined = pool.joined_by(&[
            found("10.0.0.4:80", 20, 0),
            found("[2001:db8::1]:81", 10, 60_000),
            found("10.0.0.3:80", 10, 30_000),
        ]);
        let expected = [
            "dns-10.0.0.3-80 10.0.0.3:80 w128 p0",
            "dns-2001-db8--1-81 [2001:db8::1]:81 w256 p0",
            "dns-10.0.0.4-80 10.0.0.4:80 w1 p1",
        ];
        assert_eq!(shown(&joined), expected);
    }

    #[test]
    fn no_answer_leads_where_no_server_can_be_nor_to_the_box_itself() {
        let lies = [
            "0.0.0.0:80",
            "255.255.255.255:80",
            "224.0.0.1:80",
            "127.0.0.1:80",
            "[::]:80",
            "[::1]:80",
            "[ff02::1]:80",
            "[::ffff:127.0.0.1]:80",
            "10.0.0.1:0",
        ]
        .map(|address| found(address, 0, 0));
        assert!(pool("", "kind=\"srv\"\n").joined_by(&lies).servers.is_empty());
        let allowed = pool("", "kind=\"srv\"\nallow_loopback=true\n").joined_by(&lies);
        assert_eq!(allowed.servers.len(), 2, "one address twice is one server: {:?}", shown(&allowed));
    }

    #[test]
    fn an_answer_of_any_length_leaves_no_more_servers_than_a_pool_may_have() {
        let many: Vec<_> =
            (0..5000u16).map(|n| found(&format!("10.0.{}.{}:80", n / 250, n % 250 + 1), n, n)).collect();
        let joined = pool("", "kind=\"srv\"\n").joined_by(&many);
        assert_eq!(joined.servers.len(), ranges::MAX_SERVERS);
        assert!(joined.servers.iter().all(|server| server.priority.as_u8() <= 9));
    }

    #[test]
    fn what_is_no_name_or_has_no_port_is_refused() {
        for (lines, expected) in [
            ("name=\"10.0.0.1\"\nport=1\n", "discovery.name is `10.0.0.1`"),
            ("name=\"a..b\"\nport=1\n", "discovery.name is `a..b`"),
            ("name=\"a\"\n", "discovery.port is missing"),
            ("name=\"a\"\nkind=\"srv\"\nport=1\n", "discovery.port is `1`"),
            ("name=\"a\"\nport=1\nresolvers=[\"x\"]\n", "discovery.resolvers[1] is `x`"),
            (
                "name=\"a\"\nport=1\ninterval=\"2s\"\nleast_interval=\"3s\"\n",
                "discovery.least_interval is `3s`",
            ),
        ] {
            let text = format!(
                "[[listener]]\nname=\"l\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"p\"\n[[pool]]\nname=\"p\"\n\
                 [pool.discovery]\n{lines}"
            );
            let errors = Config::parse("t", &text).unwrap_err();
            assert!(errors.count() == 1 && errors.to_string().contains(expected), "{lines}: {errors}");
        }
    }
}
