//! What devices and operators say to the update server, and how devices sign it.

use ed25519_dalek::SigningKey;
use evenkeel_protocol::{
    CheckIn, Claim, Enrol, HaltRollout, IssueToken, Nonce, Orders, PublicKey, Report, SignedRequest,
    StartRollout, sign,
};
use evenkeel_units::WallTime;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Seen, seen::Parts};

/// The server's clock.
const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);

/// Judges a body, and the method, path, digest, parameters and signature of the request that brings it.
///
/// # Panics
/// When a body that is taken reads back otherwise, or a signature is taken that the key would not have made so.
pub fn device_messages(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let body = parts.part();
    let [method, path, content_digest, signature_input, signature] = std::array::from_fn(|_| parts.text());
    let read = [
        reads_back::<CheckIn>(body),
        reads_back::<Report>(body),
        reads_back::<Enrol>(body),
        reads_back::<Orders>(body),
        reads_back::<StartRollout>(body),
        reads_back::<HaltRollout>(body),
        reads_back::<IssueToken>(body),
    ];
    let request = SignedRequest {
        method: &method,
        path: &path,
        content_digest: &content_digest,
        signature_input: &signature_input,
        signature: &signature,
    };
    Seen::when(read.contains(&true) | is_genuine(request, body))
}

fn reads_back<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(body: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<T>(body) else { return false };
    let text = serde_json::to_vec(&message).expect("a message is strings and numbers");
    let again = serde_json::from_slice::<T>(&text);
    let again = again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
    assert_eq!(again, message);
    true
}

/// Whether the key signed it; then there is no other way to write that signature, and none that takes more.
fn is_genuine(request: SignedRequest<'_>, body: &[u8]) -> bool {
    let key = SigningKey::from_bytes(&[7; 32]);
    let Ok(claim) = Claim::read(request) else { return false };
    let Ok(authentic) = claim.verify(&PublicKey::from(&key), body, NOW) else { return false };
    assert_eq!(authentic.device(), claim.device());
    let nonce: Nonce = authentic.nonce();
    let own = sign(&key, request.method, request.path, body, authentic.created(), nonce);
    assert_eq!(
        (own.content_digest.as_str(), own.signature_input.as_str(), own.signature.as_str()),
        (request.content_digest, request.signature_input, request.signature)
    );
    let other = PublicKey::from(&SigningKey::from_bytes(&[8; 32]));
    assert!(claim.verify(&other, body, NOW).is_err(), "another key made it too");
    assert!(
        claim.verify(&PublicKey::from(&key), &[body, b" "].concat(), NOW).is_err(),
        "another body has it too"
    );
    true
}
