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
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether somebody wants the story to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the two signals over. By handlers, not by a mask: programs that are started would inherit a mask, and
    /// could not be ended by SIGTERM.
    pub(crate) fn listen() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupted, mut terminated) = {
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let interrupt = Self::never();
        let noticed = interrupt.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                }
            });
            noticed.0.store(true, Ordering::Relaxed);
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
