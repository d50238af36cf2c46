//! Ctrl-C and SIGTERM: noticed by one thread, so that the story ends where it is and everything it started with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether somebody wants the story to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the two signals over. To be called before any other thread starts, for threads inherit the mask.
    pub(crate) fn listen() -> Result<Self> {
        let endings = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        endings.thread_block()?;
        let interrupt = Self::never();
        let noticed = interrupt.clone();
        thread::spawn(move || {
            if endings.wait().is_ok() {
                noticed.0.store(true, Ordering::Relaxed);
            }
        });
        Ok(interrupt)
    }

    /// An interrupt that nobody raises.
    pub(crate) fn never() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    /// Whether it was raised.
    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it is raised.
    pub(crate) fn wait(&self) {
        while !self.raised() {
            thread::sleep(LOOK_EVERY);
        }
    }
}
