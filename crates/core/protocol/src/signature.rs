//! Signed requests: HTTP Message Signatures (RFC 9421) with Ed25519, in exactly the profile of `docs/protocol.md`.
//!
//! Owns: the signature base, signing, and the checks that make a request [`Authentic`]. Leaves to others: which
//! key belongs to a device, and refusing a nonce seen before ([`crate::SeenNonces`]).
//!
//! Differs from the specification: one label, one list of components and one set of parameters are accepted.
//! A signature that covers less than method, path and body is worth nothing to us.

use alloc::{format, string::String};
use core::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use evenkeel_units::{DeviceId, WallTime};

use crate::{ContentDigest, ContentDigestError, PublicKey};

/// The label of the signature in `Signature-Input` and `Signature` (RFC 9421 §4).
pub const LABEL: &str = "device";

/// The algorithm's name in the registry of RFC 9421 §6.2.2.
pub const ED25519: &str = "ed25519";

/// How far `created` may be from the server's clock, in either direction.
///
/// 60 s of a held request, 60 s of retries, and 180 s for a clock set by hand on a box without network time.
pub const SIGNATURE_WINDOW: Duration = Duration::from_secs(300);

/// The covered components in their one order (RFC 9421 §2.3).
const COMPONENTS: &str = r#"("@method" "@path" "content-digest")"#;

/// Longest `Signature-Input` that is looked at, in bytes: ours are 200.
const INPUT_LIMIT: usize = 512;

/// 16 random bytes that make a request unlike any other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl core::str::FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        read_nonce(text).ok_or(NonceError)
    }
}

/// Why a text is not a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a nonce; expected 16 bytes in base64")]
pub struct NonceError;

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

/// The three fields that a signed request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Value of `Content-Digest`.
    pub content_digest: String,
    /// Value of `Signature-Input`.
    pub signature_input: String,
    /// Value of `Signature`.
    pub signature: String,
}

/// The signature base of RFC 9421 §2.5 over components (name and value) and the serialised parameters.
///
/// Names are written in quotes; values have to be in the form of RFC 9421 §2.1 already.
#[must_use]
pub fn signature_base(components: &[(&str, &str)], parameters: &str) -> String {
    let mut base = String::new();
    for (name, value) in components {
        base += &format!("\"{name}\": {value}\n");
    }
    base + "\"@signature-params\": " + parameters
}

fn request_base(method: &str, path: &str, content_digest: &str, parameters: &str) -> String {
    signature_base(&[("@method", method), ("@path", path), ("content-digest", content_digest)], parameters)
}

/// Signs a request; `path` is without query, `created` by the signer's clock, `nonce` never used before.
#[must_use]
pub fn sign(
    key: &SigningKey,
    method: &str,
    path: &str,
    body: &[u8],
    created: WallTime,
    nonce: Nonce,
) -> SignatureHeaders {
    let content_digest = format!("{}", ContentDigest::of(body));
    let device = PublicKey::from(key).device();
    let created = created.unix_seconds();
    let parameters =
        format!("{COMPONENTS};created={created};nonce=\"{nonce}\";keyid=\"{device}\";alg=\"{ED25519}\"");
    let signature = key.sign(request_base(method, path, &content_digest, &parameters).as_bytes());
    SignatureHeaders {
        content_digest,
        signature_input: format!("{LABEL}={parameters}"),
        signature: format!("{LABEL}=:{}:", STANDARD.encode(signature.to_bytes())),
    }
}

/// A request as it arrived, with nothing about it believed yet.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// Its method, such as `POST`.
    pub method: &'a str,
    /// Its path without query.
    pub path: &'a str,
    /// Value of its `Content-Digest`.
    pub content_digest: &'a str,
    /// Value of its `Signature-Input`.
    pub signature_input: &'a str,
    /// Value of its `Signature`.
    pub signature: &'a str,
}

/// Why a request is not authentic. All of these are the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `Content-Digest` is not in our form.
    #[error(transparent)]
    Digest(#[from] ContentDigestError),
    /// The body is not the one that `Content-Digest` speaks of.
    #[error("the body does not have the digest of `Content-Digest`; send the request again")]
    Body,
    /// `Signature-Input` is not in our form.
    #[error(
        "`Signature-Input: {got}` is not understood; expected `device=(\"@method\" \"@path\" \"content-digest\")` with \
         created, nonce, keyid and alg=\"ed25519\", each once"
    )]
    Input {
        /// What was received, cut.
        got: String,
    },
    /// `Signature` is not in our form.
    #[error("`Signature: {got}` is not understood; expected `device=:BASE64 of 64 bytes:`")]
    Form {
        /// What was received, cut.
        got: String,
    },
    /// The signature was made too long ago, or in the future.
    #[error(
        "the request was signed at {created}, which is more than 300 s from the server's time {now}; set the clock"
    )]
    Stale {
        /// When it says it was signed.
        created: WallTime,
        /// The server's time.
        now: WallTime,
    },
    /// The signature does not belong to this request and key.
    #[error(
        "the signature of device {device} does not fit the request; sign method, path and body with its enrolled key"
    )]
    Signature {
        /// Who it says it is.
        device: DeviceId,
    },
}

/// What a request says about itself: read from its fields, not yet verified.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    request: SignedRequest<'a>,
    parameters: &'a str,
    device: DeviceId,
    created: WallTime,
    nonce: Nonce,
    content_digest: ContentDigest,
    signature: Signature,
}

impl<'a> Claim<'a> {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// When one of them is not in exactly the form of `docs/protocol.md`.
    pub fn read(request: SignedRequest<'a>) -> Result<Self, SignatureError> {
        let content_digest = request.content_digest.parse()?;
        let input = || SignatureError::Input { got: request.signature_input.chars().take(80).collect() };
        let parameters = request
            .signature_input
            .strip_prefix(LABEL)
            .and_then(|rest| rest.strip_prefix('='))
            .ok_or_else(input)?;
        let (created, nonce, device) = read_parameters(parameters).ok_or_else(input)?;
        let signature = read_signature(request.signature)
            .ok_or_else(|| SignatureError::Form { got: request.signature.chars().take(80).collect() })?;
        Ok(Self { request, parameters, device, created, nonce, content_digest, signature })
    }

    /// The device that the request says it comes from.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Verifies the claim against the device's enrolled key, the body and the server's clock.
    ///
    /// # Errors
    /// When the body, the time or the signature does not fit. The time is looked at only after the signature,
    /// so that nobody without the key learns or changes anything by it.
    pub fn verify(&self, key: &PublicKey, body: &[u8], now: WallTime) -> Result<Authentic, SignatureError> {
        if ContentDigest::of(body) != self.content_digest {
            return Err(SignatureError::Body);
        }
        let SignedRequest { method, path, content_digest, .. } = self.request;
        let base = request_base(method, path, content_digest, self.parameters);
        let genuine = key.device() == self.device
            && key.verifying().verify_strict(base.as_bytes(), &self.signature).is_ok();
        if !genuine {
            return Err(SignatureError::Signature { device: self.device });
        }
        if now.since(self.created).max(self.created.since(now)) > SIGNATURE_WINDOW {
            return Err(SignatureError::Stale { created: self.created, now });
        }
        Ok(Authentic { device: self.device, nonce: self.nonce, created: self.created })
    }
}

/// Proof that a request was signed by the key of a device, lately. Only [`Claim::verify`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authentic {
    device: DeviceId,
    nonce: Nonce,
    created: WallTime,
}

impl Authentic {
    /// Who signed.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What makes the request unlike any other.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// When it was signed, by the signer's clock.
    #[must_use]
    pub const fn created(&self) -> WallTime {
        self.created
    }
}

/// Reads `COMPONENTS;created=…;nonce="…";keyid="…";alg="ed25519"`: parameters in any order, each exactly once.
fn read_parameters(text: &str) -> Option<(WallTime, Nonce, DeviceId)> {
    if text.len() > INPUT_LIMIT {
        return None;
    }
    let (mut created, mut nonce, mut device, mut algorithm) = (None, None, None, None);
    for parameter in text.strip_prefix(COMPONENTS)?.strip_prefix(';')?.split(';') {
        let (name, value) = parameter.split_once('=')?;
        let repeated = match name {
            "created" => created.replace(read_seconds(value)?).is_some(),
            "nonce" => nonce.replace(read_nonce(unquoted(value)?)?).is_some(),
            "keyid" => device.replace(unquoted(value)?.parse().ok()?).is_some(),
            "alg" if unquoted(value)? == ED25519 => algorithm.replace(()).is_some(),
            _ => return None,
        };
        if repeated {
            return None;
        }
    }
    algorithm?;
    Some((created?, nonce?, device?))
}

/// A number of seconds in the one form of RFC 8941 §3.3.1 that we write: digits, no sign, no leading zero.
fn read_seconds(text: &str) -> Option<WallTime> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') && text.len() <= 15;
    canonical.then(|| text.parse().ok()).flatten().map(WallTime::from_unix_seconds)
}

fn read_nonce(text: &str) -> Option<Nonce> {
    STANDARD.decode(text).ok()?.try_into().ok().map(Nonce)
}

fn read_signature(text: &str) -> Option<Signature> {
    let encoded = text.strip_prefix(LABEL)?.strip_prefix("=:")?.strip_suffix(':')?;
    Signature::from_slice(&STANDARD.decode(encoded).ok()?).ok()
}

fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);
    const BODY: &[u8] = br#"{"hello": "world"}"#;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn signed() -> SignatureHeaders {
        sign(&key(), "POST", "/v1/check-in", BODY, NOW, Nonce([9; 16]))
    }

    fn request<'a>(headers: &'a SignatureHeaders, method: &'a str, path: &'a str) -> SignedRequest<'a> {
        SignedRequest {
            method,
            path,
            content_digest: &headers.content_digest,
            signature_input: &headers.signature_input,
            signature: &headers.signature,
        }
    }

    fn check(
        headers: &SignatureHeaders,
        method: &str,
        path: &str,
        body: &[u8],
        now: WallTime,
    ) -> Option<SignatureError> {
        let claim = match Claim::read(request(headers, method, path)) {
            Ok(claim) => claim,
            Err(error) => return Some(error),
        };
        claim.verify(&PublicKey::from(&key()), body, now).err()
    }

    /// RFC 9421 appendix B.2.6, with the key of appendix B.1.4.
    #[test]
    fn the_ed25519_example_of_rfc_9421_is_reproduced() {
        let secret = STANDARD.decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=").unwrap();
        let key = SigningKey::from_bytes(&secret.try_into().unwrap());
        let base = signature_base(
            &[
                ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
                ("@method", "POST"),
                ("@path", "/foo"),
                ("@authority", "example.com"),
                ("content-type", "application/json"),
                ("content-length", "18"),
            ],
            r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        );
        assert_eq!(
            STANDARD.encode(key.sign(base.as_bytes()).to_bytes()),
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
        );
        assert_eq!(
            STANDARD.encode(key.verifying_key().as_bytes()),
            "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
        );
    }

    #[test]
    fn a_signed_request_is_authentic_and_says_who_signed_it() {
        let headers = signed();
        let claim = Claim::read(request(&headers, "POST", "/v1/check-in")).unwrap();
        let authentic = claim.verify(&PublicKey::from(&key()), BODY, NOW).unwrap();
        assert_eq!(authentic.device(), PublicKey::from(&key()).device());
        assert_eq!((authentic.nonce(), authentic.created()), (Nonce([9; 16]), NOW));
    }

    #[test]
    fn a_changed_method_path_or_body_is_refused() {
        let headers = signed();
        assert!(check(&headers, "POST", "/v1/check-in", BODY, NOW).is_none());
        assert!(matches!(
            check(&headers, "PUT", "/v1/check-in", BODY, NOW),
            Some(SignatureError::Signature { .. })
        ));
        assert!(matches!(
            check(&headers, "POST", "/v1/report", BODY, NOW),
            Some(SignatureError::Signature { .. })
        ));
        assert!(matches!(check(&headers, "POST", "/v1/check-in", b"{}", NOW), Some(SignatureError::Body)));
        let other = SignatureHeaders { content_digest: format!("{}", ContentDigest::of(b"{}")), ..headers };
        assert!(matches!(
            check(&other, "POST", "/v1/check-in", b"{}", NOW),
            Some(SignatureError::Signature { .. })
        ));
    }

    #[test]
    fn a_signature_of_another_time_is_refused_from_the_301st_second_on() {
        let headers = signed();
        let created = NOW.unix_seconds();
        for (now, refused) in
            [(created - 300, false), (created - 301, true), (created + 300, false), (created + 301, true)]
        {
            let error = check(&headers, "POST", "/v1/check-in", BODY, WallTime::from_unix_seconds(now));
            assert_eq!(matches!(error, Some(SignatureError::Stale { .. })), refused, "{now} {error:?}");
        }
    }

    #[test]
    fn another_devices_key_does_not_verify() {
        let headers = signed();
        let claim = Claim::read(request(&headers, "POST", "/v1/check-in")).unwrap();
        let stranger = PublicKey::from(&SigningKey::from_bytes(&[8; 32]));
        assert!(matches!(claim.verify(&stranger, BODY, NOW), Err(SignatureError::Signature { .. })));
    }

    #[test]
    fn parameters_are_each_required_once_in_any_order() {
        let headers = signed();
        let good = headers.signature_input.clone();
        let reordered = {
            let mut parts: alloc::vec::Vec<_> = good.split(';').collect();
            parts[1..].reverse();
            parts.join(";")
        };
        let read = |input: &str| {
            let headers = SignatureHeaders { signature_input: input.into(), ..headers.clone() };
            Claim::read(request(&headers, "POST", "/v1/check-in")).is_ok()
        };
        assert!(read(&good) && read(&reordered));
        let repeated = format!("{good};alg=\"ed25519\"");
        for bad in [
            "",
            "device=",
            &good.replace("device", "sig1"),
            &good.replace(" \"content-digest\"", ""),
            &good.replace("created=", "created=0"),
            &good.replace("created=", "created=-"),
            &good.replace(";alg=\"ed25519\"", ""),
            &good.replace("ed25519", "rsa-pss-sha512"),
            &good.replace(";created", "; created"),
            &repeated,
            &good.replace(";alg", &format!("{};alg", ";x=\"y\"".repeat(100))),
        ] {
            assert!(!read(bad), "{bad}");
        }
    }
}
