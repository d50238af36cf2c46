//! The access log: one line for each request, off the data path.
//!
//! Owns: the channel to a writer thread and the files. Leaves to others: the form of a line (`io/telemetry`).
//! Invariant: a worker never waits for the log; what the writer cannot take is dropped and counted.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evenkeel_config::balancer::{AccessLog as Settings, LogFormat, LogTarget};
use evenkeel_telemetry::{AccessRecord, Moment};

use crate::http1::request::Request;

/// Lines that may wait for the writer: at 300 bytes each 5 MB, half a second of a busy box.
const QUEUE: usize = 16 * 1024;

/// What happened to one request.
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    /// `None` when its head was refused.
    pub(crate) request: Option<&'a Request>,
    pub(crate) status: Option<u16>,
    pub(crate) sent_bytes: u64,
    pub(crate) server: Option<&'a str>,
    pub(crate) end: &'a str,
    pub(crate) queued: Duration,
    pub(crate) connected: Duration,
    pub(crate) answered: Option<Duration>,
    pub(crate) total: Duration,
}

impl<'a> Event<'a> {
    /// A request that we answered ourselves.
    pub(crate) const fn refused(
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
            server: None,
            end: reason,
            queued: zero,
            connected: zero,
            answered: None,
            total,
        }
    }
}

/// A way to the writer; copies share it.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    format: LogFormat,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the log and starts its writer, which ends with the last copy.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(settings: &Settings) -> io::Result<Self> {
        let output: Box<dyn Write + Send> = match &settings.target {
            LogTarget::Stdout => Box::new(io::stdout()),
            LogTarget::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path.as_str())?)
            }
        };
        let (lines, incoming) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_lines(&incoming, BufWriter::new(output)))?;
        Ok(Self { lines, format: settings.format, dropped: Arc::default() })
    }

    /// Lines that the writer could not take.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Writes one line, unless the writer is behind.
    pub(crate) fn write(&self, event: &Event<'_>, listener: &str, client: SocketAddr, pool: &str) {
        let line = event.request.and_then(|request| request.line.as_deref());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = AccessRecord {
            at: Moment::from_unix(since_epoch),
            request_id: event.id,
            listener,
            client,
            method: line.map_or(b"", |line| &line.method),
            target: line.map_or(b"", |line| &line.target),
            host: line.map_or(b"", |line| &line.host),
            status: event.status,
            received_bytes: event.request.map_or(0, |request| request.received),
            sent_bytes: event.sent_bytes,
            pool,
            server: event.server,
            tries: u8::from(event.server.is_some()),
            end: event.end,
            queued: event.queued,
            connected: event.connected,
            answered: event.answered,
            total: event.total,
        };
        let mut text = String::with_capacity(320);
        match self.format {
            LogFormat::Json => record.write_json(&mut text),
            LogFormat::Text => record.write_text(&mut text),
        }
        if self.lines.try_send(text).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Writes what comes, and flushes whenever nothing more is waiting.
fn write_lines(incoming: &Receiver<String>, mut output: impl Write) {
    while let Ok(line) = incoming.recv() {
        let mut failed = output.write_all(line.as_bytes()).is_err();
        for line in incoming.try_iter() {
            failed |= output.write_all(line.as_bytes()).is_err();
        }
        failed |= output.flush().is_err();
        if failed {
            tracing::warn!("a line of the access log could not be written; is the disk full?");
        }
    }
}
