//! What of a request leads it to a server, for pools that hash.
//!
//! Owns: taking the property that the configuration names out of a request of any protocol. Leaves to others: the
//! hash and what it leads to (`core/balance`). Invariant: a pool that does not hash looks at nothing.

use std::net::IpAddr;

use evenkeel_balance::{Key, KeyHash};
use evenkeel_config::balancer::{HashBy, Policy};

use crate::pool::PoolState;

/// A request, as far as a key may be made of it.
pub(crate) trait Asked {
    /// The target: the path with its query.
    fn target(&self) -> &[u8];

    /// The fields, names in any case.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

impl PoolState {
    /// What leads a request that came from `source` to a server.
    pub(crate) fn key(&self, source: IpAddr, asked: &impl Asked) -> Key {
        let Policy::ConsistentHash(hashing) = &self.layout.settings().policy else { return Key::NONE };
        let found = match &hashing.by {
            HashBy::Source => return self.source_key(source),
            HashBy::Path => Some(path(asked.target())),
            HashBy::Header(name) => {
                let named = |(field, _): &(&[u8], &[u8])| field.eq_ignore_ascii_case(name.as_bytes());
                asked.fields().find(named).map(|(_, value)| value)
            }
            HashBy::Cookie(name) => {
                let cookies = asked.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
                cookies.into_iter().find_map(|(_, value)| cookie(value, name.as_bytes()))
            }
        };
        found.map_or(Key::NONE, |bytes| Key::NONE.hashed(KeyHash::of(bytes)))
    }

    /// What leads a connection that came from `source` to a server, where nothing of what it asks can be seen.
    pub(crate) fn source_key(&self, source: IpAddr) -> Key {
        let Policy::ConsistentHash(hashing) = &self.layout.settings().policy else { return Key::NONE };
        match (&hashing.by, source.to_canonical()) {
            (HashBy::Source, IpAddr::V4(address)) => Key::NONE.hashed(KeyHash::of(&address.octets())),
            (HashBy::Source, IpAddr::V6(address)) => Key::NONE.hashed(KeyHash::of(&address.octets())),
            (HashBy::Path | HashBy::Header(_) | HashBy::Cookie(_), _) => Key::NONE,
        }
    }
}

/// The path of a target in origin-form (RFC 9112 §3.2.1).
fn path(target: &[u8]) -> &[u8] {
    target.split(|&byte| byte == b'?').next().unwrap_or(target)
}

/// The value of the cookie `name` in a Cookie field's value (RFC 6265 §4.2.1); an empty one counts as none.
fn cookie<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    value.split(|&byte| byte == b';').find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (value, found) in [
            ("id=1", Some("1")),
            ("a=b; id=1; c=d", Some("1")),
            ("xid=2; id=1", Some("1")),
            ("idx=2;id=\"1\"", Some("\"1\"")),
            ("id=", None),
            ("id", None),
            ("ID=1", None),
            ("", None),
        ] {
            assert_eq!(cookie(value.as_bytes(), b"id"), found.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn a_path_ends_at_its_query() {
        for (target, found) in [("/a/b?c=/d?", "/a/b"), ("/", "/"), ("", ""), ("*", "*")] {
            assert_eq!(path(target.as_bytes()), found.as_bytes());
        }
    }
}
