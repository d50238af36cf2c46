//! The fleet as the planner sees it: facts that devices told, nothing wished for.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use evenkeel_units::{DeviceId, Version, WallTime};

use crate::RolloutId;

/// How long after its last word a device counts as reachable.
///
/// A device speaks at least every 60 s, for no request is held longer; three in a row may be lost: 180 s.
pub const REACHABLE_FOR: Duration = Duration::from_secs(180);

/// How long a device's report may take after its check-in has told the same already.
///
/// Both are sent when the box is up again. A report that fails once is repeated within seconds: 30 s.
pub const REPORT_GRACE: Duration = Duration::from_secs(30);

/// Every device that there is, and since when anybody has been there to hear them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// What is known of each device.
    pub devices: BTreeMap<DeviceId, Device>,
    /// When the server began to listen. Before that, silence was the server's own.
    pub listening_since: WallTime,
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The release that runs, once it has said so.
    pub running: Option<Version>,
    /// What its update machine does.
    pub machine: Machine,
    /// When it was last heard from.
    pub heard: Option<WallTime>,
    /// Since when it has told what it tells now.
    pub told: Option<WallTime>,
    /// The assignment it knows of.
    pub known: Option<RolloutId>,
    /// Releases that it does not try again by itself.
    pub refused: Vec<Version>,
    /// Another rollout in which it is under way.
    pub elsewhere: Option<RolloutId>,
}

/// Whether a device's update machine is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// What runs is what it stays with.
    AtRest,
    /// It is at work, or what runs is on trial.
    AtWork,
}

impl Device {
    /// Whether the device was heard from lately enough to be given something to do.
    #[must_use]
    pub fn is_reachable(&self, now: WallTime) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) <= REACHABLE_FOR)
    }

    /// Whether the device has come back from `release` for so long that its report must be lost.
    #[must_use]
    pub fn has_come_back_from(&self, release: Version, now: WallTime) -> bool {
        let long_ago = self.told.is_some_and(|told| now.since(told) >= REPORT_GRACE);
        self.refused.contains(&release) && long_ago
    }

    /// Whether the device runs `release` and has settled on it.
    #[must_use]
    pub fn has_settled_on(&self, release: Version) -> bool {
        self.running == Some(release) && self.machine == Machine::AtRest
    }
}
