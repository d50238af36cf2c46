//! The planner: what a rollout does next, and why everything else waits.
//!
//! Pure and total: the same rollout, fleet and time give the same plan, and every device of the rollout has
//! its turn in it. The planner makes every choice; who executes a plan makes none.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use evenkeel_units::{DeviceId, WallTime};

use crate::{Device, Event, Fleet, Machine, Member, Phase, REACHABLE_FOR, Rollout, RolloutId};

/// What a rollout does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every device of the rollout and what comes next for it.
    pub devices: BTreeMap<DeviceId, Turn>,
    /// What happens to the rollout as a whole.
    pub rollout: Option<Event>,
}

impl Plan {
    /// What has to be recorded now, in this order. After that a new plan is due; when nothing is left to be
    /// recorded, the rollout waits for its devices or for time to pass.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let acts = self.devices.values().filter_map(|turn| match turn {
            Turn::Act(event) => Some(event),
            Turn::Wait(_) | Turn::UnderWay(_) | Turn::Over(_) => None,
        });
        acts.chain(&self.rollout)
    }
}

/// What comes next for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This happens to it now.
    Act(Event),
    /// It waits, and this is why.
    Wait(Wait),
    /// It is at work, in one sentence.
    UnderWay(String),
    /// It is done, in one sentence.
    Over(String),
}

/// Why a device waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// An earlier wave is not done.
    EarlierWave {
        /// That wave, counted from 0.
        wave: usize,
        /// Devices of it that are not done.
        open: usize,
    },
    /// So many devices are under way that one more could exceed the failure budget.
    Budget {
        /// Devices under way.
        under_way: u32,
        /// Devices that failed.
        failures: u32,
        /// The budget.
        budget: u32,
    },
    /// It has not been heard from for too long.
    Unheard {
        /// Since when; nothing if it never checked in.
        since: Option<WallTime>,
    },
    /// It is under way in another rollout.
    Elsewhere(RolloutId),
    /// Its update machine is at work on something else.
    AtWork,
    /// The rollout was halted.
    Halted,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EarlierWave { wave, open } => {
                let devices =
                    if *open == 1 { "1 device of it is" } else { &format!("{open} devices of it are") };
                write!(f, "waits for wave {}: {devices} not done", wave + 1)
            }
            Self::Budget { under_way, failures, budget } => write!(
                f,
                "waits for a device under way to be done: with {under_way} under way and {failures} failed, one more \
                 could exceed the failure budget of {budget}"
            ),
            Self::Unheard { since: Some(since) } => {
                write!(f, "waits to be heard from, last heard at {since}; starts when it checks in")
            }
            Self::Unheard { since: None } => f.write_str("waits for its first check-in"),
            Self::Elsewhere(rollout) => write!(f, "waits until it is done with rollout {rollout}"),
            Self::AtWork => f.write_str("waits until its update machine is at rest"),
            Self::Halted => f.write_str("is not started: the rollout was halted"),
        }
    }
}

/// Plans what `rollout` does next in `fleet` at `now`.
#[must_use]
pub fn plan(rollout: &Rollout, fleet: &Fleet, now: WallTime) -> Plan {
    let planner = Planner { rollout, fleet, now };
    let whole = planner.whole();
    let mut free = if matches!(whole, Some(Event::Halted { .. })) { 0 } else { planner.free() };
    let current = planner.current_wave();
    let mut devices = BTreeMap::new();
    for (&device, member) in &rollout.members {
        let turn = match &member.phase {
            Phase::Waiting => planner.waiting(device, member.wave, current, &mut free),
            Phase::Started { at } => planner.started(device, *at),
            Phase::Succeeded { at } => Turn::Over(format!("runs {} since {at}", rollout.policy.release)),
            Phase::Failed { reason, .. } => Turn::Over(planner.failed(device, reason)),
            Phase::LeftOut { reason, .. } => Turn::Over(reason.clone()),
        };
        devices.insert(device, turn);
    }
    Plan { devices, rollout: whole }
}

struct Planner<'a> {
    rollout: &'a Rollout,
    fleet: &'a Fleet,
    now: WallTime,
}

impl Planner<'_> {
    /// How many devices may be started now (I6): even if all under way and all started now should fail, the
    /// failures are no more than the budget.
    fn free(&self) -> u32 {
        let at_risk = self.rollout.failures() + self.rollout.under_way();
        self.rollout.policy.budget.count().saturating_sub(at_risk)
    }

    fn wave(&self, wave: usize) -> impl Iterator<Item = (&DeviceId, &Member)> {
        self.rollout.members.iter().filter(move |(_, member)| member.wave == wave)
    }

    /// The first wave that later ones have to wait for.
    ///
    /// A device that cannot be reached holds nobody up, once its wave has proved the release on another.
    fn current_wave(&self) -> usize {
        let held_up_by = |wave: &usize| {
            let proved = self.wave(*wave).any(|(_, member)| matches!(member.phase, Phase::Succeeded { .. }));
            self.wave(*wave).any(|(device, member)| match member.phase {
                Phase::Waiting => !proved || self.is_reachable(*device),
                Phase::Started { .. } => true,
                Phase::Succeeded { .. } | Phase::Failed { .. } | Phase::LeftOut { .. } => false,
            })
        };
        (0..self.rollout.policy.waves.len()).find(held_up_by).unwrap_or(self.rollout.policy.waves.len())
    }

    fn is_reachable(&self, device: DeviceId) -> bool {
        self.fleet.devices.get(&device).is_some_and(|facts| facts.is_reachable(self.now))
    }

    fn waiting(&self, device: DeviceId, wave: usize, current: usize, free: &mut u32) -> Turn {
        let Self { rollout, now, .. } = *self;
        let facts = self.fleet.devices.get(&device);
        if !rollout.is_running() {
            return Turn::Wait(Wait::Halted);
        }
        if let Some(event) = facts.and_then(|facts| self.without_start(device, facts)) {
            return Turn::Act(event);
        }
        let Some(facts) = facts.filter(|facts| facts.is_reachable(now)) else {
            return self.absent(device, facts);
        };
        let wait = if let Some(elsewhere) = facts.elsewhere {
            Wait::Elsewhere(elsewhere)
        } else if facts.machine == Machine::AtWork {
            Wait::AtWork
        } else if wave > current {
            Wait::EarlierWave { wave: current, open: self.open(current) }
        } else if *free == 0 {
            let (under_way, failures) = (rollout.under_way(), rollout.failures());
            Wait::Budget { under_way, failures, budget: rollout.policy.budget.count() }
        } else {
            *free -= 1;
            return Turn::Act(Event::Started { device, at: now });
        };
        Turn::Wait(wait)
    }

    /// What ends a device's part before it begins.
    fn without_start(&self, device: DeviceId, facts: &Device) -> Option<Event> {
        let (release, at) = (self.rollout.policy.release, self.now);
        let running = facts.running?;
        if facts.has_settled_on(release) {
            return Some(Event::Succeeded { device, at });
        }
        let reason = if running > release {
            format!("runs {running}, which is newer than {release}")
        } else if facts.refused.contains(&release) {
            format!(
                "does not try {release} again, for it failed there before; clear that on the device first"
            )
        } else {
            return None;
        };
        Some(Event::LeftOut { device, at, reason })
    }

    fn absent(&self, device: DeviceId, facts: Option<&Device>) -> Turn {
        let since = facts.and_then(|facts| facts.heard);
        let not_yet_listened = self.now.since(self.fleet.listening_since) <= REACHABLE_FOR;
        if not_yet_listened || self.now.since(self.rollout.began) <= self.rollout.policy.limits.absence {
            return Turn::Wait(Wait::Unheard { since });
        }
        let reason = match since {
            Some(since) => format!("left out: not heard from since {since}"),
            None => "left out: it never checked in".to_string(),
        };
        Turn::Act(Event::LeftOut { device, at: self.now, reason })
    }

    fn open(&self, wave: usize) -> usize {
        let open = |member: &Member| matches!(member.phase, Phase::Waiting | Phase::Started { .. });
        self.wave(wave).filter(|(_, member)| open(member)).count()
    }

    /// A started device is settled by what it says when it checks in, should its report be lost, or by silence.
    fn started(&self, device: DeviceId, at: WallTime) -> Turn {
        let Self { rollout, now, .. } = *self;
        let (release, limits) = (rollout.policy.release, rollout.policy.limits);
        let failed = |reason| Turn::Act(Event::Failed { device, at: now, reason });
        let facts = self.fleet.devices.get(&device);
        if facts.is_some_and(|facts| facts.has_settled_on(release)) {
            return Turn::Act(Event::Succeeded { device, at: now });
        }
        if facts.is_some_and(|facts| facts.has_come_back_from(release, now)) {
            return failed(format!("came back from {release} and does not try it again"));
        }
        if facts.is_some_and(|facts| self.never_began(facts)) {
            let reason = "the rollout was halted before it had begun".to_string();
            return Turn::Act(Event::LeftOut { device, at: now, reason });
        }
        let heard = facts.and_then(|facts| facts.heard).unwrap_or(at).max(at).max(self.fleet.listening_since);
        if now.since(heard) > limits.silence {
            return failed(format!("fell silent: started at {at}, not heard from since {heard}"));
        }
        if now.since(at) > limits.longest_update {
            let hours = limits.longest_update.as_secs() / 3600;
            return failed(format!("started at {at} and not done within {hours} hours"));
        }
        Turn::UnderWay(format!("told to take {release} at {at}"))
    }

    /// Whether the device has spoken since the halt and knows nothing of the rollout.
    fn never_began(&self, facts: &Device) -> bool {
        let heard_since = |at: WallTime| facts.heard.is_some_and(|heard| heard > at);
        let halted = self.rollout.halt.as_ref().is_some_and(|halt| heard_since(halt.at));
        halted && facts.known != Some(self.rollout.id) && facts.machine == Machine::AtRest
    }

    fn failed(&self, device: DeviceId, reason: &str) -> String {
        let release = self.rollout.policy.release;
        let came_round = self.fleet.devices.get(&device).is_some_and(|facts| facts.has_settled_on(release));
        if came_round { format!("{reason}; it runs {release} by now") } else { reason.to_string() }
    }

    /// What happens to the rollout: halt when the budget is used up or a wave proved nothing, else finish when
    /// every device is done.
    fn whole(&self) -> Option<Event> {
        let Self { rollout, now: at, .. } = *self;
        if !rollout.is_running() {
            return None;
        }
        let budget = rollout.policy.budget.count();
        if rollout.failures() >= budget {
            let reason = format!("the failure budget of {budget} is used up: {}", self.last_failures());
            return Some(Event::Halted { at, reason });
        }
        if let Some(wave) = self.wave_without_proof() {
            let release = rollout.policy.release;
            let why = self.last_failures();
            let why = if why.is_empty() { "its devices were left out".to_string() } else { why };
            let reason = format!("wave {} ended without one device that keeps {release}: {why}", wave + 1);
            return Some(Event::Halted { at, reason });
        }
        let open = rollout.count(|phase| matches!(phase, Phase::Waiting | Phase::Started { .. }));
        (open == 0).then_some(Event::Finished { at })
    }

    /// A wave that is done, has later ones waiting for its proof, and has none to give.
    fn wave_without_proof(&self) -> Option<usize> {
        let is_waiting = |member: &Member| matches!(member.phase, Phase::Waiting);
        let last_waiting =
            self.rollout.members.values().filter(|m| is_waiting(m)).map(|member| member.wave).max()?;
        (0..last_waiting).find(|&wave| {
            let mut phases = self.wave(wave).map(|(_, member)| &member.phase).peekable();
            phases.peek().is_some()
                && phases.all(|phase| matches!(phase, Phase::Failed { .. } | Phase::LeftOut { .. }))
        })
    }

    /// The newest three failures, in words.
    fn last_failures(&self) -> String {
        let mut failures: Vec<_> = self
            .rollout
            .members
            .iter()
            .filter_map(|(device, member)| match &member.phase {
                Phase::Failed { at, reason } => Some((*at, format!("device {device}: {reason}"))),
                Phase::Waiting | Phase::Started { .. } | Phase::Succeeded { .. } | Phase::LeftOut { .. } => {
                    None
                }
            })
            .collect();
        failures.sort_by_key(|failure| core::cmp::Reverse(failure.0));
        let words: Vec<_> = failures.into_iter().take(3).map(|(_, words)| words).collect();
        words.join("; ")
    }
}
