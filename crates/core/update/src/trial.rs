//! From a boot entry on trial to a release that is kept or rolled back, over any number of restarts.

use alloc::{format, string::ToString, vec::Vec};

use evenkeel_boot::EntryName;
use evenkeel_protocol::{Sentence, Step};
use evenkeel_units::ByteCount;

use crate::{
    gate::Verdict,
    machine::{Machine, Work},
    record::{Phase, Staging, Trial, sentences},
};

impl Machine {
    /// Goes on from what the record and the boot entries tell.
    pub(crate) fn resume(&mut self) {
        let own = self.entries.of(self.running.version);
        let counted = own.is_some_and(|entry| entry.tries.is_some());
        match self.record.phase.clone() {
            Phase::Trial(trial) if self.runs(&trial) => match own {
                Some(EntryName { tries: None, .. }) => self.kept(),
                Some(EntryName { tries: Some(_), .. }) => self.begin_trial(trial),
                None => self.fail_trial("its boot entry is gone", Vec::new()),
            },
            Phase::Trial(trial) => self.resume_elsewhere(trial),
            Phase::Failed { .. } => self.settle_failure(),
            // A counted entry without memory of it: the record was lost. It proves itself like any other.
            Phase::Idle | Phase::Staging(_) if counted => self.begin_trial(self.unexplained_trial()),
            Phase::Staging(staging) if staging.slot == self.running.slot => {
                self.record.phase = Phase::Idle;
                self.save(Work::Idle);
            }
            Phase::Idle | Phase::Staging(_) => self.enter(Work::Idle),
        }
    }

    pub(crate) fn runs(&self, trial: &Trial) -> bool {
        trial.version == self.running.version && trial.root_hash == self.running.root_hash
    }

    fn unexplained_trial(&self) -> Trial {
        Trial {
            assignment: None,
            version: self.running.version,
            slot: self.running.slot,
            root_hash: self.running.root_hash,
            head: None,
            bytes: ByteCount(0),
            chunks: 0,
            baseline: None,
            restarts: 1,
        }
    }

    /// There is a trial, and something else runs.
    fn resume_elsewhere(&mut self, trial: Trial) {
        match self.entries.of(trial.version) {
            None if trial.restarts == 0 => self.resume_before_install(trial),
            None => self.fail_trial("its boot entry is gone", Vec::new()),
            Some(EntryName { tries: None, .. }) => self.kept(),
            Some(entry) if entry.is_bad() => {
                let done = entry.tries.map_or(0, |tries| tries.done);
                let reason = format!("it was started {done} times and never got as far as a verdict");
                self.fail_trial(&reason, sentences(&[entry.to_string()]));
            }
            Some(entry) if trial.restarts > self.device.tries => {
                let reason = format!("the loader did not start it after {} restarts", trial.restarts);
                self.fail_trial(&reason, sentences(&[entry.to_string()]));
            }
            Some(_) => self.restart_into_trial(),
        }
    }

    /// Power failed between the memory of the trial and its entry: everything is written, so read it back again.
    fn resume_before_install(&mut self, trial: Trial) {
        self.record.phase = match (trial.assignment, trial.head) {
            (Some(assignment), Some(head)) if trial.slot != self.running.slot => Phase::Staging(Staging {
                assignment,
                slot: trial.slot,
                head,
                chunks: trial.chunks,
                bytes: trial.bytes,
            }),
            (_, _) => Phase::Idle,
        };
        self.save(Work::Idle);
    }

    pub(crate) fn restart_into_trial(&mut self) {
        let Phase::Trial(trial) = &mut self.record.phase else { return self.enter(Work::Idle) };
        trial.restarts = trial.restarts.saturating_add(1);
        let (rollout, version) = (trial.rollout(), trial.version);
        self.report(rollout, version, Step::Restarting);
        self.save(Work::Restarting);
    }

    fn begin_trial(&mut self, trial: Trial) {
        self.report(trial.rollout(), trial.version, Step::TrialStarted { slot: self.running.slot });
        self.record.phase = Phase::Trial(trial);
        self.save(Work::Gating);
    }

    pub(crate) fn judged(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Pass => match self.entries.bless(self.running.version) {
                Some(change) => self.enter(Work::Blessing(change)),
                None => self.kept(),
            },
            Verdict::Fail { reason, evidence } => self.fail_trial(&reason, sentences(&evidence)),
        }
    }

    /// The entry has lost its counter: the release is the default from now on.
    pub(crate) fn kept(&mut self) {
        let Some(trial) = self.trial() else { return self.enter(Work::Idle) };
        let (rollout, version) = (trial.rollout(), trial.version);
        self.record.highest = self.record.highest.max(version);
        self.finish(rollout, version, Step::Kept);
    }

    /// Remembers why before anything else is done about it, so that the reason outlives the restart.
    fn fail_trial(&mut self, reason: &str, evidence: Vec<Sentence>) {
        let Some(trial) = self.trial().cloned() else { return self.enter(Work::Idle) };
        self.record.phase = Phase::Failed { trial, reason: Sentence::new(reason), evidence };
        self.save(Work::Settling);
    }

    /// What is left to do about a failed trial: condemn its entry, leave it, report it.
    pub(crate) fn settle_failure(&mut self) {
        let Phase::Failed { trial, reason, evidence } = self.record.phase.clone() else {
            return self.enter(Work::Idle);
        };
        if let Some(change) = self.entries.condemn(trial.version) {
            return self.enter(Work::Condemning(change));
        }
        let (rollout, version) = (trial.rollout(), trial.version);
        if !self.runs(&trial) {
            self.record.refuse(version, reason.clone());
            return self.finish(rollout, version, Step::RolledBack { reason, evidence });
        }
        // Restarting is of use only where something else starts; else a box would restart for ever.
        let next = self.entries.select().map(|selection| selection.start.version);
        if next.is_some_and(|next| next != version) {
            return self.enter(Work::RollingBack);
        }
        let reason = format!("{reason}; there is no other release on this box to go back to");
        self.finish(rollout, version, Step::Refused { reason: Sentence::new(&reason), evidence });
    }
}
