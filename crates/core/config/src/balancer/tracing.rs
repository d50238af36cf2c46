//! `[tracing]`: whether, where to and how much is told of requests as spans (OTLP over HTTP).
//!
//! Invariant: what goes to a collector is bounded, whatever clients ask for: by a queue, by batches, by a deadline.

use alloc::{format, string::String, vec::Vec};
use core::{num::NonZeroU32, time::Duration};

use evenkeel_units::PerMille;

use super::{nonzero, per_mille, ranges, route};
use crate::{
    document::{Field, Section},
    range::Count,
    scalar::{FilePath, HttpUrl},
};

/// Where spans are sent, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tracing {
    /// The collector.
    pub endpoint: Endpoint,
    /// Whom to believe to be the collector, in PEM; `None` for the roots that the system trusts.
    pub ca: Option<FilePath>,
    /// `service.name`: 1 to 128 printable characters.
    pub service_name: String,
    /// How many of the traces that begin here are recorded.
    pub sample: PerMille,
    /// Spans that may wait for the collector.
    pub queue_length: NonZeroU32,
    /// Most spans of one message.
    pub batch_size: NonZeroU32,
    /// Longest that a span waits for others to go with.
    pub batch_interval: Duration,
    /// Longest that the collector may take to answer.
    pub deadline: Duration,
    /// Fields that the collector is shown, such as a token.
    pub headers: Vec<TracingHeader>,
}

/// The URL of a collector of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// How it is connected to.
    pub encryption: Encryption,
    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path; starts with `/`.
    pub path: String,
}

/// How a collector is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// In the clear.
    None,
    /// By TLS, verified.
    Tls,
}

/// A field of the requests to a collector, whose value stands in a file so that no secret stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracingHeader {
    /// Its name, in lower case.
    pub name: String,
    /// The file with its value, on one line.
    pub file: FilePath,
}

const TRACING_KEYS: &[&str] = &[
    "endpoint",
    "ca",
    "service_name",
    "sample_per_mille",
    "queue_length",
    "batch_size",
    "batch_interval",
    "deadline",
    "header",
];

const HEADER_KEYS: &[&str] = &["name", "file"];

/// Most fields for a collector: a token and a tenant, and some to spare.
const MAX_HEADERS: usize = 8;

/// Fields that belong to the message and not to who sends it.
const OWN: [&str; 8] = [
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "host",
    "te",
    "upgrade",
];

/// Where spans go; the inner `None` when the file does not ask for them.
pub(super) fn tracing(top: &Section<'_>) -> Option<Option<Tracing>> {
    let section = top.section("tracing", TRACING_KEYS)?;
    if !section.is_present() {
        return Some(None);
    }
    let endpoint = section.required("endpoint", "endpoint = \"http://127.0.0.1:4318/v1/traces\"");
    let endpoint = endpoint.and_then(|field| self::endpoint(&field));
    let ca = section.optional("ca", Field::file);
    let service_name = service_name(&section);
    let sample = per_mille(&section, "sample_per_mille", ranges::TRACING_SAMPLE);
    let queue_length = nonzero(&section, "queue_length", ranges::TRACING_QUEUE);
    // A message takes no more than may wait.
    let most = queue_length.map_or(ranges::TRACING_BATCH.most, |length| u64::from(length.get()));
    let most = most.min(ranges::TRACING_BATCH.most);
    let range = Count { most, default: ranges::TRACING_BATCH.default.min(most), ..ranges::TRACING_BATCH };
    let batch_size = nonzero(&section, "batch_size", range);
    let batch_interval = section.duration("batch_interval", ranges::TRACING_INTERVAL);
    let deadline = section.duration("deadline", ranges::TRACING_DEADLINE);
    let headers: Vec<_> = section.tables("header", HEADER_KEYS, MAX_HEADERS).iter().map(header).collect();
    let headers: Option<Vec<_>> = headers.into_iter().collect();
    Some(Some(Tracing {
        endpoint: endpoint?,
        ca: ca?,
        service_name: service_name?,
        sample: sample?,
        queue_length: queue_length?,
        batch_size: batch_size?,
        batch_interval: batch_interval?,
        deadline: deadline?,
        headers: headers?,
    }))
}

fn endpoint(field: &Field<'_>) -> Option<Endpoint> {
    let expected = "a URL such as `http://127.0.0.1:4318/v1/traces`, of OTLP over HTTP";
    field.text(expected, "write the collector's whole URL, with the path for traces", |text| {
        let (encryption, rest) = match text.strip_prefix("https://") {
            Some(rest) => (Encryption::Tls, rest),
            None => (Encryption::None, text.strip_prefix("http://")?),
        };
        let authority = rest.split('/').next()?;
        let says_port = authority.rsplit(']').next()?.contains(':');
        let url = HttpUrl::parse(&format!("http://{rest}"))?;
        let port = if encryption == Encryption::Tls && !says_port { 443 } else { url.port() };
        // Where OTLP/HTTP takes traces when nothing else is said.
        let path = if url.path() == "/" { "/v1/traces" } else { url.path() };
        Some(Endpoint { encryption, host: url.host().into(), port, path: path.into() })
    })
}

fn service_name(section: &Section<'_>) -> Option<String> {
    let Some(field) = section.field("service_name") else { return Some("evenkeel".into()) };
    let remedy = "write the name under which traces of this balancer are looked for";
    field.text("1 to 128 printable characters", remedy, |text| {
        let fits = (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control);
        fits.then(|| text.into())
    })
}

fn header(section: &Section<'_>) -> Option<TracingHeader> {
    let name = section.required("name", "name = \"authorization\"").and_then(|field| {
        let remedy = "write the field's name alone; its value stands in the file";
        field.text("the name of a field that does not frame messages", remedy, |text| {
            let name = text.to_ascii_lowercase();
            (route::is_token(&name) && !OWN.contains(&name.as_str())).then_some(name)
        })
    });
    let file = section.required("file", "file = \"/etc/evenkeel/collector-token\"").and_then(|f| f.file());
    Some(TracingHeader { name: name?, file: file? })
}
