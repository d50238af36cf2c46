//! What operators see: devices and rollouts as they stand.

use evenkeel_protocol::{
    DeviceCount, DeviceDetail, DeviceState, DeviceSummary, RolloutDetail, RolloutDevice, RolloutState,
    RolloutSummary, Sentence, Standing, WaveStanding,
};
use evenkeel_rollout::{Phase, Rollout, RolloutId, Turn};
use evenkeel_units::{DeviceId, WallTime};

use super::{Engine, EngineError, device::DeviceRecord};

impl Engine {
    /// Every device at a glance, by name and identity.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceSummary> {
        let mut devices: Vec<_> = self.devices.values().map(summary).collect();
        devices.sort_by(|a, b| (a.name.is_none(), &a.name, a.id).cmp(&(b.name.is_none(), &b.name, b.id)));
        devices
    }

    /// One device with its reports.
    ///
    /// # Errors
    /// When there is no such device or its reports cannot be read.
    pub fn device(&self, device: DeviceId) -> Result<DeviceDetail, EngineError> {
        let record = self.devices.get(&device).ok_or(EngineError::DeviceUnknown(device))?;
        let facts = record.facts.as_ref();
        Ok(DeviceDetail {
            device: summary(record),
            agent_version: facts.map(|facts| facts.agent_version),
            refused: facts.map(|facts| facts.refused.clone()).unwrap_or_default(),
            reports: self.reports(device)?,
        })
    }

    /// Every rollout at a glance, newest first.
    #[must_use]
    pub fn rollouts(&self) -> Vec<RolloutSummary> {
        self.rollouts.values().rev().map(rollout_summary).collect()
    }

    /// One rollout with its waves, and for every device where it stands and why.
    ///
    /// # Errors
    /// When there is no such rollout.
    pub fn rollout(&self, id: RolloutId, now: WallTime) -> Result<RolloutDetail, EngineError> {
        let rollout = self.rollouts.get(&id).ok_or(EngineError::RolloutUnknown(id))?;
        let plan = self.plan(id, now)?;
        let waves = rollout.policy.waves.iter().enumerate().map(|(index, wave)| {
            let members = rollout.members.iter().filter(|(_, member)| member.wave == index);
            let devices = members.map(|(device, member)| RolloutDevice {
                id: *device,
                name: self.devices.get(device).and_then(|record| record.name.clone()),
                standing: standing(&member.phase),
                reason: self.sentence(id, *device, plan.devices.get(device)),
            });
            WaveStanding {
                wave: wave.clone(),
                count: count(rollout, |member_wave| member_wave == index),
                devices: devices.collect(),
            }
        });
        Ok(RolloutDetail { rollout: rollout_summary(rollout), waves: waves.collect() })
    }

    fn sentence(&self, rollout: RolloutId, device: DeviceId, turn: Option<&Turn>) -> Sentence {
        let text = match turn {
            Some(Turn::Wait(wait)) => wait.to_string(),
            Some(Turn::UnderWay(sentence)) => {
                self.at_work(rollout, device).unwrap_or_else(|| sentence.clone())
            }
            Some(Turn::Over(sentence)) => sentence.clone(),
            Some(Turn::Act(_)) => "is next".to_string(),
            None => "takes no part".to_string(),
        };
        Sentence::new(&text)
    }

    /// What a device under way does, in its own words; nothing before it has spoken of this rollout.
    fn at_work(&self, rollout: RolloutId, device: DeviceId) -> Option<String> {
        let record = self.devices.get(&device)?;
        let facts = record.facts.as_ref();
        let state = facts.filter(|facts| facts.known == Some(rollout)).map(|facts| &facts.state);
        let last = record.last_report.as_ref().map(|last| &last.report);
        let step =
            last.filter(|report| report.rollout == Some(rollout)).map(|report| report.step.to_string());
        match state {
            Some(state) if *state != DeviceState::Idle => Some(state.to_string()),
            Some(_) | None => step,
        }
    }
}

fn summary(record: &DeviceRecord) -> DeviceSummary {
    let facts = record.facts.as_ref();
    DeviceSummary {
        id: record.public_key.device(),
        name: record.name.clone(),
        hardware: record.hardware.clone(),
        channel: facts.map(|facts| facts.channel.clone()),
        enrolled: record.enrolled,
        last_seen: record.last_seen,
        running: record.running(),
        state: facts.map(|facts| facts.state.clone()),
        last_report: record.last_report.clone(),
    }
}

fn rollout_summary(rollout: &Rollout) -> RolloutSummary {
    let state = match (&rollout.halt, rollout.finished) {
        (Some(halt), _) => RolloutState::Halted { at: halt.at, reason: Sentence::new(&halt.reason) },
        (None, Some(_)) => RolloutState::Finished,
        (None, None) => RolloutState::Running,
    };
    RolloutSummary {
        id: rollout.id,
        release: rollout.policy.release,
        started: rollout.began,
        state,
        failure_budget: rollout.policy.budget.count(),
        count: count(rollout, |_| true),
    }
}

const fn standing(phase: &Phase) -> Standing {
    match phase {
        Phase::Waiting => Standing::Waiting,
        Phase::Started { .. } => Standing::InFlight,
        Phase::Succeeded { .. } => Standing::Succeeded,
        Phase::Failed { .. } => Standing::Failed,
        Phase::LeftOut { .. } => Standing::LeftOut,
    }
}

fn count(rollout: &Rollout, of_wave: impl Fn(usize) -> bool) -> DeviceCount {
    let mut count = DeviceCount::default();
    for member in rollout.members.values().filter(|member| of_wave(member.wave)) {
        *match standing(&member.phase) {
            Standing::Waiting => &mut count.waiting,
            Standing::InFlight => &mut count.in_flight,
            Standing::Succeeded => &mut count.succeeded,
            Standing::Failed => &mut count.failed,
            Standing::LeftOut => &mut count.left_out,
        } += 1;
    }
    count
}
