//! `[pool.sticky]`: clients that come back to their server by a cookie.
//!
//! Owns: what the cookie looks like and how long it holds. Leaves to others: making and recognising its value
//! (`core/route`). Invariant: a browser that keeps to the rules of its name takes the cookie.

use alloc::{borrow::ToOwned as _, string::String};
use core::time::Duration;

use super::{Hedge, HedgeAfter, Mode, ranges};
use crate::{
    FilePath, HostName,
    document::{Field, Section},
    range::Span,
};

/// How clients come back to their server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sticky {
    /// The cookie's name: 1 to 64 letters, digits, `-` and `_`.
    pub cookie: String,
    /// The part of the site that it is for; begins with `/`.
    pub path: String,
    /// The domain whose hosts get it; `None` for the host that was asked alone.
    pub domain: Option<HostName>,
    /// Whether it is only sent over TLS.
    pub secure: Secure,
    /// Whether scripts of the page may read it.
    pub scripts: Scripts,
    /// Which other sites' requests carry it.
    pub same_site: SameSite,
    /// How long a client may pause before it counts as a new one; `None` for any time.
    pub max_idle: Option<Duration>,
    /// How long a client keeps its server at all; `None` for any time.
    pub max_life: Option<Duration>,
    /// What becomes of the clients of a server that drains.
    pub draining: Draining,
    /// The file with the secrets by which values are signed; `None` for one that goes with the process.
    pub secrets: Option<FilePath>,
}

/// Whether a cookie is only sent over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secure {
    /// When it was given over TLS.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether scripts of the page may read a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scripts {
    /// No (`HttpOnly`).
    Excluded,
    /// Yes.
    Allowed,
}

/// Which other sites' requests carry a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// Those that lead to the site.
    Lax,
    /// None.
    Strict,
    /// All; browsers want `Secure` with it.
    None,
}

/// What becomes of the clients of a server that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Draining {
    /// They stay, and only new ones go elsewhere.
    Keep,
    /// They go to another server with their next request.
    Move,
}

pub(super) const STICKY_KEYS: &[&str] = &[
    "cookie",
    "path",
    "domain",
    "secure",
    "http_only",
    "same_site",
    "max_idle",
    "max_life",
    "draining",
    "secrets",
];

/// What the table of a pool says; the inner `None` when there is none.
pub(super) fn pool(section: &Section<'_>, mode: Mode, hedge: Option<&Hedge>) -> Option<Option<Sticky>> {
    let Some(field) = section.field("sticky") else { return Some(None) };
    let read = section.optional_section("sticky", STICKY_KEYS, sticky);
    if mode == Mode::Udp {
        field.refuse("no such table in a pool for mode \"udp\"", "remove it: datagrams have no cookies");
        return None;
    }
    if hedge.is_some_and(|hedge| hedge.after != HedgeAfter::Off) {
        field.refuse(
            "no such table beside `hedge.after`",
            "remove one: a client that belongs to a server must not be answered by another",
        );
        return None;
    }
    read
}

fn sticky(section: &Section<'_>) -> Option<Sticky> {
    let cookie = section.required("cookie", "cookie = \"server\"");
    let name = cookie.as_ref().and_then(|field| {
        field.text("1 to 64 letters, digits, `-` or `_`", "name it unlike the site's other cookies", |text| {
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            ((1..=64).contains(&text.len()) && plain).then(|| text.to_owned())
        })
    });
    let path = path(section);
    let domain = section.optional("domain", |field| {
        let remedy = "write the domain without a dot before it, or leave it out for the host that was asked";
        field.text("a domain such as `example.org`", remedy, HostName::parse)
    });
    let secure = section.optional("secure", Field::flag);
    let scripts = section.optional("http_only", Field::flag);
    let same_site = same_site(section);
    let max_idle = section.optional("max_idle", |field| field.duration(ranges::STICKY_TIME));
    let max_life = section.optional("max_life", |field| field.duration(life_after(max_idle.flatten())));
    let draining = draining(section);
    let secrets = section.optional("secrets", Field::file);
    let sticky = Sticky {
        cookie: name?,
        path: path?,
        domain: domain?,
        secure: match secure? {
            None => Secure::Auto,
            Some(true) => Secure::Always,
            Some(false) => Secure::Never,
        },
        scripts: if scripts?.unwrap_or(true) { Scripts::Excluded } else { Scripts::Allowed },
        same_site: same_site?,
        max_idle: max_idle?,
        max_life: max_life?,
        draining: draining?,
        secrets: secrets?,
    };
    cookie.as_ref().and_then(|field| taken_by_browsers(section, field, &sticky)).map(|()| sticky)
}

/// A life that is shorter than a pause would make the pause meaningless.
fn life_after(max_idle: Option<Duration>) -> Span {
    let least = max_idle.unwrap_or(ranges::STICKY_TIME.least);
    Span { least, ..ranges::STICKY_TIME }
}

fn path(section: &Section<'_>) -> Option<String> {
    let Some(field) = section.field("path") else { return Some("/".to_owned()) };
    field.text("a path such as `/app`", "begin it with `/`", |text| {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b';' && b != b',');
        (text.starts_with('/') && text.len() <= 256 && plain).then(|| text.to_owned())
    })
}

fn same_site(section: &Section<'_>) -> Option<SameSite> {
    let Some(field) = section.field("same_site") else { return Some(SameSite::Lax) };
    let remedy = "take \"lax\" unless pages of other sites embed this one";
    let same_site = field.text("\"lax\", \"strict\" or \"none\"", remedy, |text| match text {
        "lax" => Some(SameSite::Lax),
        "strict" => Some(SameSite::Strict),
        "none" => Some(SameSite::None),
        _ => None,
    });
    let secure = section.field("secure").and_then(|field| field.as_bool());
    if same_site == Some(SameSite::None) && secure == Some(false) {
        field.refuse(
            "\"lax\" or \"strict\" beside secure = false",
            "browsers take no such cookie: remove `secure`",
        );
        return None;
    }
    same_site
}

fn draining(section: &Section<'_>) -> Option<Draining> {
    let Some(field) = section.field("draining") else { return Some(Draining::Keep) };
    let remedy = "write \"move\" where servers share their sessions, so that a drain ends sooner";
    field.text("\"keep\" or \"move\"", remedy, |text| match text {
        "keep" => Some(Draining::Keep),
        "move" => Some(Draining::Move),
        _ => None,
    })
}

/// Whether browsers take a cookie of this name with these attributes (RFC 6265bis §4.1.3).
fn taken_by_browsers(section: &Section<'_>, name: &Field<'_>, sticky: &Sticky) -> Option<()> {
    let begins = |prefix: &str| {
        sticky.cookie.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let secure = sticky.secure == Secure::Always;
    if (begins("__Secure-") || begins("__Host-")) && !secure {
        name.refuse(
            "another name without secure = true",
            "add secure = true, or browsers take no such cookie",
        );
        return None;
    }
    if begins("__Host-") && (sticky.path != "/" || section.field("domain").is_some()) {
        name.refuse(
            "another name beside `domain` or a `path`",
            "browsers take it for one host and all of it only",
        );
        return None;
    }
    Some(())
}
