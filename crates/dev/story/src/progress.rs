//! The story as it is told: a line per step with its time, and the deadline within which each must be observed.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::interrupt::Interrupt;

/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Tells the steps of one story and measures them.
pub(crate) struct Progress {
    begin: Instant,
    step_begin: Instant,
    interrupt: Interrupt,
}

impl Progress {
    /// Begins the story now; it ends early once `interrupt` is raised.
    pub(crate) fn begin(interrupt: Interrupt) -> Self {
        let now = Instant::now();
        Self { begin: now, step_begin: now, interrupt }
    }

    /// Tells that a step was observed.
    pub(crate) fn observed(&mut self, step: &str, evidence: &str) {
        let (whole, own) = (self.begin.elapsed().as_secs_f64(), self.step_begin.elapsed().as_secs_f64());
        println!("[{whole:7.1} s] {step:<22} {evidence} ({own:.1} s)");
        self.step_begin = Instant::now();
    }

    /// Looks again and again until `look` finds something, and tells it.
    ///
    /// # Errors
    /// Nothing was found before the deadline, or `look` says that it never will be.
    pub(crate) fn wait<T>(
        &mut self,
        step: &str,
        deadline: Duration,
        mut look: impl FnMut() -> Result<Seen<T>>,
    ) -> Result<T> {
        let begin = Instant::now();
        loop {
            ensure!(!self.interrupt.raised(), "interrupted while waiting for step `{step}`");
            let missing = match look()? {
                Seen::Yes(found, evidence) => {
                    self.observed(step, &evidence);
                    return Ok(found);
                }
                Seen::NotYet(missing) => missing,
            };
            if begin.elapsed() > deadline {
                bail!("step `{step}` was not observed within {} s; last seen: {missing}", deadline.as_secs());
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// What one look at a condition showed.
pub(crate) enum Seen<T> {
    /// It holds: what was found, and the evidence to tell.
    Yes(T, String),
    /// It does not hold yet: what was seen instead.
    NotYet(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_never_observed_fails_with_what_was_seen_last() {
        let result = Progress::begin(Interrupt::never())
            .wait::<()>("staged", Duration::ZERO, || Ok(Seen::NotYet("state idle".into())));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("staged") && message.contains("state idle"), "{message}");
    }
}
