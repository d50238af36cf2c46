//! `[pool.health_check]`: how servers are asked whether they are well.
//!
//! Invariant: a check ends before the next one starts.

use alloc::{borrow::ToOwned as _, string::String};
use core::{num::NonZeroU32, time::Duration};

use super::{Mode, nonzero, ranges};
use crate::{
    document::{Field, Section},
    range::Span,
};

/// How servers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
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
}

pub(super) const CHECK_KEYS: &[&str] = &["kind", "path", "status", "interval", "timeout", "rise", "fall"];

pub(super) fn health_check(section: &Section<'_>, mode: Mode) -> Option<HealthCheck> {
    let probe = probe(section, mode);
    let interval = section.duration("interval", ranges::CHECK_INTERVAL);
    let timeout = check_timeout(section, interval.unwrap_or(ranges::CHECK_INTERVAL.most));
    let rise = nonzero(section, "rise", ranges::CHECK_RISE);
    let fall = nonzero(section, "fall", ranges::CHECK_FALL);
    Some(HealthCheck { probe: probe?, interval: interval?, timeout: timeout?, rise: rise?, fall: fall? })
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
            let remedy = "write \"http\" to ask for a page, \"tcp\" to only connect";
            field.text("\"http\" or \"tcp\"", remedy, |text| match text {
                "http" => Some(Mode::Http),
                "tcp" => Some(Mode::Tcp),
                _ => None,
            })
        }
    };
    let path = check_path(section, kind);
    let status = check_status(section, kind);
    match kind? {
        Mode::Tcp => path.and(status).map(|_| Probe::Tcp),
        Mode::Http => {
            let (least, most) = status?;
            Some(Probe::Http { path: path?, least, most })
        }
    }
}

/// Notes a key that only means something to a check of kind `http`.
fn only_for_http(field: &Field<'_>, kind: Option<Mode>) -> Option<()> {
    if kind != Some(Mode::Tcp) {
        return Some(());
    }
    field.refuse("no such key in a check of kind \"tcp\"", "remove it, or write kind = \"http\"");
    None
}

fn check_path(section: &Section<'_>, kind: Option<Mode>) -> Option<String> {
    let Some(field) = section.field("path") else { return Some("/".to_owned()) };
    only_for_http(&field, kind)?;
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
    only_for_http(&field, kind)?;
    field.text("a status or a range such as `200` or `200-399`", "statuses are 100 to 599", |text| {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|status| (100..600).contains(status));
        number(least).zip(number(most)).filter(|(least, most)| least <= most)
    })
}
