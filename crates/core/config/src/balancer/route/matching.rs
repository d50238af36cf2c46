//! Which requests a route is for.
//!
//! Invariants: host patterns are in small letters, field names too; a path is written as requests have it after
//! `core/route` has normalised them, for one that is not could never be asked for.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{Pattern, pattern::pattern};
use crate::{
    Network,
    document::{Field, Section},
};

/// Most values of one condition: methods, hosts, networks or fields.
///
/// A request is held against them one after the other, each about 10 ns: 64 cost less than a system call.
const MAX_ALTERNATIVES: usize = 64;

/// Longest path, host or value in a condition, in bytes.
const MAX_VALUE_BYTES: usize = 1024;

/// Which requests a route is for: those that meet all of this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Conditions {
    /// One of these hosts; none for any.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// One of these methods; none for any.
    pub methods: Vec<String>,
    /// All of these fields.
    pub headers: Vec<Condition>,
    /// All of these parameters of the query.
    pub queries: Vec<Condition>,
    /// A client in one of these networks; none for any.
    pub sources: Vec<Network>,
}

impl Conditions {
    /// How many conditions there are beside host and path.
    #[must_use]
    pub fn further(&self) -> usize {
        let one = |empty: bool| usize::from(!empty);
        one(self.methods.is_empty()) + one(self.sources.is_empty()) + self.headers.len() + self.queries.len()
    }
}

/// A host, or all below one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// This host, without a port.
    Exact(String),
    /// Every host that ends with `.` and this, written `*.example.org`.
    Below(String),
}

/// What a path must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathPattern {
    /// Anything.
    #[default]
    Any,
    /// This.
    Exact(String),
    /// This, or this and `/` or `;` and more; does not end with `/`.
    Prefix(String),
    /// What this describes.
    Regex(Pattern),
}

/// Something named that must have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name; a field's is in small letters.
    pub name: String,
    /// What one of its values must be.
    pub value: Value,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Anything: it is there.
    Present,
    /// Nothing: it is not there.
    Absent,
    /// This.
    Exact(String),
    /// Beginning with this.
    Prefix(String),
    /// What this describes.
    Regex(Pattern),
}

pub(super) fn conditions(section: &Section<'_>) -> Option<Conditions> {
    let hosts = many(section, "host", host);
    let path = path(section);
    let methods = many(section, "method", method);
    let headers = named(section, "header", Naming::Field);
    let queries = named(section, "query", Naming::Parameter);
    let sources = networks(section, "source");
    Some(Conditions {
        hosts: hosts?,
        path: path?,
        methods: methods?,
        headers: headers?,
        queries: queries?,
        sources: sources?,
    })
}

/// The networks of `key`, which may be one or a list.
pub(in crate::balancer) fn networks(section: &Section<'_>, key: &str) -> Option<Vec<Network>> {
    let remedy = "write the first address of the network, a slash and the length of its prefix";
    many(section, key, |field| field.text(Network::EXPECTED, remedy, Network::parse))
}

/// The values of `key`, which may be one or a list; sorted, so that their order makes no difference.
pub(super) fn many<T: Ord>(
    section: &Section<'_>,
    key: &str,
    mut read: impl FnMut(&Field<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(field) = section.field(key) else { return Some(Vec::new()) };
    let items = field.items();
    if items.is_empty() || items.len() > MAX_ALTERNATIVES {
        field.refuse(format!("one value, or a list of 1 to {MAX_ALTERNATIVES}"), "leave the key out for any");
        return None;
    }
    let values: Vec<_> = items.iter().map(&mut read).collect();
    let mut values: Vec<T> = values.into_iter().collect::<Option<_>>()?;
    values.sort();
    values.dedup();
    Some(values)
}

fn host(field: &Field<'_>) -> Option<HostPattern> {
    let expected =
        "a host such as `example.org`, an address, or `*.example.org` for every host below, without a port";
    let remedy = "write names with other than ASCII letters in the form that begins with `xn--`";
    field.text(expected, remedy, |text| {
        let text = text.to_ascii_lowercase();
        let below = text.strip_prefix("*.");
        let name = below.unwrap_or(&text);
        let label = |label: &str| {
            (1..64).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_name = name.len() < 254 && name.split('.').all(label);
        let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_address = bracketed.is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok());
        match below {
            Some(name) if is_name => Some(HostPattern::Below(name.to_owned())),
            None if is_name || is_address => Some(HostPattern::Exact(text)),
            Some(_) | None => None,
        }
    })
}

fn method(field: &Field<'_>) -> Option<String> {
    field.text("a method such as `GET`", "methods are written in capitals", |text| {
        let fits =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        fits.then(|| text.to_owned())
    })
}

/// The one of the three keys that is there.
fn path(section: &Section<'_>) -> Option<PathPattern> {
    let (exact, prefix, regex) =
        (section.field("path"), section.field("path_prefix"), section.field("path_regex"));
    match (exact, prefix, regex) {
        (None, None, None) => Some(PathPattern::Any),
        (Some(field), None, None) => path_text(&field).map(PathPattern::Exact),
        (None, Some(field), None) => path_text(&field).map(|path| match path.trim_end_matches('/') {
            "" => PathPattern::Any,
            path => PathPattern::Prefix(path.to_owned()),
        }),
        (None, None, Some(field)) => pattern(&field).map(PathPattern::Regex),
        (first, second, third) => {
            for field in [first, second, third].into_iter().flatten().skip(1) {
                field.refuse("one of path, path_prefix and path_regex", "make it two routes");
            }
            None
        }
    }
}

fn path_text(field: &Field<'_>) -> Option<String> {
    let expected = "a path such as `/admin`, as requests have it once normalised: without `//`, `.`, `..`, `?` and \
                    escapes of characters that need none";
    field.text(expected, "write what a browser shows behind the host, its escapes in capitals", |text| {
        is_normal(text).then(|| text.to_string())
    })
}

/// Whether a request's path can be this after it was normalised.
pub(super) fn is_normal(path: &str) -> bool {
    let visible = |b: u8| b.is_ascii_graphic() && !b"\"#<>?\\".contains(&b);
    let part = |part: &str| !matches!(part, "" | "." | "..");
    let parts = path.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    path.len() <= MAX_VALUE_BYTES
        && path.bytes().all(visible)
        && parts.is_some_and(|rest| rest.is_empty() && path.len() == 1 || rest.split('/').all(part))
        && escapes_are_normal(path.as_bytes())
}

/// Whether each `%` begins an escape in capitals of a character that needs one (RFC 3986 §6.2.2).
fn escapes_are_normal(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        let Some(&[high, low]) = rest.get(at + 1..at + 3) else { return false };
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'A'..=b'F' => Some(b - b'A' + 10),
            _ => None,
        };
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
        let byte = high << 4 | low;
        if byte == 0 || byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

/// What the names of a table are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Field,
    Parameter,
}

fn named(section: &Section<'_>, key: &str, naming: Naming) -> Option<Vec<Condition>> {
    let Some(field) = section.field(key) else { return Some(Vec::new()) };
    let entries = field.entries()?;
    if entries.is_empty() || entries.len() > MAX_ALTERNATIVES {
        field.refuse(format!("1 to {MAX_ALTERNATIVES} names with values"), "leave the key out for any");
        return None;
    }
    let conditions: Vec<_> = entries.iter().map(|(name, field)| condition(name, field, naming)).collect();
    let mut conditions: Vec<Condition> = conditions.into_iter().collect::<Option<_>>()?;
    conditions.sort_by(|a, b| a.name.cmp(&b.name));
    Some(conditions)
}

fn condition(name: &str, field: &Field<'_>, naming: Naming) -> Option<Condition> {
    let fits = match naming {
        Naming::Field => super::edit::is_token(name),
        Naming::Parameter => !name.is_empty() && name.len() <= MAX_VALUE_BYTES,
    };
    if !fits {
        field.refuse("a value under the name of a field", "field names are letters, digits and `-`");
        return None;
    }
    let name = if naming == Naming::Field { name.to_ascii_lowercase() } else { name.to_owned() };
    Some(Condition { name, value: value(field)? })
}

fn value(field: &Field<'_>) -> Option<Value> {
    let expected = "`true` for present, `false` for absent, a text for exactly that, { prefix = \"…\" } or { regex = \"…\" }";
    if let Some(flag) = field.as_bool() {
        return Some(if flag { Value::Present } else { Value::Absent });
    }
    let fits = |text: &String| text.len() <= MAX_VALUE_BYTES && !text.contains(char::is_control);
    if let Some(text) = field.as_text() {
        let value = Some(text).filter(fits).map(Value::Exact);
        if value.is_none() {
            field.refuse(expected, "keep it below 1 KiB, without control characters");
        }
        return value;
    }
    if !field.is_table() {
        field.refuse(expected, "write numbers in quotes, as requests have them");
        return None;
    }
    let section = field.as_section(&["prefix", "regex"])?;
    match (section.field("prefix"), section.field("regex")) {
        (Some(prefix), None) => prefix.as_text().filter(fits).map(Value::Prefix).or_else(|| {
            prefix.refuse("the text that values begin with", "write it in quotes");
            None
        }),
        (None, Some(regex)) => pattern(&regex).map(Value::Regex),
        (Some(_), Some(_)) | (None, None) => {
            field.refuse(expected, "give one of prefix and regex");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_can_be_asked_for_are_taken() {
        for path in ["/", "/admin", "/admin/", "/a%2Fb", "/a;x=1", "/%C3%A4"] {
            assert!(is_normal(path), "{path}");
        }
        for path in
            ["", "admin", "//", "/a//b", "/a/./b", "/..", "/%61", "/%2f", "/%", "/%0", "/a?b", "/ä", "/%00"]
        {
            assert!(!is_normal(path), "{path}");
        }
    }
}
