//! Distributed traces of requests: what a plan says of them, and where their spans wait for the collector.
//!
//! Owns: the bounded way from workers to the control thread. Leaves to others: contexts, sampling and attributes
//! (`core/trace`), what happened to a request (`traced`), sending (`export`). Invariants: a worker never waits for a
//! collector; what finds no room is dropped and counted; without `[tracing]` a request costs one look at a pointer.

mod collector;
pub(crate) mod export;
mod ids;
mod traced;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use evenkeel_config::balancer::Tracing;
use evenkeel_trace::Span;
use tokio::sync::mpsc;

use crate::{
    check::Wrong,
    tls::files::{self, FileError, Look},
};
use collector::Collector;

pub(crate) use traced::{Begun, Traced, Tracer};

/// Why spans do not reach the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// As many were waiting as may.
    Queue,
    /// The collector could not be reached, did not answer, or was busy, for too long.
    Unanswered,
    /// The collector does not want them, all or some.
    Refused,
}

impl Lost {
    /// All of them with their words, in the order of the counters.
    pub(crate) const ALL: [(Self, &str); 3] =
        [(Self::Queue, "queue_full"), (Self::Unanswered, "unanswered"), (Self::Refused, "refused")];
}

/// What became of spans; it goes on through reloads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) failures: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
}

impl Counts {
    /// So many spans were lost.
    fn lose(&self, why: Lost, count: u64) {
        self.lost[why as usize].fetch_add(count, Relaxed);
    }

    /// How many were lost for this reason.
    pub(crate) fn lost(&self, why: Lost) -> u64 {
        self.lost[why as usize].load(Relaxed)
    }
}

/// What a plan says of traces.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    pub(crate) counts: Arc<Counts>,
    pub(crate) exporter: Option<Arc<Exporter>>,
}

/// A way to a collector; copies of a plan share it.
#[derive(Debug)]
pub(crate) struct Exporter {
    settings: Tracing,
    /// The files that it was made of, as they were.
    files: Vec<(PathBuf, Look)>,
    spans: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    /// What the control thread takes over, once.
    outgoing: Mutex<Option<Outgoing>>,
}

/// The other end of the way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    spans: mpsc::Receiver<Span>,
    collector: Collector,
    settings: Tracing,
    counts: Arc<Counts>,
}

/// Why a configuration's `[tracing]` is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("{}", .0.sentence())]
    File(#[from] FileError),
    #[error("`{0}`: not a field's value; expected one line of printable ASCII, such as `Bearer …`")]
    Header(PathBuf),
}

impl Traces {
    /// As the configuration in `folder` says; what was before goes on where nothing of it has changed.
    ///
    /// # Errors
    /// When a file that it names is of no use.
    pub(crate) fn new(
        settings: Option<&Tracing>,
        folder: &Path,
        before: Option<&Self>,
    ) -> Result<Self, TraceError> {
        let counts = before.map(|before| Arc::clone(&before.counts)).unwrap_or_default();
        let Some(settings) = settings else { return Ok(Self { counts, exporter: None }) };
        let known = before.and_then(|before| before.exporter.as_ref());
        if let Some(known) = known.filter(|known| known.is_current(settings)) {
            return Ok(Self { counts, exporter: Some(Arc::clone(known)) });
        }
        let named = settings.ca.iter().chain(settings.headers.iter().map(|header| &header.file));
        let files = named.map(|file| files::path(folder, file));
        let files: Vec<_> = files.map(|path| (path.clone(), files::look(&path))).collect();
        let collector = Collector::new(settings, folder)?;
        let length = usize::try_from(settings.queue_length.get()).unwrap_or(usize::MAX);
        let (sender, receiver) = mpsc::channel(length);
        let outgoing =
            Outgoing { spans: receiver, collector, settings: settings.clone(), counts: Arc::clone(&counts) };
        let exporter = Exporter {
            settings: settings.clone(),
            files,
            spans: sender,
            counts: Arc::clone(&counts),
            outgoing: Mutex::new(Some(outgoing)),
        };
        Ok(Self { counts, exporter: Some(Arc::new(exporter)) })
    }
}

/// The files that are of no use.
pub(crate) fn wrong_files(settings: &Tracing, folder: &Path) -> Vec<Wrong> {
    let ca = settings.ca.iter().map(|ca| files::path(folder, ca));
    let wrong = |path, sentence| Wrong { table: "tracing.".to_owned(), path, sentence };
    let roots = ca.filter_map(|path| files::roots(&path).err().map(|error| wrong(path, error.sentence())));
    let headers = settings.headers.iter().filter_map(|header| {
        let path = files::path(folder, &header.file);
        let error = collector::header(header, folder).err()?;
        Some(wrong(path, error.to_string()))
    });
    roots.chain(headers).collect()
}

impl Exporter {
    /// Whether making it anew by `settings` would give the same.
    fn is_current(&self, settings: &Tracing) -> bool {
        self.settings == *settings && self.files.iter().all(|(path, seen)| files::look(path) == *seen)
    }

    /// The other end, once.
    fn take_outgoing(&self) -> Option<Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a span would find room now; where it would not, `count` of them are noted as lost.
    fn has_room(&self, count: u64) -> bool {
        let room = self.spans.capacity() > 0;
        if !room {
            self.counts.lose(Lost::Queue, count);
        }
        room
    }

    /// Puts a span on its way.
    fn tell(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.counts.lose(Lost::Queue, 1);
        }
    }
}
