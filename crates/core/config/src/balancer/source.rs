//! `source` of a pool: the addresses of this box from which its servers are connected to.
//!
//! Invariant: each is an address that a connection to one of the pool's servers can go from; whether it is one of this box
//! is only known on the box.

use alloc::{format, string::String, vec::Vec};
use core::net::IpAddr;

use super::{
    Claims, Mode, Server,
    discovery::{Discovery, Records},
    ranges,
};
use crate::document::{Field, Section};

const EXPECTED: &str = "an IP address of this box without a port, such as \"10.0.0.5\"";

const REMEDY: &str = "leave the key out to let the system choose";

/// The families of addresses that a pool's servers have, or may have.
#[derive(Debug, Clone, Copy, Default)]
struct Families {
    /// Certainly, by the file.
    told: (bool, bool),
    /// Maybe, by DNS.
    found: (bool, bool),
}

impl Families {
    fn of(servers: &[Server], discovery: Option<&Discovery>) -> Self {
        let has = |is: fn(&Server) -> bool| servers.iter().any(is);
        let found = match discovery.map(|discovery| discovery.records) {
            None => (false, false),
            Some(Records::A(_)) => (true, false),
            Some(Records::Aaaa(_)) => (false, true),
            Some(Records::Srv) => (true, true),
        };
        Self { told: (has(|server| server.address.is_ipv4()), has(|server| server.address.is_ipv6())), found }
    }

    const fn are_reached_from(self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(_) => self.told.0 || self.found.0,
            IpAddr::V6(_) => self.told.1 || self.found.1,
        }
    }
}

/// The sources of a pool; none when the system chooses.
pub(super) fn sources(
    section: &Section<'_>,
    mode: Mode,
    (servers, discovery): (&[Server], Option<&Discovery>),
) -> Option<Vec<IpAddr>> {
    let Some(field) = section.field("source") else { return Some(Vec::new()) };
    if mode == Mode::Udp {
        field.refuse("no such key in a pool for mode \"udp\"", "remove it: only connections have a source");
        return None;
    }
    let usable = |text: &str| text.parse().ok().filter(is_usable);
    let sources = field.texts(ranges::MAX_SOURCES, EXPECTED, REMEDY, usable)?;
    if sources.is_empty() {
        field.refuse(format!("a list of 1 to {} addresses", ranges::MAX_SOURCES), REMEDY);
        return None;
    }
    let families = Families::of(servers, discovery);
    let mut claims = Claims(Vec::new());
    let items = field.items();
    let fit = sources.iter().zip(&items).filter(|&(&source, item)| {
        claims.claim(source, item, "list each address once");
        fits(source, item, families)
    });
    if fit.count() < sources.len() {
        return None;
    }
    let lacks = |family: &str| -> Option<Vec<IpAddr>> {
        let example = if family == "IPv4" { "10.0.0.5" } else { "2001:db8::5" };
        field.refuse(
            format!("an {family} address among them, such as \"{example}\", for the servers that have one"),
            "add one, or put servers of the two families into pools of their own",
        );
        None
    };
    let (four, six) = families.told;
    if four && !sources.iter().any(IpAddr::is_ipv4) {
        return lacks("IPv4");
    }
    if six && !sources.iter().any(IpAddr::is_ipv6) {
        return lacks("IPv6");
    }
    Some(sources)
}

fn fits(source: IpAddr, item: &Field<'_>, families: Families) -> bool {
    let fits = families.are_reached_from(source);
    if !fits {
        let (family, servers) = if source.is_ipv4() { ("IPv6", "IPv6") } else { ("IPv4", "IPv4") };
        let expected: String = format!("an {family} address: every server of the pool has one");
        let remedy = if servers == "IPv6" {
            "write an address of this box that reaches the servers, such as \"2001:db8::5\""
        } else {
            "write an address of this box that reaches the servers, such as \"10.0.0.5\""
        };
        item.refuse(expected, remedy);
    }
    fits
}

/// Whether a connection can go from an address at all.
fn is_usable(address: &IpAddr) -> bool {
    let group = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        // Without an interface it says nothing.
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_unspecified() && !address.is_multicast() && !group
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::balancer::Config;

    fn read(mode: &str, source: &str, servers: &[&str], more: &str) -> Result<Vec<IpAddr>, String> {
        let list: String = servers
            .iter()
            .enumerate()
            .map(|(n, address)| format!("[[pool.server]]\nname=\"s{n}\"\naddress=\"{address}\"\n"))
            .collect();
        let text = format!(
            "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\nmode=\"{mode}\"\npool=\"app\"\n\
             [[pool]]\nname=\"app\"\n{source}\n{list}{more}"
        );
        Config::parse("balancer.toml", &text)
            .map(|config| config.pools()[0].sources.clone())
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn sources_are_addresses_that_reach_the_servers() {
        let four = &["10.0.0.11:80"][..];
        assert_eq!(read("http", "", four, ""), Ok(Vec::new()));
        let two = "source = [\"10.0.0.5\", \"10.0.0.6\"]";
        let expected = [[10, 0, 0, 5].into(), [10, 0, 0, 6].into()];
        assert_eq!(read("http", two, four, ""), Ok(expected.to_vec()));
        assert_eq!(read("tcp", two, four, ""), Ok(expected.to_vec()));
        let both = "source = [\"10.0.0.5\", \"2001:db8::5\"]";
        assert!(read("http", both, &["10.0.0.11:80", "[2001:db8::11]:80"], "").is_ok());
        let srv = "[pool.discovery]\nname=\"app.internal\"\nkind=\"srv\"\n";
        assert!(read("http", both, &[], srv).is_ok(), "DNS may name servers of either family");
    }

    #[test]
    fn what_no_connection_can_go_from_is_refused_with_the_reason() {
        let four = &["10.0.0.11:80"][..];
        for (mode, source, servers, told) in [
            ("http", "source = []", four, "a list of 1 to 16 addresses"),
            ("http", "source = \"10.0.0.5\"", four, "a list in brackets"),
            (
                "http",
                "source = [\"0.0.0.0\"]",
                four,
                "source[1] is `0.0.0.0`; expected an IP address of this box",
            ),
            ("http", "source = [\"10.0.0.5\", \"::\"]", four, "source[2] is `::`"),
            ("http", "source = [\"224.0.0.1\"]", four, "expected an IP address of this box"),
            ("http", "source = [\"255.255.255.255\"]", four, "expected an IP address of this box"),
            ("http", "source = [\"10.0.0.5:0\"]", four, "without a port"),
            ("http", "source = [\"10.0.0.5\", \"10.0.0.5\"]", four, "list each address once"),
            (
                "http",
                "source = [\"2001:db8::5\"]",
                four,
                "expected an IPv4 address: every server of the pool",
            ),
            (
                "http",
                "source = [\"10.0.0.5\"]",
                &["[2001:db8::11]:80"][..],
                "expected an IPv6 address: every",
            ),
            (
                "http",
                "source = [\"10.0.0.5\"]",
                &["10.0.0.11:80", "[::1]:80"][..],
                "an IPv6 address among them",
            ),
            (
                "http",
                "source = [\"fe80::1\"]",
                &["[2001:db8::11]:80"][..],
                "expected an IP address of this box",
            ),
            ("udp", "source = [\"10.0.0.5\"]", four, "no such key in a pool for mode \"udp\""),
        ] {
            let errors = read(mode, source, servers, "").expect_err(source);
            assert!(errors.contains(told), "{source}: {errors}");
        }
        let many: String = (1..=17).map(|n| format!("\"10.0.0.{n}\",")).collect();
        assert!(read("http", &format!("source = [{many}]"), four, "").is_err());
    }
}
