//! The access log: one line for each request, off the data path.
//!
//! Owns: the channel to a writer thread, the files, and which requests are written. Leaves to others: the form of a line (`io/telemetry`).
//! Invariant: a worker never waits for the log; what the writer cannot take is dropped and counted.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evenkeel_config::balancer::{AccessLog as Settings, LogFormat, LogTarget};
use evenkeel_telemetry::{AccessRecord, Moment};
use nix::unistd::{AccessFlags, access};

use crate::{http1::request::Request, pool::Story};

/// Lines that may wait for the writer: at 300 bytes each 5 MB, half a second of a busy box.
const QUEUE: usize = 16 * 1024;

/// What happened to one request.
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    /// `None` when its head was refused.
    pub(crate) request: Option<&'a Request>,
    pub(crate) status: Option<u16>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// The pool, where neither the request nor the listener says which.
    pub(crate) pool: Option<&'a str>,
    /// Servers that were tried.
    pub(crate) tries: u8,
    pub(crate) server: Option<&'a str>,
    pub(crate) end: &'a str,
    /// Why no server answered, for what is no request; a request knows by itself.
    pub(crate) story: Option<&'a Story>,
    pub(crate) queued: Duration,
    pub(crate) connected: Duration,
    pub(crate) answered: Option<Duration>,
    pub(crate) total: Duration,
}

impl<'a> Event<'a> {
    /// A request that we answered ourselves.
    pub(crate) fn refused(
        id: &'a str,
        request: Option<&'a Request>,
        status: u16,
        reason: &'a str,
        total: Duration,
    ) -> Self {
        let zero = Duration::ZERO;
        Self {
            id,
            request,
            status: Some(status),
            sent_bytes: 0,
            received_bytes: request.map_or(0, |request| request.received),
            pool: None,
            tries: request.map_or(0, |request| request.tries.get()),
            server: None,
            end: reason,
            story: None,
            queued: zero,
            connected: zero,
            answered: None,
            total,
        }
    }

    /// A request, or a connection without requests, that ended before an answer was complete.
    pub(crate) fn broken(request: Option<&'a Request>, end: &'a str, total: Duration) -> Self {
        let id = request.and_then(|request| request.id.as_deref()).unwrap_or_default();
        Self { status: None, ..Self::refused(id, request, 0, end, total) }
    }

    /// Whether it is worth a line even where only a sample is written.
    fn went_wrong(&self) -> bool {
        self.end != DONE || self.status.is_some_and(|status| status >= 500)
    }
}

/// How a request ends that goes well.
pub(crate) const DONE: &str = "done";

/// Who is at the other end of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whom<'a> {
    pub(crate) listener: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) client: SocketAddr,
    /// What is spoken where there are no requests.
    pub(crate) protocol: &'static str,
    /// Version and cipher suite.
    pub(crate) tls: Option<(&'a str, &'a str)>,
}

/// A way to the writer; copies share it.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    format: LogFormat,
    sample: u64,
    shared: Arc<Shared>,
}

/// What the writer and the workers share.
#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    /// Counts requests that went well, for the sample.
    turn: AtomicU64,
    reopen: AtomicBool,
}

/// Lines of which one in a thousand is a sample of 1 ‰.
const SAMPLED: u64 = 1000;

impl AccessLog {
    /// Opens the log and starts its writer, which ends with the last copy.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(settings: &Settings) -> io::Result<Self> {
        let output = open(&settings.target)?;
        let (lines, incoming) = sync_channel(QUEUE);
        let shared = Arc::<Shared>::default();
        let writer = Writer { target: settings.target.clone(), output, shared: Arc::clone(&shared) };
        std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&incoming))?;
        let sample = u64::from(u16::from(settings.sample));
        Ok(Self { lines, format: settings.format, sample, shared })
    }

    /// From the next line on writes to a file newly opened under the same name: the old one was moved away.
    pub(crate) fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // An empty line wakes the writer; where the queue is full, it is awake.
        let _ = self.lines.try_send(String::new());
    }

    /// Whether this one of the requests that went well is written: as evenly as the share allows.
    fn is_sampled(&self) -> bool {
        if self.sample == SAMPLED {
            return true;
        }
        let turn = self.shared.turn.fetch_add(1, Relaxed);
        (turn + 1) * self.sample / SAMPLED != turn * self.sample / SAMPLED
    }

    /// Lines that the writer could not take.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Writes one line, unless the writer is behind.
    pub(crate) fn write(&self, event: &Event<'_>, whom: Whom<'_>) {
        if !event.went_wrong() && !self.is_sampled() {
            return;
        }
        let line = event.request.and_then(|request| request.line.as_deref());
        let story = event.story.or_else(|| event.request?.story.as_deref());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = AccessRecord {
            at: Moment::from_unix(since_epoch),
            request_id: event.id,
            listener: whom.listener,
            client: whom.client,
            method: line.map_or(b"", |line| &line.method),
            target: line.map_or(b"", |line| &line.target),
            host: line.map_or(b"", |line| &line.host),
            protocol: line.map_or(whom.protocol, |line| line.protocol),
            tls: whom.tls,
            referer: line.map_or(b"", |line| &line.referer),
            user_agent: line.map_or(b"", |line| &line.user_agent),
            trace_id: line.map_or(b"", |line| &line.trace_id),
            status: event.status,
            received_bytes: event.received_bytes,
            sent_bytes: event.sent_bytes,
            pool: whom.pool,
            server: event.server.or_else(|| story?.server.as_deref()),
            route: event.request.and_then(Request::route),
            // Those that took no connection were not sent it.
            tries: event.tries.max(story.map_or(0, |story| story.tries)),
            end: event.end,
            cause: story.map(|story| story.cause),
            retries_ended: story.and_then(|story| story.retries_ended),
            queued: event.queued,
            connected: event.connected,
            answered: event.answered,
            total: event.total,
        };
        let mut text = String::with_capacity(320);
        match self.format {
            LogFormat::Json => record.write_json(&mut text),
            LogFormat::Text => record.write_text(&mut text),
            LogFormat::Combined => record.write_combined(&mut text),
        }
        if self.lines.try_send(text).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

type Output = BufWriter<Box<dyn Write + Send>>;

fn open(target: &LogTarget) -> io::Result<Output> {
    let output: Box<dyn Write + Send> = match target {
        LogTarget::Stdout => Box::new(io::stdout()),
        LogTarget::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path.as_str())?),
    };
    Ok(BufWriter::new(output))
}

/// Whether lines could be written to `target`; nothing is made or written.
///
/// # Errors
/// What the system says.
pub(crate) fn check(target: &LogTarget) -> io::Result<()> {
    let LogTarget::File(path) = target else { return Ok(()) };
    let path = Path::new(path.as_str());
    match fs::metadata(path) {
        // Others than files, such as a pipe that nobody reads, might keep whoever opens them.
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            Ok(access(folder, AccessFlags::W_OK | AccessFlags::X_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// The thread that writes.
struct Writer {
    target: LogTarget,
    output: Output,
    shared: Arc<Shared>,
}

impl Writer {
    /// Writes what comes, and flushes whenever nothing more is waiting.
    fn run(mut self, incoming: &Receiver<String>) {
        while let Ok(line) = incoming.recv() {
            self.reopen_when_asked();
            let mut failed = self.output.write_all(line.as_bytes()).is_err();
            for line in incoming.try_iter() {
                self.reopen_when_asked();
                failed |= self.output.write_all(line.as_bytes()).is_err();
            }
            failed |= self.output.flush().is_err();
            if failed {
                tracing::warn!("a line of the access log could not be written; is the disk full?");
            }
        }
    }

    fn reopen_when_asked(&mut self) {
        if !self.shared.reopen.swap(false, Relaxed) {
            return;
        }
        let flushed = self.output.flush();
        match open(&self.target) {
            Ok(output) => self.output = output,
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened again; lines go where they went");
            }
        }
        if let Err(error) = flushed {
            tracing::warn!(%error, "the last lines of the old access log could not be written");
        }
    }
}
