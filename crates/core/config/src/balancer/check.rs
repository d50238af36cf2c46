//! `[pool.health_check]`: how servers are asked whether they are well.
//!
//! Invariant: a check ends before the next one starts.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};
use core::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use super::{Mode, nonzero, ranges};
use crate::{
    document::{Field, Section},
    range::{Count, Span},
};

/// How servers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// The port that is asked, where it is another one than the server's.
    pub port: Option<NonZeroU16>,
    /// From one check's start to the next.
    pub interval: Duration,
    /// How long one check may take; at most `interval`.
    pub timeout: Duration,
    /// Checks passed in a row after which a server is up.
    pub rise: NonZeroU32,
    /// Checks failed in a row after which a server is down.
    pub fall: NonZeroU32,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether a connection is accepted.
    Tcp,
    /// Whether `GET path` is answered with a status from `least` to `most`.
    Http {
        /// The path; starts with `/`, printable ASCII without spaces.
        path: String,
        /// The lowest good status, 100 to 599.
        least: u16,
        /// The highest good status, `least` to 599.
        most: u16,
    },
    /// Whether a datagram is not answered by "port unreachable", or is answered as expected.
    Udp {
        /// What the datagram has, at most 1,200 bytes; may be empty.
        payload: Vec<u8>,
        /// What must come.
        expect: Expected,
    },
}

/// What a health check over UDP waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the server only must not say that its port is closed.
    Silence,
    /// An answer that has these bytes somewhere; any answer when there are none.
    Answer(Vec<u8>),
}

pub(super) const CHECK_KEYS: &[&str] =
    &["kind", "path", "status", "payload_hex", "expect_hex", "port", "interval", "timeout", "rise", "fall"];

pub(super) fn health_check(section: &Section<'_>, mode: Mode) -> Option<HealthCheck> {
    let probe = probe(section, mode);
    let port = check_port(section);
    let interval = section.duration("interval", ranges::CHECK_INTERVAL);
    let timeout = check_timeout(section, interval.unwrap_or(ranges::CHECK_INTERVAL.most));
    let rise = nonzero(section, "rise", ranges::CHECK_RISE);
    let fall = nonzero(section, "fall", ranges::CHECK_FALL);
    Some(HealthCheck {
        probe: probe?,
        port: port?,
        interval: interval?,
        timeout: timeout?,
        rise: rise?,
        fall: fall?,
    })
}

/// The inner `None` when the server's own port is asked.
fn check_port(section: &Section<'_>) -> Option<Option<NonZeroU16>> {
    let Some(field) = section.field("port") else { return Some(None) };
    let port = field.count(Count::new(1, 1, u16::MAX as u64))?;
    u16::try_from(port).ok().and_then(NonZeroU16::new).map(Some)
}

/// A check ends before the next one starts.
fn check_timeout(section: &Section<'_>, interval: Duration) -> Option<Duration> {
    let Some(field) = section.field("timeout") else {
        return Some(ranges::CHECK_TIMEOUT.default.min(interval));
    };
    field.duration(Span { most: interval, ..ranges::CHECK_TIMEOUT })
}

fn probe(section: &Section<'_>, mode: Mode) -> Option<Probe> {
    let kind = match section.field("kind") {
        None => Some(mode),
        Some(field) => {
            let remedy =
                "write \"http\" to ask for a page, \"tcp\" to only connect, \"udp\" to send a datagram";
            field.text("\"http\", \"tcp\" or \"udp\"", remedy, |text| match text {
                "http" => Some(Mode::Http),
                "tcp" => Some(Mode::Tcp),
                "udp" => Some(Mode::Udp),
                _ => None,
            })
        }
    };
    let path = check_path(section, kind);
    let status = check_status(section, kind);
    let payload = check_datagram(section, "payload_hex", kind);
    let expected = check_datagram(section, "expect_hex", kind);
    match kind? {
        Mode::Tcp => path.and(status).and(payload).and(expected).map(|_| Probe::Tcp),
        Mode::Http => {
            let (least, most) = status?;
            payload.and(expected)?;
            Some(Probe::Http { path: path?, least, most })
        }
        Mode::Udp => {
            path.and(status)?;
            let expect = expected?.map_or(Expected::Silence, Expected::Answer);
            Some(Probe::Udp { payload: payload?.unwrap_or_default(), expect })
        }
    }
}

/// Notes a key that only means something to a check of kind `of`.
fn only_for(field: &Field<'_>, of: Mode, kind: Option<Mode>) -> Option<()> {
    let Some(other) = kind.filter(|&kind| kind != of) else { return Some(()) };
    let expected = format!("no such key in a check of kind \"{}\"", other.as_str());
    let remedy = match of {
        Mode::Udp => "remove it, or write kind = \"udp\"",
        Mode::Http | Mode::Tcp => "remove it, or write kind = \"http\"",
    };
    field.refuse(expected, remedy);
    None
}

/// Bytes written as hexadecimal digits; the inner `None` when the key is not there.
fn check_datagram(section: &Section<'_>, key: &str, kind: Option<Mode>) -> Option<Option<Vec<u8>>> {
    let Some(field) = section.field(key) else { return Some(None) };
    only_for(&field, Mode::Udp, kind)?;
    let remedy = "write two hexadecimal digits for each byte, without blanks";
    field.text("hexadecimal digits for at most 1200 bytes", remedy, bytes_of_hex).map(Some)
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > ranges::CHECK_DATAGRAM_BYTES {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

fn check_path(section: &Section<'_>, kind: Option<Mode>) -> Option<String> {
    let Some(field) = section.field("path") else { return Some("/".to_owned()) };
    only_for(&field, Mode::Http, kind)?;
    let fits = |text: &&str| {
        text.starts_with('/')
            && text.len() <= MAX_CHECK_PATH_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic())
    };
    let remedy = "write the path of a page that shows that the server works";
    field.text("a path such as `/health`, in ASCII without spaces", remedy, |text| {
        Some(text).filter(fits).map(str::to_owned)
    })
}

/// Longest path of a health check, in bytes: it must fit one packet with the rest of the request.
const MAX_CHECK_PATH_BYTES: usize = 1024;

fn check_status(section: &Section<'_>, kind: Option<Mode>) -> Option<(u16, u16)> {
    let Some(field) = section.field("status") else { return Some(ranges::CHECK_STATUS) };
    only_for(&field, Mode::Http, kind)?;
    field.text("a status or a range such as `200` or `200-399`", "statuses are 100 to 599", |text| {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|status| (100..600).contains(status));
        number(least).zip(number(most)).filter(|(least, most)| least <= most)
    })
}
