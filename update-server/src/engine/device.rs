//! Devices: enrolment, signed requests, check-ins and reports.

use std::time::Duration;

use evenkeel_protocol::{
    Authentic, CheckIn, Claim, DeviceState, Enrol, Label, PublicKey, ReceivedReport, Report, Running, Step,
};
use evenkeel_rollout::{Device, Machine, RolloutId};
use evenkeel_units::{DeviceId, Digest, WallTime};
use serde::{Deserialize, Serialize};

use super::{Engine, EngineError, device_key, from_stored, report_key, to_stored};
use crate::store::{Batch, Table};

/// Longest time for which an enrolment token may be valid: from ordering a box to racking it.
pub const ENROLMENT_VALIDITY: Duration = Duration::from_secs(30 * 86_400);

/// Reports that are kept of each device: some 20 steps an update, an update a week, half a year.
pub const REPORTS_KEPT: u64 = 500;

/// What is stored of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeviceRecord {
    pub(super) public_key: PublicKey,
    pub(super) name: Option<Label>,
    pub(super) hardware: Label,
    pub(super) enrolled: WallTime,
    pub(super) last_seen: Option<WallTime>,
    pub(super) facts: Option<CheckIn>,
    /// Since when it has told these facts, but for progress.
    pub(super) facts_since: Option<WallTime>,
    pub(super) last_report: Option<ReceivedReport>,
    /// Reports received so far; their keys count with it, so that gaps in the device's numbers leave none behind.
    pub(super) reports: u64,
}

/// What is stored of an enrolment token; the token itself is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    expires: WallTime,
    used_by: Option<DeviceId>,
}

impl DeviceRecord {
    pub(super) fn running(&self) -> Option<Running> {
        self.facts.as_ref().map(|facts| facts.running)
    }

    /// What the planner wants to know.
    pub(super) fn for_planner(&self, elsewhere: Option<RolloutId>) -> Device {
        let facts = self.facts.as_ref();
        Device {
            running: facts.map(|facts| facts.running.version),
            machine: facts.map_or(Machine::AtRest, |facts| machine(&facts.state)),
            heard: self.last_seen,
            told: self.facts_since,
            known: facts.and_then(|facts| facts.known),
            refused: facts.map(|facts| facts.refused.clone()).unwrap_or_default(),
            elsewhere,
        }
    }

    fn last_sequence(&self) -> Option<u64> {
        self.last_report.as_ref().map(|received| received.report.sequence)
    }
}

fn machine(state: &DeviceState) -> Machine {
    match state {
        DeviceState::Idle | DeviceState::BackingOff { .. } => Machine::AtRest,
        DeviceState::Verifying
        | DeviceState::Staging { .. }
        | DeviceState::Checking
        | DeviceState::Restarting
        | DeviceState::Trial
        | DeviceState::RollingBack => Machine::AtWork,
    }
}

/// What a device does after a step, until its next check-in says so itself.
fn state_after(step: &Step) -> DeviceState {
    match step {
        Step::Assigned | Step::Verified => DeviceState::Verifying,
        Step::Staging { done, total } => DeviceState::Staging { done: *done, total: *total },
        Step::Staged => DeviceState::Checking,
        Step::Restarting => DeviceState::Restarting,
        Step::TrialStarted { .. } => DeviceState::Trial,
        Step::Kept | Step::RolledBack { .. } | Step::Refused { .. } | Step::Withdrawn => DeviceState::Idle,
        Step::Failed { reason, .. } => DeviceState::BackingOff { reason: reason.clone() },
    }
}

/// Whether two check-ins say the same but for progress, which is shown and not stored.
fn same_facts(one: &CheckIn, other: &CheckIn) -> bool {
    let without_progress = |facts: &CheckIn| {
        let state = match &facts.state {
            DeviceState::Staging { total, .. } => DeviceState::Staging { done: *total, total: *total },
            state => state.clone(),
        };
        CheckIn { state, ..facts.clone() }
    };
    without_progress(one) == without_progress(other)
}

impl Engine {
    /// Issues a one-time enrolment token, of which only the digest is stored.
    ///
    /// # Errors
    /// When the validity is out of range or storage fails.
    pub fn issue_token(
        &mut self,
        token: &str,
        valid: Duration,
        now: WallTime,
    ) -> Result<WallTime, EngineError> {
        if valid.is_zero() || valid > ENROLMENT_VALIDITY {
            return Err(EngineError::Validity { got: valid.as_secs() });
        }
        let mut batch = Batch::default();
        let outlived = |record: &TokenRecord| now.since(record.expires) > ENROLMENT_VALIDITY;
        let old: Vec<_> =
            self.tokens.iter().filter(|(_, record)| outlived(record)).map(|(key, _)| *key).collect();
        for key in &old {
            batch.remove(Table::Token, key.as_bytes().to_vec());
        }
        let (digest, record) =
            (Digest::of(token.as_bytes()), TokenRecord { expires: now + valid, used_by: None });
        batch.put(Table::Token, digest.as_bytes().to_vec(), to_stored(&record)?);
        self.commit(&batch)?;
        let expires = record.expires;
        self.tokens.retain(|key, _| !old.contains(key));
        self.tokens.insert(digest, record);
        Ok(expires)
    }

    /// Enrols the device that has this key, for a token that has not served another.
    ///
    /// # Errors
    /// When the token is unknown, expired or used, or storage fails.
    pub fn enrol(&mut self, request: Enrol, now: WallTime) -> Result<DeviceId, EngineError> {
        let device = request.public_key.device();
        let digest = Digest::of(request.token.as_bytes());
        let token = self.tokens.get(&digest).ok_or(EngineError::TokenUnknown)?;
        match token.used_by {
            Some(by) if by == device && self.devices.contains_key(&device) => return Ok(device),
            Some(by) => return Err(EngineError::TokenUsed { by }),
            None if now > token.expires => return Err(EngineError::TokenExpired { expired: token.expires }),
            None => {}
        }
        let token = TokenRecord { used_by: Some(device), ..token.clone() };
        let record = DeviceRecord {
            public_key: request.public_key,
            name: request.name,
            hardware: request.hardware,
            enrolled: now,
            last_seen: None,
            facts: None,
            facts_since: None,
            last_report: None,
            reports: 0,
        };
        let earlier = self.devices.get(&device);
        let record = match earlier {
            Some(earlier) => DeviceRecord { name: record.name, hardware: record.hardware, ..earlier.clone() },
            None => record,
        };
        let mut batch = Batch::default();
        batch.put(Table::Token, digest.as_bytes().to_vec(), to_stored(&token)?);
        batch.put(Table::Device, device_key(device), to_stored(&record)?);
        self.commit(&batch)?;
        self.tokens.insert(digest, token);
        self.devices.insert(device, record);
        tracing::info!(%device, "enrolled");
        Ok(device)
    }

    /// Verifies that a request comes from an enrolled device, and that it comes for the first time.
    ///
    /// # Errors
    /// When it does not.
    pub fn authenticate(
        &mut self,
        claim: &Claim<'_>,
        body: &[u8],
        now: WallTime,
    ) -> Result<Authentic, EngineError> {
        let device = claim.device();
        let record = self.devices.get(&device).ok_or(EngineError::DeviceUnknown(device))?;
        let authentic = claim.verify(&record.public_key, body, now)?;
        self.nonces.admit(&authentic, now)?;
        Ok(authentic)
    }

    /// Takes in how a device is.
    ///
    /// # Errors
    /// When a list is too long or storage fails.
    pub fn check_in(&mut self, device: DeviceId, facts: CheckIn, now: WallTime) -> Result<(), EngineError> {
        if facts.refused.len() > CheckIn::REFUSED_LIMIT {
            return Err(EngineError::RefusedList { got: facts.refused.len() });
        }
        let record = self.devices.get(&device).ok_or(EngineError::DeviceUnknown(device))?;
        let was_reachable = record.for_planner(None).is_reachable(now);
        let same = record.facts.as_ref().is_some_and(|earlier| same_facts(earlier, &facts));
        let facts_since = record.facts_since.filter(|_| same).or(Some(now));
        let record = DeviceRecord { last_seen: Some(now), facts: Some(facts), facts_since, ..record.clone() };
        if !same {
            let mut batch = Batch::default();
            batch.put(Table::Device, device_key(device), to_stored(&record)?);
            self.commit(&batch)?;
        }
        self.devices.insert(device, record);
        if !same || !was_reachable || self.settles(device) {
            self.advance(now)?;
        }
        Ok(())
    }

    /// Takes in a report, once; what it means for a rollout is stored in the same commit.
    ///
    /// # Errors
    /// When storage fails.
    pub fn report(&mut self, device: DeviceId, report: Report, now: WallTime) -> Result<(), EngineError> {
        let record = self.devices.get(&device).ok_or(EngineError::DeviceUnknown(device))?;
        if record.last_sequence().is_some_and(|last| report.sequence <= last) {
            return Ok(());
        }
        let received = ReceivedReport { received: now, report };
        let (report, sequence) = (received.report.clone(), received.report.sequence);
        let mut batch = Batch::default();
        let number = record.reports;
        batch.put(Table::Report, report_key(device, number), to_stored(&received)?);
        if let Some(old) = number.checked_sub(REPORTS_KEPT) {
            batch.remove(Table::Report, report_key(device, old));
        }
        let facts = record.facts.clone().map(|facts| CheckIn { state: state_after(&report.step), ..facts });
        let record = DeviceRecord {
            last_seen: Some(now),
            facts,
            last_report: Some(received),
            reports: number + 1,
            ..record.clone()
        };
        batch.put(Table::Device, device_key(device), to_stored(&record)?);
        let rollout = self.rollout_after(device, &report, now);
        if let Some(rollout) = &rollout {
            super::rollout::put_member(&mut batch, rollout, device)?;
        }
        self.commit(&batch)?;
        tracing::info!(%device, sequence, release = %report.release, step = %report.step, "report");
        self.devices.insert(device, record);
        if let Some(rollout) = rollout {
            self.rollouts.insert(rollout.id, rollout);
            self.tell_orders_of(device);
            self.advance(now)?;
        }
        Ok(())
    }

    /// The kept reports of a device, newest first.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub(super) fn reports(&self, device: DeviceId) -> Result<Vec<ReceivedReport>, EngineError> {
        let stored = self.store.scan(Table::Report, &device_key(device))?;
        stored.iter().rev().map(|(_, value)| from_stored(value)).collect()
    }

    /// Whether the device may take a release for these channels and hardware.
    pub(super) fn may_take(&self, device: DeviceId, channels: &[Label], hardware: &[Label]) -> bool {
        let Some(record) = self.devices.get(&device) else { return false };
        let in_channel = record.facts.as_ref().is_some_and(|facts| channels.contains(&facts.channel));
        in_channel && hardware.contains(&record.hardware)
    }
}
