//! Why the engine refuses something, each with its remedy.

use evenkeel_protocol::SignatureError;
use evenkeel_rollout::{BeginError, RolloutId};
use evenkeel_units::{DeviceId, Version, WallTime};

use crate::{nonces::NonceError, store::StoreError};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The enrolment token is unknown.
    #[error("the enrolment token is not known here; get a new one with `evenkeel device token`")]
    TokenUnknown,
    /// The enrolment token has had its time.
    #[error("the enrolment token expired at {expired}; get a new one with `evenkeel device token`")]
    TokenExpired {
        /// When.
        expired: WallTime,
    },
    /// The enrolment token has served another device.
    #[error(
        "the enrolment token was used by device {by}; get one for each device with `evenkeel device token`"
    )]
    TokenUsed {
        /// By whom.
        by: DeviceId,
    },
    /// A token for a time that cannot be.
    #[error("an enrolment token cannot be valid for {got} seconds; expected 1 to 2592000 (30 days)")]
    Validity {
        /// What was asked for.
        got: u64,
    },
    /// Nobody of that name.
    #[error("device {0} is not enrolled here; enrol it with a token of `evenkeel device token`")]
    DeviceUnknown(DeviceId),
    /// The request is not authentic.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The request came before.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// A list that is too long.
    #[error("a check-in lists {got} refused releases; expected 64 at most, the newest ones")]
    RefusedList {
        /// Its length.
        got: usize,
    },
    /// No such release.
    #[error("release {0} is not published here; publish it with `evenkeel release publish`")]
    ReleaseUnknown(Version),
    /// No such rollout.
    #[error("there is no rollout {0}; see `evenkeel rollout list`")]
    RolloutUnknown(RolloutId),
    /// The rollout cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// No failures allowed at all.
    #[error("a failure budget of 0 would never start a device; expected 1 or more")]
    Budget,
    /// A limit out of range.
    #[error("{got} seconds of silence are out of range; expected 60 to 86400 (1 day)")]
    Silence {
        /// What was asked for.
        got: u64,
    },
    /// The release is already being rolled out.
    #[error(
        "rollout {rollout} of release {release} is not over; halt it with `evenkeel rollout halt {rollout}`"
    )]
    AlreadyRunning {
        /// The rollout.
        rollout: RolloutId,
        /// Its release.
        release: Version,
    },
    /// It is over already.
    #[error("rollout {0} is over; nothing is left to halt")]
    RolloutOver(RolloutId),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not understood.
    #[error("stored data is not understood ({0}); was a newer version of the server here?")]
    Stored(String),
}
