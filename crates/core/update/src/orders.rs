//! From the server's orders to an assignment that is taken up, put off, refused or withdrawn.

use alloc::format;
use core::time::Duration;

use evenkeel_protocol::{Assignment, Sentence, Step};
use evenkeel_units::{Instant, Version};

use crate::{
    Failure, FailureKind,
    machine::{Machine, Work},
    record::Phase,
};

/// First wait after a failure that may pass, doubled at each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// First wait after doubtful bytes: ten times that, for asking again at once would get the same ones.
const FIRST_WAIT_DOUBTFUL: Duration = Duration::from_secs(10);

/// Longest wait: five minutes, so that a fleet is back soon after the server is.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Doubtful bytes in one release before it is refused, however much went well in between: with waits of 10 s and
/// more between them enough to outlive a cache on the way, and to be told from a cable.
const DOUBT_LIMIT: u32 = 5;

impl Machine {
    pub(crate) fn ordered(&mut self, orders: Option<Assignment>) {
        let changed = self.orders.as_ref() != Some(&orders);
        self.orders = Some(orders);
        if changed {
            (self.failures, self.doubts, self.last_failure) = (0, 0, Sentence::default());
        }
        match self.work {
            Work::Idle => self.take_up_orders(),
            Work::Waiting { .. } if changed => self.take_up_orders(),
            // Whatever is in flight is finished first; the orders are looked at again at the next step.
            Work::Waiting { .. }
            | Work::Retrying { .. }
            | Work::Saving(_)
            | Work::Verifying(_)
            | Work::Opening(..)
            | Work::Freeing(..)
            | Work::Obtaining(_)
            | Work::Writing(..)
            | Work::Flushing(_)
            | Work::ReadingBack(_)
            | Work::Measuring(_)
            | Work::Installing(_)
            | Work::Restarting
            | Work::Gating
            | Work::Blessing(_)
            | Work::Condemning(_)
            | Work::RollingBack
            | Work::Settling => {}
        }
    }

    /// An operator lets a release be tried again; the next assignment of it is taken.
    pub(crate) fn cleared(&mut self, version: Version) {
        self.record.refused.retain(|refusal| refusal.version != version);
        if matches!(self.work, Work::Idle) {
            self.save(Work::Idle);
        }
    }

    /// Whether the assignment is still what the server wants. Silence does not take it back.
    pub(crate) fn stands(&self, assignment: &Assignment) -> bool {
        match &self.orders {
            None => true,
            Some(orders) => orders.as_ref().is_some_and(|order| order.rollout == assignment.rollout),
        }
    }

    /// The assignment that is not done with, and that no restart was made for yet.
    fn at_work_on(&self) -> Option<&Assignment> {
        match &self.record.phase {
            Phase::Staging(staging) => Some(&staging.assignment),
            Phase::Idle => self.taken.as_ref(),
            Phase::Trial(_) | Phase::Failed { .. } => None,
        }
    }

    /// Takes up what the server wants, when nothing else is under way.
    pub(crate) fn take_up_orders(&mut self) {
        self.work = Work::Idle;
        let Some(orders) = self.orders.clone() else { return };
        if let Some(dropped) = self.at_work_on().filter(|assignment| !self.stands(assignment)) {
            let (rollout, release) = (dropped.rollout, dropped.release);
            return self.finish(Some(rollout), release, Step::Withdrawn);
        }
        let Some(assignment) = orders else { return };
        if self.record.finished == Some(assignment.rollout) || self.trial().is_some() {
            return;
        }
        let (rollout, release) = (Some(assignment.rollout), assignment.release);
        if release == self.running.version {
            return self.finish(rollout, release, Step::Kept);
        }
        if let Some(refusal) = self.record.refused.iter().find(|refusal| refusal.version == release) {
            let reason = format!(
                "release {release} was rolled back on this box ({}); fix it and publish a newer one, \
                 or let this one be tried again on the box",
                refusal.reason
            );
            let step = Step::Refused { reason: Sentence::new(&reason), evidence: [].into() };
            return self.finish(rollout, release, step);
        }
        if self.taken.as_ref() == Some(&assignment) {
            return self.enter(Work::Verifying(assignment));
        }
        self.taken = Some(assignment.clone());
        self.report(rollout, release, Step::Assigned);
        self.save(Work::Verifying(assignment));
    }

    /// Staging failed: refuse the release, or try again later.
    pub(crate) fn back_off(&mut self, assignment: &Assignment, failure: Failure) {
        let (rollout, release) = (Some(assignment.rollout), assignment.release);
        let Failure { kind, reason } = failure;
        let reason = Sentence::new(&reason);
        let refused = match kind {
            FailureKind::Unfit => true,
            FailureKind::Doubtful => {
                self.doubts += 1;
                self.doubts >= DOUBT_LIMIT
            }
            FailureKind::Passing => false,
        };
        if refused {
            return self.finish(rollout, release, Step::Refused { reason, evidence: [].into() });
        }
        let until = self.next_attempt(kind);
        if self.last_failure == reason {
            return self.enter(Work::Waiting { until, reason });
        }
        self.last_failure = reason.clone();
        let wait = until.since(self.moment.instant).as_millis().div_ceil(1000);
        let retry_after_seconds = u32::try_from(wait).unwrap_or(u32::MAX);
        self.report(rollout, release, Step::Failed { reason: reason.clone(), retry_after_seconds });
        self.save(Work::Waiting { until, reason });
    }

    /// When to try again: twice as late at each failure, spread over half of that, so that the boxes of a
    /// fleet that failed together do not come back together.
    pub(crate) fn next_attempt(&mut self, kind: FailureKind) -> Instant {
        let first = match kind {
            FailureKind::Passing => FIRST_WAIT,
            FailureKind::Doubtful | FailureKind::Unfit => FIRST_WAIT_DOUBTFUL,
        };
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(wait.as_nanos() / 2).unwrap_or(u64::MAX);
        self.moment.instant
            + Duration::from_nanos(half)
            + Duration::from_nanos(self.moment.random % (half + 1))
    }
}
