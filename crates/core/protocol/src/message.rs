//! What a device says to the update server, and what it is told.

use alloc::{string::String, vec::Vec};
use core::fmt;

use evenkeel_rollout::RolloutId;
use evenkeel_units::{ByteCount, DeviceId, Digest, Slot, Version, WallTime};
use serde::{Deserialize, Serialize};

use crate::{Label, PublicKey, Sentence};

/// Body of `POST /v1/enrol`: a device asks to belong to this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The one-time token that an operator issued.
    pub token: String,
    /// The device's own key; its requests are signed with it from now on.
    pub public_key: PublicKey,
    /// The kind of hardware, such as `x86_64`.
    pub hardware: Label,
    /// What people call the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
}

/// Answer to [`Enrol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who the device is from now on.
    pub device: DeviceId,
}

/// Body of `POST /v1/check-in`: how a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// What runs.
    pub running: Running,
    /// What its update machine does.
    pub state: DeviceState,
    /// The assignment the device knows of, whether it is at work on it or done with it. The server holds the
    /// request open for as long as it has nothing else to say than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<RolloutId>,
    /// Releases that the device does not try again by itself, for they were rolled back. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Version>,
    /// The channel whose releases it takes, such as `stable`.
    pub channel: Label,
    /// The kind of hardware, such as `x86_64`.
    pub hardware: Label,
    /// The version of the update agent.
    pub agent_version: Version,
}

impl CheckIn {
    /// Most releases that [`CheckIn::refused`] may list: one a week for more than a year.
    pub const REFUSED_LIMIT: usize = 64;
}

/// The release that runs on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Its version.
    pub version: Version,
    /// The slot it runs from.
    pub slot: Slot,
    /// The root hash of its verity tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_hash: Option<Digest>,
}

/// The update machine of a device as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum DeviceState {
    /// Nothing to do.
    Idle,
    /// It checks the metadata of the release.
    Verifying,
    /// It writes the release to the other slot.
    Staging {
        /// Bytes of the slot that are right already.
        done: ByteCount,
        /// Bytes that there are.
        total: ByteCount,
    },
    /// It reads back what it wrote.
    Checking,
    /// It restarts into the release.
    Restarting,
    /// The release runs and has to prove itself.
    Trial,
    /// The release was bad; it restarts into the one before.
    RollingBack,
    /// Something failed that may pass; it tries again by itself.
    BackingOff {
        /// What failed.
        reason: Sentence,
    },
}

/// Answer to [`CheckIn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// What the device shall run. Nothing means: stay as you are, and drop an assignment that you have not
    /// restarted into yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// Seconds to wait before the next check-in; 0 where the server holds requests open.
    pub retry_after_seconds: u32,
}

/// A release that a device shall take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The rollout it belongs to. A device has at most one assignment of a rollout, ever.
    pub rollout: RolloutId,
    /// The release.
    pub release: Version,
    /// Its name in the TUF targets metadata, such as `evenkeel-1.1.0.bundle`.
    pub target: String,
}

/// Body of `POST /v1/report`: one thing that happened on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Counts the device's reports upwards. A number that is not above the highest one received changes nothing.
    pub sequence: u64,
    /// When it happened, by the device's clock.
    pub at: WallTime,
    /// The rollout it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// The release it is about.
    pub release: Version,
    /// What happened.
    pub step: Step,
}

/// The steps of an update, each reported as it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The assignment was taken.
    Assigned,
    /// Metadata, manifest and chunk index are authentic and fit this device.
    Verified,
    /// The release is being written to the other slot.
    Staging {
        /// Bytes of the slot that are right already.
        done: ByteCount,
        /// Bytes that there are.
        total: ByteCount,
    },
    /// All of it is written, read back and right.
    Staged,
    /// The device restarts into the release.
    Restarting,
    /// The release runs and has to prove itself.
    TrialStarted {
        /// The slot it runs from.
        slot: Slot,
    },
    /// The release passed its health gate and is the default from now on.
    Kept,
    /// The release did not pass; the one before runs again. This ends the device's part in the rollout.
    RolledBack {
        /// Why, in one sentence.
        reason: Sentence,
        /// What was measured, one finding each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<Sentence>,
    },
    /// The device will not take this release. This ends the device's part in the rollout.
    Refused {
        /// Why, in one sentence with the remedy.
        reason: Sentence,
        /// What was measured, one finding each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<Sentence>,
    },
    /// Something failed that may pass; the device tries again by itself.
    Failed {
        /// What failed.
        reason: Sentence,
        /// Seconds until it tries again.
        retry_after_seconds: u32,
    },
    /// The server took the assignment back before the device had restarted into it.
    Withdrawn,
}

impl Step {
    /// Whether the device is done with the assignment by this step.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Kept | Self::RolledBack { .. } | Self::Refused { .. } | Self::Withdrawn => true,
            Self::Assigned
            | Self::Verified
            | Self::Staging { .. }
            | Self::Staged
            | Self::Restarting
            | Self::TrialStarted { .. }
            | Self::Failed { .. } => false,
        }
    }

    /// What was measured, of a step that ended badly; of any other step nothing.
    #[must_use]
    pub fn evidence(&self) -> &[Sentence] {
        match self {
            Self::RolledBack { evidence, .. } | Self::Refused { evidence, .. } => evidence,
            Self::Assigned
            | Self::Verified
            | Self::Staging { .. }
            | Self::Staged
            | Self::Restarting
            | Self::TrialStarted { .. }
            | Self::Kept
            | Self::Failed { .. }
            | Self::Withdrawn => &[],
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Verifying => f.write_str("verifying"),
            Self::Staging { done, total } => write!(f, "staging, {done} of {total}"),
            Self::Checking => f.write_str("reading back"),
            Self::Restarting => f.write_str("restarting"),
            Self::Trial => f.write_str("on trial"),
            Self::RollingBack => f.write_str("rolling back"),
            Self::BackingOff { reason } => write!(f, "waiting to try again: {reason}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned => f.write_str("assigned"),
            Self::Verified => f.write_str("verified"),
            Self::Staging { done, total } => write!(f, "staging, {done} of {total}"),
            Self::Staged => f.write_str("staged"),
            Self::Restarting => f.write_str("restarting"),
            Self::TrialStarted { slot } => write!(f, "on trial in slot {slot}"),
            Self::Kept => f.write_str("kept"),
            Self::RolledBack { reason, .. } => write!(f, "rolled back: {reason}"),
            Self::Refused { reason, .. } => write!(f, "refused: {reason}"),
            Self::Failed { reason, retry_after_seconds } => {
                write!(f, "failed, tries again in {retry_after_seconds} s: {reason}")
            }
            Self::Withdrawn => f.write_str("withdrawn"),
        }
    }
}
