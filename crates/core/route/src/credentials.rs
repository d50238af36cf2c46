//! A user's name and password in a request (RFC 7617).

use alloc::vec::Vec;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Longest name and password together, in bytes: bcrypt looks at 72, and no one types 1,024.
const MAX_BYTES: usize = 1024;

/// A name and a password, as they were sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    bytes: Vec<u8>,
    colon: usize,
}

impl Credentials {
    /// Reads the value of an Authorization field; `None` when it has another scheme or is malformed.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        const SCHEME: &[u8] = b"basic ";
        let (scheme, token) = value.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let bytes = decoded(token.trim_ascii()).filter(|bytes| bytes.len() <= MAX_BYTES)?;
        let colon = bytes.iter().position(|&b| b == b':')?;
        let whole = !bytes.iter().any(u8::is_ascii_control);
        whole.then_some(Self { bytes, colon })
    }

    /// The name.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.bytes[..self.colon]
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        &self.bytes[self.colon + 1..]
    }

    /// Both, in one form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl core::fmt::Debug for Credentials {
    /// Shows nothing of them.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Base64 with or without its padding (RFC 4648 §4).
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_read_as_rfc_7617_writes_them() {
        for (value, user, password) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("basic  dGVzdDoxMjPCow==", "test", "123£"),
            ("BASIC YTpiOmM=", "a", "b:c"),
            ("Basic YTpiOmM", "a", "b:c"),
            ("Basic Og==", "", ""),
        ] {
            let credentials = Credentials::read(value.as_bytes()).unwrap();
            assert_eq!((credentials.user(), credentials.password()), (user.as_bytes(), password.as_bytes()));
        }
        for value in
            ["", "Basic", "Basic ", "Bearer YTpi", "Basic YWI=", "Basic Y", "Basic Y*==", "Basic YTpiCg=="]
        {
            assert_eq!(Credentials::read(value.as_bytes()), None, "{value}");
        }
    }
}
