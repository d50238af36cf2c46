//! What every hash of a tree begins with.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

/// A salt of 0 to 256 bytes, written in hexadecimal digits; `-` where there is none, as veritysetup has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// The salt of these bytes; `None` above 256.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= 256).then(|| Self(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salt({self})")
    }
}

/// Why a text is not a salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a salt; expected up to 256 bytes in lowercase hexadecimal digits, or `-`")]
pub struct SaltError {
    got: String,
}

impl FromStr for Salt {
    type Err = SaltError;

    fn from_str(text: &str) -> Result<Self, SaltError> {
        let refuse = || SaltError { got: text.chars().take(80).collect() };
        if text == "-" {
            return Ok(Self(Vec::new()));
        }
        let digits = text.as_bytes();
        let lowercase = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.is_empty()
            || !digits.len().is_multiple_of(2)
            || digits.len() > 512
            || !digits.iter().all(lowercase)
        {
            return Err(refuse());
        }
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refuse());
        (0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(Self)
    }
}

impl serde::Serialize for Salt {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Salt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_salt_reads_back_what_it_wrote() {
        for bytes in [&[][..], &[0, 255], &[7; 256]] {
            let salt = Salt::new(bytes).expect("short enough");
            assert_eq!(salt.to_string().parse(), Ok(salt));
        }
        for text in ["", "0", "0G", "AB", "+1", &"00".repeat(257), "é"] {
            assert!(text.parse::<Salt>().is_err(), "{text}");
        }
    }
}
