//! Visitors of the site: a steady trickle of requests through the box for as long as the story lasts.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::http;

/// Pause between two visits: about twenty a second, enough to see an outage of a tenth of a second.
const PAUSE: Duration = Duration::from_millis(50);

/// What the visitors saw since the last look.
#[derive(Debug, Default, Clone)]
pub(crate) struct Visits {
    /// Answers of status 200, by the server that gave them.
    pub(crate) answered: BTreeMap<String, u32>,
    /// Answers with another status, by that status.
    pub(crate) errors: BTreeMap<u16, u32>,
    /// Visits without any answer.
    pub(crate) unanswered: u32,
    /// The longest time from one answered visit to the next.
    pub(crate) longest_outage: Duration,
}

impl Visits {
    /// How many visits got a page.
    pub(crate) fn good(&self) -> u32 {
        self.answered.values().sum()
    }

    /// How many did not.
    pub(crate) fn bad(&self) -> u32 {
        self.unanswered + self.errors.values().sum::<u32>()
    }
}

/// The visitors.
pub(crate) struct Traffic {
    seen: Arc<Mutex<Visits>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Sends visitors to `site` from now on.
    pub(crate) fn start(site: SocketAddr) -> Self {
        let (seen, stop) = (Arc::new(Mutex::new(Visits::default())), Arc::new(AtomicBool::new(false)));
        let (into, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || visit(site, &into, &stopped));
        Self { seen, stop, thread: Some(thread) }
    }

    /// What was seen since the last call, and a fresh count from here.
    pub(crate) fn take(&self) -> Visits {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was seen since the last [`Self::take`].
    pub(crate) fn look(&self) -> Visits {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread never panics; if it did, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

fn visit(site: SocketAddr, seen: &Mutex<Visits>, stopped: &AtomicBool) {
    let mut last_good = Instant::now();
    while !stopped.load(Ordering::Relaxed) {
        let outcome = http::get(site, "/");
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(answer) if answer.status == 200 => {
                *seen.answered.entry(answer.body.trim().to_owned()).or_default() += 1;
                seen.longest_outage = seen.longest_outage.max(last_good.elapsed());
                last_good = Instant::now();
            }
            Ok(answer) => *seen.errors.entry(answer.status).or_default() += 1,
            Err(_) => seen.unanswered += 1,
        }
        drop(seen);
        thread::sleep(PAUSE);
    }
}
