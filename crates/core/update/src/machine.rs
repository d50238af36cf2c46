//! The machine itself: what it is at work on, and which input answers which effect.

use alloc::{boxed::Box, collections::VecDeque};
use core::mem;

use evenkeel_boot::{Change, Entries, EntryName, Running};
use evenkeel_protocol::{Assignment, DeviceState, Report, RolloutId, Sentence, Step};
use evenkeel_units::{ByteCount, Instant, Version};

use crate::{
    Device, Effect, Failure, Input, Moment, Offer, Output, Record,
    record::{OUTBOX_LIMIT, Phase, Trial},
    staging::Stage,
};

/// The A/B update machine of one box.
#[derive(Debug)]
pub struct Machine {
    pub(crate) device: Device,
    pub(crate) running: Running,
    pub(crate) entries: Entries,
    pub(crate) record: Record,
    pub(crate) work: Work,
    /// The server's orders; none while they were not heard since the start.
    pub(crate) orders: Option<Option<Assignment>>,
    /// The assignment that was taken up since the start and is not done with.
    pub(crate) taken: Option<Assignment>,
    /// Failures since the last progress, and doubtful ones since the orders changed.
    pub(crate) failures: u32,
    pub(crate) doubts: u32,
    /// What failed last, so that it is reported once and not at every attempt.
    pub(crate) last_failure: Sentence,
    pub(crate) moment: Moment,
    /// The number of the last report that was given out.
    announced: u64,
    outputs: VecDeque<Output>,
}

/// What the machine is at work on. Each variant but the first three and the last has one effect in flight.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Nothing to do until the orders change.
    Idle,
    /// Something failed; the orders are taken up again later.
    Waiting {
        until: Instant,
        reason: Sentence,
    },
    /// An effect that has to be done failed; it is repeated later.
    Retrying {
        until: Instant,
        reason: Sentence,
        then: Box<Self>,
    },
    /// The record is being replaced; what comes next may rely on it.
    Saving(Box<Self>),
    Verifying(Assignment),
    Opening(Assignment, Offer),
    Freeing(Stage, Change),
    Obtaining(Stage),
    Writing(Stage, ByteCount),
    Flushing(Stage),
    ReadingBack(Stage),
    Measuring(Stage),
    Installing(EntryName),
    Restarting,
    Gating,
    Blessing(Change),
    Condemning(Change),
    RollingBack,
    /// The failure is remembered; what is left of it is to be done.
    Settling,
}

/// How the trial of the release that runs stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is kept, or was never on trial.
    Kept,
    /// Its verdict is not known yet.
    OnTrial,
    /// It did not pass, and is about to be left.
    Failed {
        /// Why.
        reason: Sentence,
    },
}

impl Machine {
    /// The machine of a box that has just started: the only way to begin, after whatever came before.
    #[must_use]
    pub fn recover(
        device: Device,
        running: Running,
        entries: Entries,
        record: Option<Record>,
        moment: Moment,
    ) -> Self {
        let mut machine = Self {
            device,
            running,
            entries,
            record: record.unwrap_or_else(|| Record::new(running.version)),
            work: Work::Idle,
            orders: None,
            taken: None,
            failures: 0,
            doubts: 0,
            last_failure: Sentence::default(),
            moment,
            announced: 0,
            outputs: VecDeque::new(),
        };
        machine.announce();
        machine.resume();
        machine
    }

    /// Takes in one input. An answer to an effect that was given up meanwhile changes nothing.
    pub fn handle(&mut self, input: Input, moment: Moment) {
        self.moment = moment;
        match input {
            Input::Ordered(orders) => self.ordered(orders),
            Input::Cleared(version) => self.cleared(version),
            Input::Delivered(number) => self.record.outbox.retain(|report| report.sequence > number),
            Input::Tick => self.tick(),
            Input::Failed(failure) => self.failed(failure),
            Input::Offered(_)
            | Input::Opened(_)
            | Input::Obtained(_)
            | Input::Measured(_)
            | Input::Judged(_)
            | Input::Done => self.answered(input),
        }
    }

    /// What the machine asks for next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What runs.
    #[must_use]
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// The releases that are not tried again before an operator says so, and why.
    #[must_use]
    pub fn refused(&self) -> &[crate::Refusal] {
        &self.record.refused
    }

    /// The assignment that the box is at work on or was last done with, for the check-in.
    #[must_use]
    pub fn known(&self) -> Option<RolloutId> {
        let under_way = match &self.record.phase {
            Phase::Idle => None,
            Phase::Staging(staging) => Some(staging.assignment.rollout),
            Phase::Trial(trial) | Phase::Failed { trial, .. } => trial.rollout(),
        };
        let taken = self.taken.as_ref().map(|assignment| assignment.rollout);
        under_way.or(taken).or(self.record.finished)
    }

    /// How the trial of the release that runs stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.record.phase {
            Phase::Trial(trial) if self.runs(trial) => Standing::OnTrial,
            Phase::Failed { trial, reason, .. } if self.runs(trial) => {
                Standing::Failed { reason: reason.clone() }
            }
            Phase::Idle | Phase::Staging(_) | Phase::Trial(_) | Phase::Failed { .. } => Standing::Kept,
        }
    }

    /// What the machine does, as seen from outside.
    #[must_use]
    pub fn state(&self) -> DeviceState {
        state_of(&self.work)
    }

    /// Takes up `work` and asks for its effect.
    pub(crate) fn enter(&mut self, work: Work) {
        self.work = work;
        let effect = match &self.work {
            Work::Idle => return self.take_up_orders(),
            Work::Settling => return self.settle_failure(),
            Work::Waiting { until, .. } | Work::Retrying { until, .. } => {
                self.outputs.push_back(Output::Wake(*until));
                return;
            }
            Work::Writing(..) => return,
            Work::Saving(_) => Effect::Save(Box::new(self.record.clone())),
            Work::Verifying(assignment) => Effect::Verify(assignment.clone()),
            Work::Opening(..) => Effect::Open { slot: self.running.inactive() },
            Work::Obtaining(stage) => Effect::Obtain { chunk: stage.chunks },
            Work::Flushing(stage) => Effect::Flush { slot: stage.slot },
            Work::ReadingBack(stage) => Effect::ReadBack { slot: stage.slot },
            Work::Measuring(_) => Effect::Measure,
            Work::Installing(entry) => Effect::Install(*entry),
            Work::Freeing(_, change) | Work::Blessing(change) | Work::Condemning(change) => {
                Effect::Change(*change)
            }
            Work::Gating => Effect::RunGate(self.trial().and_then(|trial| trial.baseline)),
            Work::Restarting | Work::RollingBack => Effect::Restart,
        };
        self.ask(effect);
    }

    pub(crate) fn ask(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Do(effect));
    }

    /// Makes the record durable, then goes on with `then`. Reports are given out only once they are saved.
    pub(crate) fn save(&mut self, then: Work) {
        self.enter(Work::Saving(Box::new(then)));
    }

    /// Notes a report; it is given out with the next [`Machine::save`].
    pub(crate) fn report(&mut self, rollout: Option<RolloutId>, release: Version, step: Step) {
        if matches!(step, Step::Staging { .. }) {
            // Progress that nobody has heard of yet is of no use once there is more of it.
            self.record.outbox.retain(|report| !matches!(report.step, Step::Staging { .. }));
        }
        if self.record.outbox.len() >= OUTBOX_LIMIT {
            let least = self.record.outbox.iter().position(|report| !report.step.is_final()).unwrap_or(0);
            self.record.outbox.remove(least);
        }
        self.record.sequence += 1;
        let report = Report { sequence: self.record.sequence, at: self.moment.wall, rollout, release, step };
        self.record.outbox.push(report);
    }

    /// Ends the part of this box in a rollout.
    pub(crate) fn finish(&mut self, rollout: Option<RolloutId>, release: Version, step: Step) {
        self.record.finished = rollout.or(self.record.finished);
        self.record.phase = Phase::Idle;
        self.taken = None;
        self.report(rollout, release, step);
        self.save(Work::Idle);
    }

    /// The release on trial, if there is one.
    pub(crate) const fn trial(&self) -> Option<&Trial> {
        match &self.record.phase {
            Phase::Trial(trial) | Phase::Failed { trial, .. } => Some(trial),
            Phase::Idle | Phase::Staging(_) => None,
        }
    }

    fn announce(&mut self) {
        for report in &self.record.outbox {
            if report.sequence > self.announced {
                self.announced = report.sequence;
                self.outputs.push_back(Output::Report(report.clone()));
            }
        }
    }

    fn tick(&mut self) {
        match mem::replace(&mut self.work, Work::Idle) {
            Work::Waiting { until, .. } if until <= self.moment.instant => self.take_up_orders(),
            Work::Retrying { until, then, .. } if until <= self.moment.instant => self.enter(*then),
            work => self.work = work,
        }
    }

    fn answered(&mut self, answer: Input) {
        match (mem::replace(&mut self.work, Work::Idle), answer) {
            (Work::Saving(then), Input::Done) => {
                self.announce();
                self.enter(*then);
            }
            (Work::Verifying(assignment), Input::Offered(offer)) => self.offered(assignment, offer),
            (Work::Opening(assignment, offer), Input::Opened(release)) => {
                self.opened(assignment, &offer, release);
            }
            (Work::Freeing(stage, change), Input::Done) => {
                self.entries = self.entries.with(change);
                self.free(stage);
            }
            (Work::Obtaining(stage), Input::Obtained(chunk)) => self.obtained(stage, chunk),
            (Work::Writing(stage, length), Input::Done) => self.written(stage, length),
            (Work::Flushing(stage), Input::Done) => self.flushed(stage),
            (Work::ReadingBack(stage), Input::Done) => self.read_back(stage),
            (Work::Measuring(stage), Input::Measured(baseline)) => self.measured(stage, baseline),
            (Work::Installing(entry), Input::Done) => {
                self.entries = self.entries.with_entry(entry);
                self.restart_into_trial();
            }
            (Work::Gating, Input::Judged(verdict)) => self.judged(verdict),
            (Work::Blessing(change), Input::Done) => {
                self.entries = self.entries.with(change);
                self.kept();
            }
            (Work::Condemning(change), Input::Done) => {
                self.entries = self.entries.with(change);
                self.settle_failure();
            }
            (work, _) => self.work = work,
        }
    }

    fn failed(&mut self, failure: Failure) {
        match mem::replace(&mut self.work, Work::Idle) {
            Work::Verifying(assignment) | Work::Opening(assignment, _) => self.back_off(&assignment, failure),
            Work::Obtaining(stage) | Work::Writing(stage, _) | Work::Flushing(stage) => {
                self.back_off(&stage.assignment, failure);
            }
            Work::ReadingBack(stage) => {
                self.forget_progress();
                self.back_off(&stage.assignment, failure);
            }
            work @ (Work::Saving(_)
            | Work::Freeing(..)
            | Work::Measuring(_)
            | Work::Installing(_)
            | Work::Restarting
            | Work::Gating
            | Work::Blessing(_)
            | Work::Condemning(_)
            | Work::RollingBack) => {
                let (until, reason) = (self.next_attempt(failure.kind), Sentence::new(&failure.reason));
                self.enter(Work::Retrying { until, reason, then: Box::new(work) });
            }
            work @ (Work::Idle | Work::Waiting { .. } | Work::Retrying { .. } | Work::Settling) => {
                self.work = work;
            }
        }
    }
}

fn state_of(work: &Work) -> DeviceState {
    match work {
        Work::Idle => DeviceState::Idle,
        Work::Waiting { reason, .. } | Work::Retrying { reason, .. } => {
            DeviceState::BackingOff { reason: reason.clone() }
        }
        Work::Saving(then) => state_of(then),
        Work::Verifying(_) | Work::Opening(..) => DeviceState::Verifying,
        Work::Freeing(stage, _)
        | Work::Obtaining(stage)
        | Work::Writing(stage, _)
        | Work::Flushing(stage) => DeviceState::Staging { done: stage.bytes, total: stage.release.bytes },
        Work::ReadingBack(_) | Work::Measuring(_) | Work::Installing(_) => DeviceState::Checking,
        Work::Restarting => DeviceState::Restarting,
        Work::Gating | Work::Blessing(_) => DeviceState::Trial,
        Work::Condemning(_) | Work::RollingBack | Work::Settling => DeviceState::RollingBack,
    }
}
