//! The host of a request as routes know it.

/// Longest host name (RFC 1035 §2.3.4), in bytes; a longer one is none that a route could be for.
const MAX_HOST_BYTES: usize = 255;

/// A host in small letters, without its port and without a dot at its end; empty when there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    bytes: [u8; MAX_HOST_BYTES],
    length: u8,
}

impl Host {
    pub(crate) fn of(authority: &[u8]) -> Self {
        let name = without_port(authority);
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut bytes = [0; MAX_HOST_BYTES];
        let length = u8::try_from(name.len()).unwrap_or_default();
        let (used, _) = bytes.split_at_mut(usize::from(length));
        used.copy_from_slice(&name[..usize::from(length)]);
        used.make_ascii_lowercase();
        Self { bytes, length }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The host of an authority `host`, `host:port` or `[address]:port`.
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let end = match authority.first() {
        Some(b'[') => authority.iter().position(|&b| b == b']').map(|at| at + 1),
        Some(_) | None => authority.iter().position(|&b| b == b':'),
    };
    &authority[..end.unwrap_or(authority.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port_no_capitals_and_no_last_dot() {
        for (authority, host) in [
            ("Example.ORG:8080", "example.org"),
            ("example.org.", "example.org"),
            ("example.org.:80", "example.org"),
            ("[::1]:80", "[::1]"),
            ("[::1", "[::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(Host::of(authority.as_bytes()).as_bytes(), host.as_bytes(), "{authority}");
        }
        assert_eq!(Host::of(&[b'a'; 300]).as_bytes(), b"");
    }
}
