//! A span: one piece of work within a trace, with what is told of it.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::time::Duration;

use crate::{Flags, SpanId, TraceId};

/// Longest text of an attribute, in bytes: as with the access log, a target or field beyond is cut.
pub const MAX_TEXT: usize = 512;

/// A moment, as long after 1970-01-01T00:00:00Z as this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// Nanoseconds; the year 2554 and all later ones are one moment.
    pub(crate) fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Whose work a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was answered.
    Server,
    /// A request that was sent.
    Client,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is said: it went well, or whether it did is for others to judge.
    Unset,
    /// An error.
    Error,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text of at most [`MAX_TEXT`] bytes.
    Text(String),
    /// A number.
    Number(i64),
}

/// Something that is told of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, by the semantic conventions, or `evenkeel.` and a word.
    pub name: &'static str,
    /// What it says.
    pub value: Value,
}

impl Attribute {
    /// A text; what is not UTF-8 is replaced, what is too long is cut.
    #[must_use]
    pub fn text(name: &'static str, text: &[u8]) -> Self {
        let mut text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]).into_owned();
        // What was replaced may have become longer.
        while text.len() > MAX_TEXT {
            text.pop();
        }
        Self { name, value: Value::Text(text) }
    }

    /// A number.
    #[must_use]
    pub fn number(name: &'static str, number: impl Into<i64>) -> Self {
        Self { name, value: Value::Number(number.into()) }
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// Its own identity.
    pub id: SpanId,
    /// The span that it is a part of; `None` when the trace begins with it.
    pub parent: Option<SpanId>,
    /// Whether the parent is somebody else's.
    pub remote: Remote,
    /// What is said of the trace.
    pub flags: Flags,
    /// The value of `tracestate`, as it came; empty where there was none.
    pub state: String,
    /// A name that many spans share, such as `GET`.
    pub name: String,
    /// Whose work it is.
    pub kind: Kind,
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// What is told of it.
    pub attributes: Vec<Attribute>,
}

/// Where the parent of a span was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// At whoever sent the request.
    Yes,
    /// Here, or nowhere.
    No,
}

/// Methods that the semantic conventions know; others are told apart by an attribute of their own, so that the names of
/// spans stay few (HTTP spans, `http.request.method`).
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// The method if it is a known one.
pub(crate) fn known_method(method: &[u8]) -> Option<&'static str> {
    METHODS.into_iter().find(|known| known.as_bytes() == method)
}

/// The name of a span for a request with this method (HTTP spans, Name).
#[must_use]
pub(crate) fn name(method: &[u8]) -> String {
    known_method(method).unwrap_or("HTTP").to_owned()
}
