//! The daemons' log, on standard error.
//!
//! Owns: the form of a line. Under systemd a line begins with its priority (sd-daemon(3)) and leaves the
//! time to the journal; on a terminal it has the time. Leaves to others: what is worth a line.

use std::{
    env, fmt,
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    str::FromStr,
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format, format::Writer, time::SystemTime},
    registry::LookupSpan,
};

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogForm {
    /// For people, and for the journal where systemd connects one.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl FromStr for LogForm {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(LogError::Form { got: other.chars().take(40).collect() }),
        }
    }
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The form is not known.
    #[error("log form is `{got}`; expected `text` or `json`")]
    Form {
        /// What was asked for.
        got: String,
    },
    /// The filter is not understood.
    #[error("log filter is `{got}`; expected a level such as `info`, or `warn,evenkeel_proxy=debug`")]
    Filter {
        /// What was asked for.
        got: String,
        /// Where it stops being understood.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log was started twice; start it once, at the beginning of the program")]
    Twice,
}

/// Starts the log of this process: events that `filter` lets through, on standard error.
///
/// # Errors
/// When the filter is not understood, or the log was started before.
pub fn start_log(form: LogForm, filter: &str) -> Result<(), LogError> {
    let filter =
        EnvFilter::try_new(filter).map_err(|source| LogError::Filter { got: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let started = match form {
        LogForm::Json => builder.json().flatten_event(true).try_init(),
        LogForm::Text => builder.event_format(Text { place: Place::found() }).try_init(),
    };
    started.map_err(|_| LogError::Twice)
}

/// Who reads standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Journal,
    Elsewhere,
}

impl Place {
    /// systemd names device and inode of the stream that it has connected to the journal (systemd.exec(5),
    /// `JOURNAL_STREAM`); a child whose standard error was sent elsewhere still has the variable.
    fn found() -> Self {
        let told = env::var("JOURNAL_STREAM").ok();
        let ours = io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).ok();
        match (told, ours) {
            (Some(told), Some(ours)) if told == format!("{}:{}", ours.dev(), ours.ino()) => Self::Journal,
            (Some(_) | None, Some(_) | None) => Self::Elsewhere,
        }
    }
}

/// Lines for people.
struct Text {
    place: Place,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.place {
            Place::Elsewhere => {
                let line = format().with_target(false).with_timer(SystemTime);
                line.format_event(context, writer, event)
            }
            Place::Journal => {
                write!(writer, "<{}>", priority(*event.metadata().level()))?;
                let line = format().with_target(false).with_level(false).without_time();
                line.format_event(context, writer, event)
            }
        }
    }
}

/// The level as syslog's priority (RFC 5424 §6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
