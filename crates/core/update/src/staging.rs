//! From a verified release to a slot that holds it, read back and right.

use evenkeel_boot::{EntryName, InactiveSlot};
use evenkeel_protocol::{Assignment, Sentence, Step};
use evenkeel_release::VerifiedChunk;
use evenkeel_units::ByteCount;

use crate::{
    Baseline, Effect, Offer, Release,
    machine::{Machine, Work},
    record::{Phase, Staging, Trial},
};

/// Chunks between two checkpoints: 16 of 256 KiB, so that a power cut costs at most 4 MiB of transfer and a
/// release of 110 MiB costs 28 flushes.
const CHECKPOINT: u32 = 16;

/// A release on its way into the other slot.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) assignment: Assignment,
    pub(crate) slot: InactiveSlot,
    pub(crate) release: Release,
    /// Chunks written, counted from the first, and their bytes.
    pub(crate) chunks: u32,
    pub(crate) bytes: ByteCount,
    /// How many of them are not flushed yet.
    pub(crate) unflushed: u32,
}

impl Machine {
    pub(crate) fn offered(&mut self, assignment: Assignment, offer: Offer) {
        if !self.stands(&assignment) {
            return self.enter(Work::Idle);
        }
        match self.device.takes(&offer, assignment.release, self.running.version, self.record.highest) {
            Ok(()) => self.enter(Work::Opening(assignment, offer)),
            Err(failure) => self.back_off(&assignment, failure),
        }
    }

    pub(crate) fn opened(&mut self, assignment: Assignment, offer: &Offer, release: Release) {
        if !self.stands(&assignment) {
            return self.enter(Work::Idle);
        }
        if let Err(failure) = self.device.installs(&release, offer.version) {
            return self.back_off(&assignment, failure);
        }
        let slot = self.running.inactive();
        let (chunks, bytes) = self.progress(&assignment, &release, slot);
        let staging =
            Staging { assignment: assignment.clone(), slot: slot.slot(), head: release.head, chunks, bytes };
        self.record.phase = Phase::Staging(staging);
        self.report(Some(assignment.rollout), release.version, Step::Verified);
        let stage = Stage { assignment, slot, release, chunks, bytes, unflushed: 0 };
        self.free(stage);
    }

    /// What of the same bundle is in the same slot already.
    fn progress(&self, assignment: &Assignment, release: &Release, slot: InactiveSlot) -> (u32, ByteCount) {
        match &self.record.phase {
            Phase::Staging(staging)
                if staging.assignment.release == assignment.release
                    && staging.head == release.head
                    && staging.slot == slot.slot()
                    && staging.chunks <= release.chunks =>
            {
                (staging.chunks, staging.bytes)
            }
            Phase::Idle | Phase::Staging(_) | Phase::Trial(_) | Phase::Failed { .. } => (0, ByteCount(0)),
        }
    }

    /// Takes away the entries of the slot that is about to be written; then remembers how far it is written.
    ///
    /// In this order a record that says "staging" means that no entry leads to the slot (I3).
    pub(crate) fn free(&mut self, stage: Stage) {
        let change = self.entries.free_inactive(self.running.version).next();
        match change {
            Some(change) => self.enter(Work::Freeing(stage, change)),
            None => {
                let next = self.onwards(stage);
                self.save(next);
            }
        }
    }

    /// The next step of staging, or to the orders when they are others by now.
    fn onwards(&self, stage: Stage) -> Work {
        if !self.stands(&stage.assignment) {
            Work::Idle
        } else if stage.chunks == stage.release.chunks {
            Work::ReadingBack(stage)
        } else {
            Work::Obtaining(stage)
        }
    }

    pub(crate) fn obtained(&mut self, stage: Stage, chunk: VerifiedChunk) {
        let (slot, length) = (stage.slot, ByteCount(chunk.bytes().len() as u64));
        self.enter(Work::Writing(stage, length));
        self.ask(Effect::Write { slot, chunk });
    }

    pub(crate) fn written(&mut self, mut stage: Stage, length: ByteCount) {
        stage.chunks += 1;
        stage.unflushed += 1;
        stage.bytes.0 += length.0;
        if stage.unflushed >= CHECKPOINT || stage.chunks == stage.release.chunks {
            return self.enter(Work::Flushing(stage));
        }
        let next = self.onwards(stage);
        self.enter(next);
    }

    pub(crate) fn flushed(&mut self, mut stage: Stage) {
        stage.unflushed = 0;
        // Progress ends a row of failures. Doubts stay: a disk that fails makes progress each time.
        (self.failures, self.last_failure) = (0, Sentence::default());
        let before = match &mut self.record.phase {
            Phase::Staging(staging) => {
                staging.chunks = stage.chunks;
                core::mem::replace(&mut staging.bytes, stage.bytes)
            }
            Phase::Idle | Phase::Trial(_) | Phase::Failed { .. } => ByteCount(0),
        };
        let total = stage.release.bytes;
        let tenths = |bytes: ByteCount| bytes.0.saturating_mul(10) / total.0.max(1);
        if tenths(stage.bytes) > tenths(before) {
            let step = Step::Staging { done: stage.bytes, total };
            self.report(Some(stage.assignment.rollout), stage.release.version, step);
        }
        let next = self.onwards(stage);
        self.save(next);
    }

    /// Nothing of the slot is to be relied on any more.
    pub(crate) const fn forget_progress(&mut self) {
        if let Phase::Staging(staging) = &mut self.record.phase {
            staging.chunks = 0;
            staging.bytes = ByteCount(0);
        }
    }

    pub(crate) fn read_back(&mut self, stage: Stage) {
        self.report(Some(stage.assignment.rollout), stage.release.version, Step::Staged);
        self.save(Work::Measuring(stage));
    }

    /// The slot is complete: remember the trial first, then let the loader see it.
    pub(crate) fn measured(&mut self, stage: Stage, baseline: Baseline) {
        if !self.stands(&stage.assignment) {
            return self.enter(Work::Idle);
        }
        let Stage { assignment, slot, release, chunks, bytes, .. } = stage;
        let entry = EntryName::trial(release.version, self.device.tries);
        self.record.phase = Phase::Trial(Trial {
            assignment: Some(assignment),
            version: release.version,
            slot: slot.slot(),
            root_hash: release.root_hash,
            head: Some(release.head),
            bytes,
            chunks,
            baseline: Some(baseline),
            restarts: 0,
        });
        self.save(Work::Installing(entry));
    }
}
