//! What devices, operators and the update server say to each other, and how devices sign it.
//!
//! Owns: the message types of `docs/protocol.md` (their serde form is the format), the request signatures of
//! RFC 9421 with the content digests of RFC 9530, and the memory that refuses a request seen before. Leaves to
//! others: HTTP, clocks, and drawing nonces and keys, all of which arrive as arguments (I10).
//!
//! Requests refuse unknown fields, answers ignore them: a server is updated before its devices, so a newer
//! server may say more than an older device understands, never the other way round.
#![no_std]

extern crate alloc;

/// Implements serde by way of `Display` and `FromStr`, so that text has one form everywhere.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <alloc::string::String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

mod digest;
mod key;
mod message;
mod operator;
mod replay;
mod signature;
mod text;

pub use digest::{ContentDigest, ContentDigestError};
pub use evenkeel_rollout::{RolloutId, RolloutIdError, Wave, WaveError};
pub use evenkeel_units::{Label, LabelError};
pub use key::{PublicKey, PublicKeyError};
pub use message::{Assignment, CheckIn, DeviceState, Enrol, Enrolled, Orders, Report, Running, Step};
pub use operator::{
    DeviceCount, DeviceDetail, DeviceList, DeviceSummary, ErrorBody, HaltRollout, IssueToken, IssuedToken,
    ReceivedReport, ReleaseList, ReleaseSummary, RolloutDetail, RolloutDevice, RolloutList, RolloutState,
    RolloutSummary, Standing, StartRollout, WaveStanding,
};
pub use replay::{Replayed, SeenNonces};
pub use signature::{
    Authentic, Claim, ED25519, LABEL, Nonce, NonceError, SIGNATURE_WINDOW, SignatureError, SignatureHeaders,
    SignedRequest, sign, signature_base,
};
pub use text::Sentence;
