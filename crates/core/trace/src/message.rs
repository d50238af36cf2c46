//! The messages of OTLP that carry spans to a collector (OTLP 1.x, `opentelemetry/proto/collector/trace/v1`).
//!
//! Owns: the part of the schema that is sent and read. Leaves to others: protocol buffers themselves (prost). The tests
//! read what is written here with the messages that OpenTelemetry publishes.

use alloc::{string::String, vec::Vec};
use prost::Message;

use crate::{Kind, Outcome, Remote, Span, Value};

/// Who sends the spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `service.name`.
    pub service: String,
    /// `service.version`, and that of the instrumentation.
    pub version: String,
    /// `service.instance.id`: unlike that of any other process.
    pub instance: String,
}

/// The conventions that the attributes follow: those in which the ones for HTTP became stable.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.23.0";

/// A request to a collector with these spans, as protocol buffers.
#[must_use]
pub fn encode(resource: &Resource, spans: Vec<Span>) -> Vec<u8> {
    let text = |key: &'static str, text: &str| Pair::new(key, Any::Text(text.into()));
    let attributes = Vec::from([
        text("service.name", &resource.service),
        text("service.version", &resource.version),
        text("service.instance.id", &resource.instance),
        text("telemetry.sdk.language", "rust"),
        text("telemetry.sdk.name", "evenkeel"),
        text("telemetry.sdk.version", &resource.version),
    ]);
    let scope = Scope { name: "evenkeel".into(), version: resource.version.clone() };
    let scoped = Scoped {
        scope: Some(scope),
        spans: spans.into_iter().map(Told::of).collect(),
        schema: SCHEMA.into(),
    };
    let from = From {
        resource: Some(Attributes { attributes }),
        scoped: Vec::from([scoped]),
        schema: SCHEMA.into(),
    };
    Request { from: Vec::from([from]) }.encode_to_vec()
}

/// How many of the spans the collector did not want, and why, by its answer; `None` when it took all (OTLP,
/// Partial Success). What is not a message of this kind says nothing.
#[must_use]
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let partial = Answer::decode(answer).ok()?.partial?;
    let count = u64::try_from(partial.rejected).ok().filter(|&count| count > 0)?;
    Some((count, partial.reason))
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    from: Vec<From>,
}

#[derive(Clone, PartialEq, Message)]
struct From {
    #[prost(message, optional, tag = "1")]
    resource: Option<Attributes>,
    #[prost(message, repeated, tag = "2")]
    scoped: Vec<Scoped>,
    #[prost(string, tag = "3")]
    schema: String,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Scoped {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Told>,
    #[prost(string, tag = "3")]
    schema: String,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(string, tag = "3")]
    state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    began: u64,
    #[prost(fixed64, tag = "8")]
    ended: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Pair>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    any: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial: Option<Partial>,
}

#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    reason: String,
}

impl Pair {
    fn new(key: &'static str, any: Any) -> Self {
        Self { key: key.into(), value: Some(AnyValue { any: Some(any) }) }
    }
}

/// Bits of a span's flags above those of the context: that it is known where the parent was made, and that it was
/// elsewhere (`SpanFlags`).
const KNOWN: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;

impl Told {
    fn of(span: Span) -> Self {
        let remote = match span.remote {
            Remote::Yes => KNOWN | REMOTE,
            Remote::No => KNOWN,
        };
        let pair = |attribute: crate::Attribute| {
            let any = match attribute.value {
                Value::Text(text) => Any::Text(text),
                Value::Number(number) => Any::Number(number),
            };
            Pair::new(attribute.name, any)
        };
        Self {
            trace: span.trace.as_bytes().to_vec(),
            id: span.id.as_bytes().to_vec(),
            state: span.state,
            parent: span.parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
            name: span.name,
            kind: match span.kind {
                Kind::Server => 2,
                Kind::Client => 3,
            },
            began: span.began.as_nanos(),
            ended: span.ended.as_nanos(),
            attributes: span.attributes.into_iter().map(pair).collect(),
            status: match span.outcome {
                Outcome::Unset => None,
                Outcome::Error => Some(Status { code: 2 }),
            },
            flags: u32::from(span.flags.as_u8()) | remote,
        }
    }
}
