//! What a route answers itself: redirects, fixed answers, and maintenance.
//!
//! Leaves to others: reading the files that are named here, of at most [`MAX_PAGE_BYTES`].

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};
use core::time::Duration;

use super::{
    Template,
    matching::networks,
    template::{Matched, template},
};
use crate::{
    Network,
    document::{Field, Section},
    range::{Span, hours, secs},
    scalar::AbsolutePath,
};

/// Largest page that is answered from memory, in bytes.
///
/// A page with its style and a small picture inside is about 100 KiB; larger ones belong on a server.
pub const MAX_PAGE_BYTES: usize = 256 << 10;

/// Longest body written in the configuration itself: a screen of text.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// A minute is what Retry-After tells most often; a day is the longest maintenance that anyone announces.
const RETRY_AFTER: Span = Span::new(secs(1), secs(60), hours(24 * 7));

/// Sends the client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The Location.
    pub to: Template,
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// What is sent.
    pub page: Page,
}

/// A body and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The Content-Type.
    pub content_type: String,
    /// Where the body comes from.
    pub source: PageSource,
}

/// Where a body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageSource {
    /// Nowhere: there is none.
    Empty,
    /// The configuration.
    Text(String),
    /// This file, of at most [`MAX_PAGE_BYTES`].
    File(AbsolutePath),
}

/// Answers everyone but some with 503.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// What is shown; `None` for a page of our own.
    pub page: Option<Page>,
    /// When the client may come back.
    pub retry_after: Duration,
    /// Clients that are served all the same.
    pub exempt: Vec<Network>,
}

/// `redirect = "TEMPLATE"` or `redirect = { to = "TEMPLATE", status = 301 }`.
pub(super) fn redirect(field: &Field<'_>, matched: Matched<'_>) -> Option<Redirect> {
    if !field.is_table() {
        return location(field, matched).map(|to| Redirect { status: 302, to });
    }
    let table = field.as_section(&["to", "status"])?;
    let to =
        table.required("to", "to = \"https://{host}{path}{query}\"").and_then(|to| location(&to, matched));
    let status = match table.field("status") {
        None => Some(302),
        Some(field) => {
            field.number("301, 302, 303, 307 or 308", "301 and 308 are kept by browsers for good", |n| {
                u16::try_from(n).ok().filter(|status| matches!(status, 301..=303 | 307 | 308))
            })
        }
    };
    Some(Redirect { to: to?, status: status? })
}

fn location(field: &Field<'_>, matched: Matched<'_>) -> Option<Template> {
    let to = template(field, matched)?;
    let start = to.literal_start();
    let absolute = start.contains("://") || start.starts_with('/') && !start.starts_with("//");
    let starts = absolute
        || matches!(
            to.pieces().first(),
            Some(super::Piece::Variable(super::Variable::Scheme | super::Variable::Path))
        );
    let spaced = to.pieces().iter().any(
        |piece| matches!(piece, super::Piece::Text(text) if text.bytes().any(|b| !b.is_ascii_graphic())),
    );
    if !starts || spaced {
        field.refuse(
            "a location that begins with a scheme such as `https://`, with `{scheme}`, `{path}` or with `/`, in ASCII without spaces",
            "write the whole address, such as \"https://{host}{path}{query}\"",
        );
        return None;
    }
    Some(to)
}

pub(super) fn respond(field: &Field<'_>) -> Option<Respond> {
    let table = field.as_section(&["status", "content_type", "body", "file"])?;
    let status = table.required("status", "status = 404").and_then(|field| status(&field));
    let page = page(&table, "text/plain; charset=utf-8");
    Some(Respond { status: status?, page: page? })
}

fn status(field: &Field<'_>) -> Option<u16> {
    field.number("a final status, 200 to 599", "the usual ones are 200, 403, 404, 410 and 503", |number| {
        u16::try_from(number).ok().filter(|status| (200..600).contains(status))
    })
}

fn page(table: &Section<'_>, default_type: &str) -> Option<Page> {
    let content_type = match table.field("content_type") {
        None => Some(default_type.to_owned()),
        Some(field) => field.text(
            "a media type such as `text/html; charset=utf-8`",
            "write type, slash, subtype",
            |text| {
                let fits = text.len() <= 128
                    && text.contains('/')
                    && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
                fits.then(|| text.to_owned())
            },
        ),
    };
    let source = match (table.field("body"), table.field("file")) {
        (None, None) => Some(PageSource::Empty),
        (Some(body), None) => body
            .text("a text of at most 8 KiB", "put longer ones into a file and name it by `file`", |text| {
                (text.len() <= MAX_TEXT_BYTES).then(|| text.to_owned())
            })
            .map(PageSource::Text),
        (None, Some(file)) => file.path().map(PageSource::File),
        (Some(_), Some(file)) => {
            file.refuse("one of body and file", "remove one of them");
            None
        }
    };
    Some(Page { content_type: content_type?, source: source? })
}

/// `maintenance = true`, or a table.
pub(super) fn maintenance(field: &Field<'_>) -> Option<Option<Maintenance>> {
    if let Some(on) = field.as_bool() {
        let plain = Maintenance { page: None, retry_after: RETRY_AFTER.default, exempt: Vec::new() };
        return Some(on.then_some(plain));
    }
    let table = field.as_section(&["content_type", "body", "file", "retry_after", "exempt"])?;
    let shown = table.field("body").is_some() || table.field("file").is_some();
    let page = page(&table, "text/html; charset=utf-8");
    let retry_after = table.duration("retry_after", RETRY_AFTER);
    let exempt = networks(&table, "exempt");
    Some(Some(Maintenance {
        page: Some(page?).filter(|_| shown),
        retry_after: retry_after?,
        exempt: exempt?,
    }))
}
