//! The state of a rollout, and the events that change it.
//!
//! Every event may be applied again without effect, so a journal of events can be read back from any point.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use evenkeel_units::{DeviceId, Version, WallTime};
use serde::{Deserialize, Serialize};

use crate::Wave;

/// A rollout, counted from 1 by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(pub u32);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a text is not the number of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not the number of a rollout; expected a whole number such as `3`")]
pub struct RolloutIdError {
    got: String,
}

impl FromStr for RolloutId {
    type Err = RolloutIdError;

    fn from_str(text: &str) -> Result<Self, RolloutIdError> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let refuse = || RolloutIdError { got: text.chars().take(40).collect() };
        digits.then(|| text.parse().ok()).flatten().map(Self).ok_or_else(refuse)
    }
}

/// How many devices may fail, at most; at least 1, for with none no device could ever be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FailureBudget(NonZeroU32);

impl FailureBudget {
    /// A budget of `failures`; nothing for 0.
    #[must_use]
    pub fn new(failures: u32) -> Option<Self> {
        NonZeroU32::new(failures).map(Self)
    }

    /// How many devices may fail.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.get()
    }
}

/// How long a rollout waits for a device, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A started device that says nothing for so long has failed.
    pub silence: Duration,
    /// A started device that is not done by then has failed, whatever it says.
    pub longest_update: Duration,
    /// A device that could not be reached by then, counted from the rollout's start, is left out.
    pub absence: Duration,
}

impl Limits {
    /// For boxes in racks.
    ///
    /// Silence: 140 s for the longest trial twice (there and back), doubled for slow firmware, rounded up: 900 s.
    /// Longest update: 1 GiB at 1 Mbit/s is 2.4 h, doubled for interruptions, rounded up: 6 h.
    /// Absence: a box that is in repair for two weeks takes the next rollout instead: 14 days.
    pub const STANDARD: Self = Self {
        silence: Duration::from_secs(900),
        longest_update: Duration::from_secs(6 * 3600),
        absence: Duration::from_secs(14 * 86_400),
    };
}

/// What an operator asks of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The release that devices shall run.
    pub release: Version,
    /// Which devices, in their order.
    pub waves: Vec<Wave>,
    /// How many devices may fail.
    pub budget: FailureBudget,
    /// How long to wait for a device.
    pub limits: Limits,
}

/// A rollout: its policy, and how far each of its devices is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number.
    pub id: RolloutId,
    /// What was asked for.
    pub policy: Policy,
    /// When it began.
    pub began: WallTime,
    /// Its devices. They are fixed at the start, so that a fraction of the fleet stays what it was.
    pub members: BTreeMap<DeviceId, Member>,
    /// Why no further device is started.
    pub halt: Option<Halt>,
    /// When the last device was done.
    pub finished: Option<WallTime>,
}

/// A device's part in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its wave, counted from 0.
    pub wave: usize,
    /// How far it is.
    pub phase: Phase,
}

/// How far a device is. The last three are final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// Not started.
    Waiting,
    /// Told to take the release.
    Started {
        /// When.
        at: WallTime,
    },
    /// Runs the release.
    Succeeded {
        /// Since when.
        at: WallTime,
    },
    /// Rolled back, refused the release or fell silent. It stays failed even if it comes round later.
    Failed {
        /// When.
        at: WallTime,
        /// Why, in one sentence.
        reason: String,
    },
    /// Never started, or stopped before it had restarted into the release.
    LeftOut {
        /// When.
        at: WallTime,
        /// Why, in one sentence.
        reason: String,
    },
}

/// The end of a rollout before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// When.
    pub at: WallTime,
    /// Why, in one sentence.
    pub reason: String,
}

/// What happens to a rollout. Recording one is the only way to change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Event {
    /// The device is told to take the release.
    Started {
        /// Which.
        device: DeviceId,
        /// When.
        at: WallTime,
    },
    /// The device runs the release.
    Succeeded {
        /// Which.
        device: DeviceId,
        /// When.
        at: WallTime,
    },
    /// The device failed; or, said again of one that had failed, the better reason.
    Failed {
        /// Which.
        device: DeviceId,
        /// When.
        at: WallTime,
        /// Why, in one sentence.
        reason: String,
    },
    /// The device takes no part.
    LeftOut {
        /// Which.
        device: DeviceId,
        /// When.
        at: WallTime,
        /// Why, in one sentence.
        reason: String,
    },
    /// No further device is started.
    Halted {
        /// When.
        at: WallTime,
        /// Why, in one sentence.
        reason: String,
    },
    /// Every device is done.
    Finished {
        /// When.
        at: WallTime,
    },
}

/// Whether an event changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The rollout is not what it was.
    Changed,
    /// The event had been applied, or does not fit any more.
    Nothing,
}

/// Why a rollout cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// No wave, or too many.
    #[error("the rollout has {got} waves; expected 1 to 32, such as `1`, `100‰`, `all`")]
    Waves {
        /// How many were asked for.
        got: usize,
    },
    /// A wave names a device that cannot take the release.
    #[error(
        "wave {wave} names device {device}, which is unknown or may not take release {release}; leave it out"
    )]
    Device {
        /// The wave, counted from 1.
        wave: usize,
        /// The device.
        device: DeviceId,
        /// The release.
        release: Version,
    },
    /// No device at all.
    #[error(
        "no device may take release {release}; compare its channels and hardware with those of the devices"
    )]
    Nobody {
        /// The release.
        release: Version,
    },
}

impl Rollout {
    /// Most waves that a rollout may have: doubling from 1 device, 32 waves reach 4 billion.
    pub const WAVES_LIMIT: usize = 32;

    /// Begins a rollout to those of the `eligible` devices that its waves choose.
    ///
    /// Waves of a number or a fraction take devices in the order of their identities, which are digests and
    /// so in no order that anybody chose.
    ///
    /// # Errors
    /// When there are no waves or too many, a wave names a device that is not eligible, or no device is chosen.
    pub fn begin(
        id: RolloutId,
        policy: Policy,
        eligible: &BTreeSet<DeviceId>,
        now: WallTime,
    ) -> Result<Self, BeginError> {
        if policy.waves.is_empty() || policy.waves.len() > Self::WAVES_LIMIT {
            return Err(BeginError::Waves { got: policy.waves.len() });
        }
        let named = named_devices(&policy, eligible)?;
        let mut members = named.clone();
        for (wave, spec) in policy.waves.iter().enumerate() {
            let wanted = match spec {
                Wave::Devices(_) => 0,
                Wave::Count(count) => u64::from(*count),
                Wave::Fraction(fraction) => {
                    let had = members.values().filter(|&&of| of <= wave).count() as u64;
                    fraction.of(eligible.len() as u64).saturating_sub(had)
                }
            };
            let free: Vec<_> =
                eligible.iter().filter(|device| !members.contains_key(device)).copied().collect();
            members.extend(free.into_iter().zip(0..wanted).map(|(device, _)| (device, wave)));
        }
        if members.is_empty() {
            return Err(BeginError::Nobody { release: policy.release });
        }
        let member = |(device, wave)| (device, Member { wave, phase: Phase::Waiting });
        let members = members.into_iter().map(member).collect();
        Ok(Self { id, policy, began: now, members, halt: None, finished: None })
    }

    /// Whether the rollout neither finished nor was halted.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.halt.is_none() && self.finished.is_none()
    }

    /// The devices of a phase, counted.
    pub(crate) fn count(&self, of: impl Fn(&Phase) -> bool) -> u32 {
        u32::try_from(self.members.values().filter(|member| of(&member.phase)).count()).unwrap_or(u32::MAX)
    }

    /// Devices that failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.count(|phase| matches!(phase, Phase::Failed { .. }))
    }

    /// Devices that were started and are not done.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.count(|phase| matches!(phase, Phase::Started { .. }))
    }

    /// Whether this rollout tells `device` to take its release, now.
    #[must_use]
    pub fn assigns(&self, device: DeviceId) -> bool {
        let started = |member: &Member| matches!(member.phase, Phase::Started { .. });
        self.halt.is_none() && self.members.get(&device).is_some_and(started)
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: &Event) -> Applied {
        match event.clone() {
            Event::Started { device, at } => self.step(device, Phase::Started { at }),
            Event::Succeeded { device, at } => self.step(device, Phase::Succeeded { at }),
            Event::Failed { device, at, reason } => self.step(device, Phase::Failed { at, reason }),
            Event::LeftOut { device, at, reason } => self.step(device, Phase::LeftOut { at, reason }),
            Event::Halted { at, reason } if self.is_running() => {
                self.halt = Some(Halt { at, reason });
                Applied::Changed
            }
            Event::Finished { at } if self.is_running() => {
                self.finished = Some(at);
                Applied::Changed
            }
            Event::Halted { .. } | Event::Finished { .. } => Applied::Nothing,
        }
    }

    /// Moves a device on, if its phase allows it: forward only, and into failure only from having been started.
    fn step(&mut self, device: DeviceId, next: Phase) -> Applied {
        let Some(member) = self.members.get_mut(&device) else {
            return Applied::Nothing;
        };
        let allowed = match (&member.phase, &next) {
            (Phase::Waiting, Phase::Started { .. }) => self.halt.is_none() && self.finished.is_none(),
            (Phase::Waiting | Phase::Started { .. }, Phase::Succeeded { .. } | Phase::LeftOut { .. })
            | (Phase::Started { .. }, Phase::Failed { .. }) => true,
            (Phase::Failed { .. }, Phase::Failed { .. }) => member.phase != next,
            (
                Phase::Waiting
                | Phase::Started { .. }
                | Phase::Succeeded { .. }
                | Phase::Failed { .. }
                | Phase::LeftOut { .. },
                _,
            ) => false,
        };
        if !allowed {
            return Applied::Nothing;
        }
        member.phase = next;
        Applied::Changed
    }
}

/// The devices that waves name one by one; a device named twice belongs to the first.
fn named_devices(
    policy: &Policy,
    eligible: &BTreeSet<DeviceId>,
) -> Result<BTreeMap<DeviceId, usize>, BeginError> {
    let mut named = BTreeMap::new();
    for (wave, spec) in policy.waves.iter().enumerate() {
        let Wave::Devices(devices) = spec else { continue };
        for &device in devices {
            if !eligible.contains(&device) {
                return Err(BeginError::Device { wave: wave + 1, device, release: policy.release });
            }
            named.entry(device).or_insert(wave);
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);

    fn fleet(count: u8) -> BTreeSet<DeviceId> {
        (0..count).map(|n| DeviceId::of_public_key(&[n; 32])).collect()
    }

    fn policy(waves: &[&str]) -> Policy {
        Policy {
            release: Version::new(1, 1, 0),
            waves: waves.iter().map(|wave| wave.parse().unwrap()).collect(),
            budget: FailureBudget::new(2).unwrap(),
            limits: Limits::STANDARD,
        }
    }

    fn sizes(waves: &[&str], fleet: &BTreeSet<DeviceId>) -> Vec<usize> {
        let rollout = Rollout::begin(RolloutId(1), policy(waves), fleet, NOW).unwrap();
        (0..waves.len()).map(|wave| rollout.members.values().filter(|m| m.wave == wave).count()).collect()
    }

    #[test]
    fn waves_divide_the_fleet_in_their_order() {
        for (waves, expected) in [
            (vec!["1", "500‰", "all"], vec![1, 4, 5]),
            (vec!["all"], vec![10]),
            (vec!["1"], vec![1]),
            (vec!["3", "10%", "all"], vec![3, 0, 7]),
            (vec!["20", "all"], vec![10, 0]),
        ] {
            assert_eq!(sizes(&waves, &fleet(10)), expected, "{waves:?}");
        }
    }

    #[test]
    fn a_device_named_by_a_later_wave_is_not_taken_by_an_earlier_one() {
        let devices = fleet(3);
        let first = devices.first().unwrap();
        let text = alloc::format!("{first}");
        let waves = ["1", &text, "all"];
        assert_eq!(sizes(&waves, &devices), [1, 1, 1]);
        let rollout = Rollout::begin(RolloutId(1), policy(&waves), &devices, NOW).unwrap();
        assert_eq!(rollout.members[first].wave, 1);
    }

    #[test]
    fn a_rollout_without_devices_or_with_unknown_ones_does_not_begin() {
        let begin = |waves: &[&str], count| Rollout::begin(RolloutId(1), policy(waves), &fleet(count), NOW);
        let stranger = alloc::format!("{}", DeviceId::of_public_key(&[99; 32]));
        assert!(matches!(begin(&[], 3), Err(BeginError::Waves { got: 0 })));
        assert!(matches!(begin(&["1"; 33], 3), Err(BeginError::Waves { got: 33 })));
        assert!(matches!(begin(&["all"], 0), Err(BeginError::Nobody { .. })));
        assert!(matches!(begin(&["1", &stranger], 3), Err(BeginError::Device { wave: 2, .. })));
    }

    #[test]
    fn a_device_that_failed_stays_failed_and_only_its_reason_may_improve() {
        let devices = fleet(1);
        let device = *devices.first().unwrap();
        let mut rollout = Rollout::begin(RolloutId(1), policy(&["all"]), &devices, NOW).unwrap();
        let failed = |reason: &str| Event::Failed { device, at: NOW, reason: reason.into() };
        assert_eq!(rollout.apply(&failed("never started")), Applied::Nothing);
        assert_eq!(rollout.apply(&Event::Started { device, at: NOW }), Applied::Changed);
        assert_eq!(rollout.apply(&failed("fell silent")), Applied::Changed);
        assert_eq!(rollout.apply(&Event::Succeeded { device, at: NOW }), Applied::Nothing);
        assert_eq!(rollout.apply(&failed("it answered 500")), Applied::Changed);
        assert_eq!(rollout.apply(&failed("it answered 500")), Applied::Nothing);
        assert_eq!(rollout.failures(), 1);
    }
}
