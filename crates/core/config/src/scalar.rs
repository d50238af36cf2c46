//! The single values that configuration is made of: names, weights, paths and addresses of services.
//!
//! Invariant: each type can only be made by its own parser, so holding one means that it is well-formed.

use alloc::{
    borrow::ToOwned as _,
    string::{String, ToString as _},
};
use core::{fmt, net::SocketAddr, num::NonZeroU16};

/// The name of a listener, pool, server or device: 1 to 64 letters, digits, `-`, `_` or `.`.
///
/// So it can stand in a metric's label, a log line, a URL and a shell command without quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Longest name, in bytes: a DNS label (RFC 1035 §2.3.4) and one to spare.
    pub const MAX_BYTES: usize = 64;

    pub(crate) const EXPECTED: &str = "1 to 64 letters, digits, `-`, `_` or `.`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The share of a pool's traffic that a server takes beside the others, 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU16);

impl Weight {
    /// An equal share.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// Largest weight: finer steps than 1 : 256 cannot be told apart in traffic.
    pub const MOST: u16 = 256;

    /// The weight with this number; `None` outside of 1 to 256.
    #[must_use]
    pub fn new(weight: u64) -> Option<Self> {
        let weight = u16::try_from(weight).ok().filter(|&weight| weight <= Self::MOST)?;
        NonZeroU16::new(weight).map(Self)
    }

    /// The weight as a number, 1 to 256.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0.get()
    }
}

/// An absolute path without `.`, `..` and empty parts, of at most 4,095 bytes (`PATH_MAX` of Linux less its NUL).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbsolutePath(String);

impl AbsolutePath {
    pub(crate) const EXPECTED: &str = "an absolute path without `..`, such as `/var/lib/evenkeel`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?.trim_end_matches('/');
        let plain = !text.contains(char::is_control) && text.len() < 4096;
        let parts = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let path = if rest.is_empty() { "/" } else { text.trim_end_matches('/') };
        (plain && parts).then(|| Self(path.to_owned()))
    }

    /// The path as text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for AbsolutePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file, absolute or from the folder of the configuration: 1 to 4,095 bytes (`PATH_MAX` of Linux less its
/// NUL) without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilePath(String);

impl FilePath {
    pub(crate) const EXPECTED: &str = "the path of a file such as `site.pem`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = (1..4096).contains(&text.len()) && !text.ends_with('/');
        (fits && !text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a host in lower case, as it stands in certificates and in SNI: labels of 1 to 63 letters, digits, `-` or
/// `_`, together at most 253 bytes, the last one not a number (RFC 1123 §2.1, RFC 6066 §3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    pub(crate) const EXPECTED: &str = "the name of a host such as `app.example.org`";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let good = |label: &str| {
            (1..64).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        (name.len() < 254 && name.split('.').all(good) && !number).then_some(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An `http` URL of a service: host, port and path, without user, query and fragment (RFC 9110 §4.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    host: String,
    port: u16,
    path: String,
}

impl HttpUrl {
    pub(crate) const EXPECTED: &str = "a URL such as `http://10.0.2.2:9930` without user, query and fragment";

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if path.bytes().any(|b| !b.is_ascii_graphic() || b"?#\"<>\\^`{|}".contains(&b)) {
            return None;
        }
        let (host, port) = host_and_port(authority)?;
        let path = if path.is_empty() { "/" } else { path };
        Some(Self { host, port, path: path.to_owned() })
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 when the text has none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path; starts with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This URL with `path` joined to its own path.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let base = self.path.trim_end_matches('/');
        let path = alloc::format!("{base}/{}", path.trim_start_matches('/'));
        Self { host: self.host.clone(), port: self.port, path }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

fn host_and_port(authority: &str) -> Option<(String, u16)> {
    if authority.starts_with('[') {
        let whole =
            if authority.ends_with(']') { alloc::format!("{authority}:80") } else { authority.to_string() };
        let address: SocketAddr = whole.parse().ok()?;
        return (address.port() != 0).then(|| (alloc::format!("[{}]", address.ip()), address.port()));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, decimal_port(port)?),
        None => (authority, 80),
    };
    let label = |label: &str| {
        !label.is_empty() && label.len() < 64 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (host.len() < 254 && host.split('.').all(label)).then(|| (host.to_owned(), port))
}

/// A port in its one form: 1 to 65,535 without sign.
fn decimal_port(text: &str) -> Option<u16> {
    let port = text.parse().ok().filter(|&port: &u16| port != 0)?;
    text.bytes().all(|b| b.is_ascii_digit()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_joined() {
        for (text, whole) in [
            ("http://10.0.2.2:9930", "http://10.0.2.2:9930/"),
            ("http://updates.example/base/", "http://updates.example:80/base/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("http://[::1]", "http://[::1]:80/"),
        ] {
            assert_eq!(HttpUrl::parse(text).map(|url| url.to_string()).as_deref(), Some(whole), "{text}");
        }
        let url = HttpUrl::parse("http://a:1/base/").map(|url| url.join("/v1/enrol").to_string());
        assert_eq!(url.as_deref(), Some("http://a:1/base/v1/enrol"));
    }

    #[test]
    fn what_is_not_a_plain_http_url_is_refused() {
        for text in [
            "",
            "http://",
            "https://a",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://u@a/",
            "http://a/?q",
            "http://a/#f",
            "http://a b/",
            "http://a/ b",
            "http://[::1",
            "http://[::1]:0",
            "http://a..b/",
            "ftp://a",
        ] {
            assert_eq!(HttpUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn paths_are_absolute_and_go_only_downwards() {
        for (text, path) in
            [("/", Some("/")), ("/a/b/", Some("/a/b")), ("/dev/disk/by-partlabel/root_a", None)]
        {
            assert_eq!(
                AbsolutePath::parse(text).map(|p| p.to_string()).as_deref(),
                Some(path.unwrap_or(text))
            );
        }
        for text in ["", "a", "./a", "/a/../b", "/a//b", "/a/.", "/a\0b", "/a\nb"] {
            assert_eq!(AbsolutePath::parse(text), None, "{text:?}");
        }
        assert_eq!(AbsolutePath::parse(&alloc::format!("/{}", "a".repeat(4095))), None);
    }

    #[test]
    fn hosts_are_names_and_never_addresses() {
        for (text, host) in [("a", "a"), ("App.Example.org", "app.example.org"), ("x_1.b-c.de", "x_1.b-c.de")]
        {
            assert_eq!(HostName::parse(text).map(|host| host.to_string()).as_deref(), Some(host), "{text}");
        }
        for text in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "10.0.0.1", "a.1", "[::1]", "a b", "*.a", "ä.de"]
        {
            assert_eq!(HostName::parse(text), None, "{text}");
        }
        assert_eq!(HostName::parse(&alloc::format!("{}.de", "a".repeat(64))), None);
    }

    #[test]
    fn files_are_paths_that_a_terminal_can_show() {
        for text in ["site.pem", "../tls/site.pem", "/etc/tls/site with spaces.pem"] {
            assert_eq!(FilePath::parse(text).map(|path| path.to_string()).as_deref(), Some(text));
        }
        for text in ["", "a/", "a\0b", "a\nb"] {
            assert_eq!(FilePath::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_need_no_quoting_anywhere() {
        for text in ["app", "app-1.eu_west", &"x".repeat(64)] {
            assert!(Name::parse(text).is_some(), "{text}");
        }
        for text in ["", "a b", "ä", "a\"b", "a/b", &"x".repeat(65)] {
            assert!(Name::parse(text).is_none(), "{text}");
        }
    }
}
