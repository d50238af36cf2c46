//! How much a route takes: `rate_limit`, `deadlines` and `retry`.

use alloc::{string::String, vec::Vec};
use core::{num::NonZeroU32, time::Duration};

use super::edit::is_token;
use crate::{
    document::{Field, Section},
    range::{Count, Span, hours, ms, secs},
};

/// How many requests a route takes in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// So many requests…
    pub requests: NonZeroU32,
    /// …in this long, evenly.
    pub per: Duration,
    /// How many may come at once after a pause; at least 1.
    pub burst: NonZeroU32,
    /// Who is counted by himself.
    pub by: RateKey,
    /// How many are remembered at once.
    pub keys: NonZeroU32,
}

/// Who is counted by himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// Each client's address; of IPv6 its first 64 bits, which one household has to itself.
    Source,
    /// Each value of this field, in small letters; requests without it by their source.
    Header(String),
    /// Nobody: all requests of the route together.
    Route,
}

/// How long requests of a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RouteDeadlines {
    /// In the place of `deadlines.server_head`.
    pub server_head: Option<Duration>,
    /// From the request's head to the head of an answer, over all tries and waits.
    pub total: Option<Duration>,
}

/// When an answer counts as none, and another server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteRetry {
    /// These statuses; ascending.
    pub statuses: Vec<u16>,
    /// Which requests may be sent again after a server had them.
    pub methods: RetryMethods,
}

/// Which requests may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryMethods {
    /// Those that do the same when done twice (RFC 9110 §9.2.2).
    Idempotent,
    /// All, for servers that make sure of it themselves.
    Any,
}

/// A million in a day or a hundred in a second: what a limit is for lies between.
const REQUESTS: Count = Count::new(1, 1, 10_000_000);

const PER: Span = Span::new(ms(10), secs(1), hours(24));

/// 16 bytes each: 65,536 take 1 MiB, and a campus of 30,000 has room; 4 Mi take 64 MiB.
const KEYS: Count = Count::new(64, 65_536, 4 << 20);

const BURST: Count = Count::new(1, 1, 1_000_000);

/// As for the deadlines of all requests.
const SERVER_HEAD: Span = Span::new(ms(10), secs(30), hours(1));

/// `rate_limit = { requests = 100, per = "1m", burst = 20, by = "source" }`.
pub(super) fn rate_limit(field: &Field<'_>) -> Option<RateLimit> {
    let table = field.as_section(&["requests", "per", "burst", "by", "keys"])?;
    let nonzero = |key: &str, range: Count| NonZeroU32::new(u32::try_from(table.count(key, range)?).ok()?);
    let requests = table.required("requests", "requests = 100").and_then(|_| nonzero("requests", REQUESTS));
    let per = table.duration("per", PER);
    let burst = nonzero("burst", BURST);
    let keys = nonzero("keys", KEYS);
    let by = match table.field("by") {
        None => Some(RateKey::Source),
        Some(by) => {
            let remedy = "write header: and the name of a field to count by its value";
            by.text("\"source\", \"route\" or such as \"header:X-Api-Key\"", remedy, |text| match text {
                "source" => Some(RateKey::Source),
                "route" => Some(RateKey::Route),
                _ => text
                    .strip_prefix("header:")
                    .filter(|name| is_token(name))
                    .map(|name| RateKey::Header(name.to_ascii_lowercase())),
            })
        }
    };
    Some(RateLimit { requests: requests?, per: per?, burst: burst?, by: by?, keys: keys? })
}

pub(super) fn deadlines(section: &Section<'_>) -> Option<RouteDeadlines> {
    let Some(field) = section.field("deadlines") else { return Some(RouteDeadlines::default()) };
    let table = field.as_section(&["server_head", "total"])?;
    let read = |key: &str| table.optional(key, |field| field.duration(SERVER_HEAD));
    let (server_head, total) = (read("server_head"), read("total"));
    Some(RouteDeadlines { server_head: server_head?, total: total? })
}

/// `retry = { status = [502, 503], methods = "idempotent" }`.
pub(super) fn retry(section: &Section<'_>) -> Option<Option<RouteRetry>> {
    let Some(field) = section.field("retry") else { return Some(None) };
    let table = field.as_section(&["status", "methods"])?;
    let statuses =
        table.required("status", "status = [502, 503]").map(|list| list.items()).unwrap_or_default();
    let status = |field: &Field<'_>| {
        field.number("a status from 400 to 599", "answers below 400 are good ones", |number| {
            u16::try_from(number).ok().filter(|status| (400..600).contains(status))
        })
    };
    let statuses: Vec<_> = statuses.iter().map(status).collect();
    let methods = match table.field("methods") {
        None => Some(RetryMethods::Idempotent),
        Some(field) => {
            field.text("\"idempotent\" or \"any\"", "\"any\" may do an order twice", |text| match text {
                "idempotent" => Some(RetryMethods::Idempotent),
                "any" => Some(RetryMethods::Any),
                _ => None,
            })
        }
    };
    let mut statuses: Vec<u16> = statuses.into_iter().collect::<Option<_>>()?;
    statuses.sort_unstable();
    let methods = methods?;
    (!statuses.is_empty()).then_some(Some(RouteRetry { statuses, methods }))
}
