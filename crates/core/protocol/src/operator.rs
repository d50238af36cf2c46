//! What an operator's command and the update server say to each other.

use alloc::{string::String, vec::Vec};
use core::fmt;

use evenkeel_rollout::{RolloutId, Wave};
use evenkeel_units::{ByteCount, DeviceId, Digest, Version, WallTime};
use serde::{Deserialize, Serialize};

use crate::{DeviceState, Label, Report, Running, Sentence};

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One sentence with thing, value and remedy.
    pub error: String,
}

/// Body of `POST /api/enrolment-tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// Seconds for which the token can be used: 1 to 2,592,000 (30 days).
    pub valid_seconds: u64,
}

/// Answer to [`IssueToken`]. The server keeps only a digest of the token, so this is the one time it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The token: good for one device.
    pub token: String,
    /// When it stops being good.
    pub expires: WallTime,
}

/// Answer to `GET /api/releases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseList {
    /// Newest version first.
    pub releases: Vec<ReleaseSummary>,
}

/// A published release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    /// Its version.
    pub version: Version,
    /// Its name in the TUF targets metadata.
    pub target: String,
    /// The length of its bundle.
    pub length: ByteCount,
    /// The digest of its bundle.
    pub sha256: Digest,
    /// The channels whose devices may take it.
    pub channels: Vec<Label>,
    /// The kinds of hardware that may take it.
    pub hardware: Vec<Label>,
}

/// Answer to `GET /api/devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// In order of their names and identities.
    pub devices: Vec<DeviceSummary>,
}

/// A device at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSummary {
    /// Who it is.
    pub id: DeviceId,
    /// What people call it.
    pub name: Option<Label>,
    /// The kind of hardware.
    pub hardware: Label,
    /// The channel it follows, once it has checked in.
    pub channel: Option<Label>,
    /// When it was enrolled.
    pub enrolled: WallTime,
    /// When it was last heard from.
    pub last_seen: Option<WallTime>,
    /// What runs on it, once it has checked in.
    pub running: Option<Running>,
    /// What its update machine does, once it has checked in.
    pub state: Option<DeviceState>,
    /// Its newest report.
    pub last_report: Option<ReceivedReport>,
}

/// Answer to `GET /api/devices/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDetail {
    /// The device at a glance.
    pub device: DeviceSummary,
    /// The version of its agent, once it has checked in.
    pub agent_version: Option<Version>,
    /// Releases that it does not try again by itself.
    pub refused: Vec<Version>,
    /// Its newest reports, newest first.
    pub reports: Vec<ReceivedReport>,
}

/// A report and when it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedReport {
    /// When it came in, by the server's clock.
    pub received: WallTime,
    /// What it says.
    pub report: Report,
}

/// Body of `POST /api/rollouts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRollout {
    /// The release.
    pub release: Version,
    /// Its waves in their order; at least 1, at most 32.
    pub waves: Vec<Wave>,
    /// How many devices may fail, at most; at least 1. So many may be on their way at once, less what failed.
    pub failure_budget: u32,
    /// Seconds of silence after which a started device counts as failed; 900 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<u64>,
}

/// Body of `POST /api/rollouts/ID/halt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltRollout {
    /// Why, for those who look at it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sentence>,
}

/// Answer to `GET /api/rollouts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutList {
    /// Newest first.
    pub rollouts: Vec<RolloutSummary>,
}

/// A rollout at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    /// Its number.
    pub id: RolloutId,
    /// The release.
    pub release: Version,
    /// When it was started.
    pub started: WallTime,
    /// Whether it goes on.
    pub state: RolloutState,
    /// How many devices may fail, at most.
    pub failure_budget: u32,
    /// Its devices, counted.
    pub count: DeviceCount,
}

/// Whether a rollout goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RolloutState {
    /// It goes on.
    Running,
    /// Every device has had its turn.
    Finished,
    /// No further device is started.
    Halted {
        /// When.
        at: WallTime,
        /// Why.
        reason: Sentence,
    },
}

/// How the devices of a rollout or a wave stand, counted; the sum is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceCount {
    /// Waiting for their turn.
    pub waiting: u32,
    /// Started and not yet done.
    pub in_flight: u32,
    /// Running the release.
    pub succeeded: u32,
    /// Rolled back, refused or fallen silent.
    pub failed: u32,
    /// Left out, or taken back before they had restarted.
    pub left_out: u32,
}

impl DeviceCount {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.waiting + self.in_flight + self.succeeded + self.failed + self.left_out
    }
}

/// Answer to `GET /api/rollouts/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// The rollout at a glance.
    pub rollout: RolloutSummary,
    /// Its waves in their order.
    pub waves: Vec<WaveStanding>,
}

/// How a wave stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveStanding {
    /// What was asked for.
    pub wave: Wave,
    /// Its devices, counted.
    pub count: DeviceCount,
    /// Its devices, each with where it stands.
    pub devices: Vec<RolloutDevice>,
}

/// How a device stands in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutDevice {
    /// Who it is.
    pub id: DeviceId,
    /// What people call it.
    pub name: Option<Label>,
    /// Where it stands.
    pub standing: Standing,
    /// Why it waits, what it does or how it ended, in one sentence.
    pub reason: Sentence,
}

/// Where a device stands in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Waiting for its turn.
    Waiting,
    /// Started and not yet done.
    InFlight,
    /// Running the release.
    Succeeded,
    /// Rolled back, refused or fallen silent.
    Failed,
    /// Left out, or taken back before it had restarted.
    LeftOut,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::InFlight => "updating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::LeftOut => "left out",
        })
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Finished => f.write_str("finished"),
            Self::Halted { reason, .. } => write!(f, "halted: {reason}"),
        }
    }
}
