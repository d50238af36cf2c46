//! Rollouts: starting and halting them, and executing what the planner says.
//!
//! The planner decides, this file records. Nothing here weighs anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evenkeel_protocol::{Assignment, Orders, Report, Sentence, StartRollout, Step};
use evenkeel_rollout::{
    Applied, Event, FailureBudget, Fleet, Limits, Phase, Plan, Policy, Rollout, RolloutId, plan,
};
use evenkeel_units::{DeviceId, WallTime};
use tokio::sync::watch;

use super::{Engine, EngineError, device::DeviceRecord, member_key, rollout_key, to_stored};
use crate::store::{Batch, Table};

/// Range of the silence that an operator may ask for, in seconds: three held requests, and a day.
const SILENCE_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Stores a rollout without its members, which have entries of their own.
fn put_rollout(batch: &mut Batch, rollout: &Rollout) -> Result<(), EngineError> {
    let head = Rollout { members: BTreeMap::new(), ..rollout.clone() };
    batch.put(Table::Rollout, rollout_key(rollout.id), to_stored(&head)?);
    Ok(())
}

/// Stores one member of a rollout.
pub(super) fn put_member(batch: &mut Batch, rollout: &Rollout, device: DeviceId) -> Result<(), EngineError> {
    if let Some(member) = rollout.members.get(&device) {
        batch.put(Table::Member, member_key(rollout.id, device), to_stored(member)?);
    }
    Ok(())
}

/// The device that an event is about.
const fn device_of(event: &Event) -> Option<DeviceId> {
    match event {
        Event::Started { device, .. }
        | Event::Succeeded { device, .. }
        | Event::Failed { device, .. }
        | Event::LeftOut { device, .. } => Some(*device),
        Event::Halted { .. } | Event::Finished { .. } => None,
    }
}

/// What a report means for the rollout that it belongs to.
fn event_of(device: DeviceId, step: &Step, at: WallTime) -> Option<Event> {
    match step {
        Step::Kept => Some(Event::Succeeded { device, at }),
        Step::RolledBack { reason, .. } => {
            Some(Event::Failed { device, at, reason: format!("rolled back: {reason}") })
        }
        Step::Refused { reason, .. } => {
            Some(Event::Failed { device, at, reason: format!("refused the release: {reason}") })
        }
        Step::Withdrawn => {
            let reason = "stopped before it had restarted: the assignment was taken back".to_string();
            Some(Event::LeftOut { device, at, reason })
        }
        Step::Assigned
        | Step::Verified
        | Step::Staging { .. }
        | Step::Staged
        | Step::Restarting
        | Step::TrialStarted { .. }
        | Step::Failed { .. } => None,
    }
}

impl Engine {
    /// Starts a rollout; its first devices are told at once.
    ///
    /// # Errors
    /// When the release is not published, the policy is out of range, or storage fails.
    pub fn start_rollout(&mut self, request: StartRollout, now: WallTime) -> Result<RolloutId, EngineError> {
        let release = self.releases.iter().find(|release| release.version == request.release);
        let release = release.ok_or(EngineError::ReleaseUnknown(request.release))?;
        let same = |rollout: &&Rollout| rollout.is_running() && rollout.policy.release == request.release;
        if let Some(other) = self.rollouts.values().find(same) {
            return Err(EngineError::AlreadyRunning { rollout: other.id, release: request.release });
        }
        let silence = request.silence_seconds.unwrap_or(Limits::STANDARD.silence.as_secs());
        if !SILENCE_SECONDS.contains(&silence) {
            return Err(EngineError::Silence { got: silence });
        }
        let policy = Policy {
            release: request.release,
            waves: request.waves,
            budget: FailureBudget::new(request.failure_budget).ok_or(EngineError::Budget)?,
            limits: Limits { silence: Duration::from_secs(silence), ..Limits::STANDARD },
        };
        let eligible: BTreeSet<_> = (self.devices.keys().copied())
            .filter(|device| self.may_take(*device, &release.channels, &release.hardware))
            .collect();
        let id = RolloutId(self.rollouts.keys().last().map_or(1, |last| last.0 + 1));
        let rollout = Rollout::begin(id, policy, &eligible, now)?;
        let mut batch = Batch::default();
        put_rollout(&mut batch, &rollout)?;
        rollout.members.keys().try_for_each(|device| put_member(&mut batch, &rollout, *device))?;
        self.commit(&batch)?;
        tracing::info!(rollout = %id, release = %rollout.policy.release, devices = rollout.members.len(), "rollout");
        self.rollouts.insert(id, rollout);
        self.advance(now)?;
        Ok(id)
    }

    /// Halts a rollout for everyone: no further device is started, and those that have not restarted yet stop.
    ///
    /// # Errors
    /// When there is no such rollout or it is over, or storage fails.
    pub fn halt_rollout(
        &mut self,
        id: RolloutId,
        reason: Option<Sentence>,
        now: WallTime,
    ) -> Result<(), EngineError> {
        let rollout = self.rollouts.get(&id).ok_or(EngineError::RolloutUnknown(id))?;
        if !rollout.is_running() {
            return Err(EngineError::RolloutOver(id));
        }
        let reason = reason.map_or_else(|| "by hand".to_string(), |reason| format!("by hand: {reason}"));
        self.record(id, &[Event::Halted { at: now, reason }])?;
        self.advance(now)
    }

    /// Records what the planner says until it says nothing more. Time alone may have changed its mind, so this
    /// is also called by the clock.
    ///
    /// # Errors
    /// When storage fails; what was recorded before stays.
    pub fn advance(&mut self, now: WallTime) -> Result<(), EngineError> {
        let open = |rollout: &&Rollout| rollout.is_running() || rollout.under_way() > 0;
        loop {
            let ids: Vec<_> = self.rollouts.values().filter(open).map(|rollout| rollout.id).collect();
            let mut quiet = true;
            for id in ids {
                let events: Vec<_> = self.plan(id, now)?.events().cloned().collect();
                quiet &= events.is_empty();
                self.record(id, &events)?;
            }
            if quiet {
                return Ok(());
            }
        }
    }

    /// What the planner says of a rollout.
    pub(super) fn plan(&self, id: RolloutId, now: WallTime) -> Result<Plan, EngineError> {
        let rollout = self.rollouts.get(&id).ok_or(EngineError::RolloutUnknown(id))?;
        Ok(plan(rollout, &self.fleet(id), now))
    }

    fn fleet(&self, seen_from: RolloutId) -> Fleet {
        let mut elsewhere = BTreeMap::new();
        for rollout in self.rollouts.values().filter(|rollout| rollout.id != seen_from) {
            let started = rollout.members.iter().filter(|(_, m)| matches!(m.phase, Phase::Started { .. }));
            elsewhere.extend(started.map(|(device, _)| (*device, rollout.id)));
        }
        let facts = |(device, record): (&DeviceId, &DeviceRecord)| {
            (*device, record.for_planner(elsewhere.get(device).copied()))
        };
        Fleet { devices: self.devices.iter().map(facts).collect(), listening_since: self.listening_since }
    }

    fn record(&mut self, id: RolloutId, events: &[Event]) -> Result<(), EngineError> {
        let mut rollout = self.rollouts.get(&id).ok_or(EngineError::RolloutUnknown(id))?.clone();
        let mut batch = Batch::default();
        for event in events {
            if rollout.apply(event) == Applied::Nothing {
                continue;
            }
            match device_of(event) {
                Some(device) => put_member(&mut batch, &rollout, device)?,
                None => put_rollout(&mut batch, &rollout)?,
            }
            tracing::info!(rollout = %id, ?event, "recorded");
        }
        self.commit(&batch)?;
        self.rollouts.insert(id, rollout);
        if events.iter().any(|event| device_of(event).is_none()) {
            self.tell_orders();
        }
        events.iter().filter_map(device_of).for_each(|device| self.tell_orders_of(device));
        Ok(())
    }

    /// The rollout that a report belongs to as it is after the report, if that changes it.
    pub(super) fn rollout_after(&self, device: DeviceId, report: &Report, now: WallTime) -> Option<Rollout> {
        let mut rollout = self.rollouts.get(&report.rollout?)?.clone();
        let event =
            event_of(device, &report.step, now).filter(|_| rollout.policy.release == report.release)?;
        (rollout.apply(&event) == Applied::Changed).then_some(rollout)
    }

    /// Whether a device is under way, so that its check-in may settle it.
    pub(super) fn settles(&self, device: DeviceId) -> bool {
        self.rollouts.values().any(|rollout| {
            rollout.members.get(&device).is_some_and(|m| matches!(m.phase, Phase::Started { .. }))
        })
    }

    /// What a device is told.
    #[must_use]
    pub fn orders(&self, device: DeviceId) -> Orders {
        let rollout = self.rollouts.values().find(|rollout| rollout.assigns(device));
        let assignment = rollout.and_then(|rollout| {
            let release = self.releases.iter().find(|release| release.version == rollout.policy.release)?;
            Some(Assignment { rollout: rollout.id, release: release.version, target: release.target.clone() })
        });
        Orders { assignment, retry_after_seconds: 0 }
    }

    /// The orders of a device as they change: whoever holds a request open waits on this.
    pub fn follow_orders(&mut self, device: DeviceId) -> watch::Receiver<Orders> {
        let now = self.orders(device);
        let sender = self.orders.entry(device).or_insert_with(|| watch::Sender::new(now.clone()));
        sender.send_if_modified(|told| std::mem::replace(told, now.clone()) != now);
        sender.subscribe()
    }

    /// Tells one device its orders, if they changed and it listens.
    pub(super) fn tell_orders_of(&self, device: DeviceId) {
        if let Some(sender) = self.orders.get(&device) {
            let now = self.orders(device);
            sender.send_if_modified(|told| std::mem::replace(told, now.clone()) != now);
        }
    }

    pub(super) fn tell_orders(&self) {
        self.orders.keys().for_each(|device| self.tell_orders_of(*device));
    }
}
