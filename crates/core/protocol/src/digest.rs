//! `Content-Digest` (RFC 9530 §2) with SHA-256, in exactly one form.

use alloc::string::String;
use core::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evenkeel_units::Digest;

/// The value of a `Content-Digest` field: `sha-256=:BASE64:`.
///
/// Differs from the specification: one algorithm and one form. Both ends are ours, and what has one form
/// cannot be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(pub Digest);

impl ContentDigest {
    /// The digest of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Digest::of(body))
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha-256=:{}:", STANDARD.encode(self.0.as_bytes()))
    }
}

/// Why a field is not a content digest of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`Content-Digest: {got}` is not understood; expected `sha-256=:BASE64:` over the body (RFC 9530)")]
pub struct ContentDigestError {
    got: String,
}

impl FromStr for ContentDigest {
    type Err = ContentDigestError;

    fn from_str(text: &str) -> Result<Self, ContentDigestError> {
        let bytes = text
            .strip_prefix("sha-256=:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok());
        let refuse = || ContentDigestError { got: text.chars().take(80).collect() };
        bytes.map(|bytes| Self(Digest::from_bytes(bytes))).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// RFC 9530 appendix D: the digest of `{"hello": "world"}` and a line feed.
    const HELLO: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[test]
    fn the_example_of_the_rfc_is_reproduced() {
        let digest = ContentDigest::of(b"{\"hello\": \"world\"}\n");
        assert_eq!(digest.to_string(), HELLO);
        assert_eq!(HELLO.parse(), Ok(digest));
    }

    #[test]
    fn other_forms_are_refused() {
        let doubled = [HELLO, HELLO].join(", ");
        for text in ["", "sha-256=", "sha-256=::", "sha-512=:AAAA:", &HELLO[..40], &doubled] {
            assert!(text.parse::<ContentDigest>().is_err(), "{text}");
        }
    }
}
