//! Whatever bytes arrive: nothing panics, and nothing but what was signed is authentic.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use evenkeel_protocol::{
    CheckIn, Claim, ContentDigest, Enrol, Label, Nonce, PublicKey, Report, Sentence, SignedRequest, sign,
};
use evenkeel_units::WallTime;
use proptest::prelude::*;

const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);

/// Text that is often close to a field of ours.
fn near_field() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "device",
        "=",
        ":",
        ";",
        "\"",
        "(",
        ")",
        "created",
        "nonce",
        "keyid",
        "alg",
        "ed25519",
        "1795364399",
        "(\"@method\" \"@path\" \"content-digest\")",
        "sha-256=:",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        " ",
        "é",
        "\0",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".*", input in near_field(), digest in near_field(), signature in near_field()) {
        let request = SignedRequest {
            method: &text, path: &text, content_digest: &digest, signature_input: &input, signature: &signature,
        };
        if let Ok(claim) = Claim::read(request) {
            let key = PublicKey::from(&SigningKey::from_bytes(&[7; 32]));
            prop_assert!(claim.verify(&key, text.as_bytes(), NOW).is_err());
        }
        let _ = text.parse::<ContentDigest>();
        let _ = text.parse::<PublicKey>();
        let _ = text.parse::<Label>();
        prop_assert!(Sentence::new(&text).as_str().chars().count() <= 1000);
    }

    #[test]
    fn no_bytes_make_a_message_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = serde_json::from_slice::<CheckIn>(&bytes);
        let _ = serde_json::from_slice::<Report>(&bytes);
        let _ = serde_json::from_slice::<Enrol>(&bytes);
    }

    #[test]
    fn a_change_of_any_byte_of_a_signed_request_is_refused(
        seed: [u8; 32], nonce: [u8; 16], body in prop::collection::vec(any::<u8>(), 1..64),
        field in 0..4_usize, at: prop::sample::Index, bit in 0..7_u32,
    ) {
        let key = SigningKey::from_bytes(&seed);
        let headers = sign(&key, "POST", "/v1/report", &body, NOW, Nonce(nonce));
        let mut parts = [
            headers.content_digest.into_bytes(), headers.signature_input.into_bytes(),
            headers.signature.into_bytes(), body,
        ];
        let at = at.index(parts[field].len());
        parts[field][at] ^= 1 << bit;
        let texts: Vec<_> = parts[..3].iter().map(|part| String::from_utf8_lossy(part)).collect();
        let request = SignedRequest {
            method: "POST", path: "/v1/report",
            content_digest: &texts[0], signature_input: &texts[1], signature: &texts[2],
        };
        let authentic = Claim::read(request).is_ok_and(|claim| claim.verify(&PublicKey::from(&key), &parts[3], NOW).is_ok());
        prop_assert!(!authentic);
    }
}
