//! What our own errors look like: `error_pages`, of all listeners or of a route.

use alloc::{format, string::String, vec::Vec};

use crate::{
    document::{Field, Section},
    scalar::AbsolutePath,
};

/// Most pages of one table.
const MAX_PAGES: usize = 64;

/// A page for errors that the data plane answers by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorPage {
    /// The lowest status that it is for.
    pub least: u16,
    /// The highest.
    pub most: u16,
    /// The page, in HTML, of at most [`MAX_PAGE_BYTES`](super::MAX_PAGE_BYTES); `{status}`, `{phrase}`, `{reason}` and
    /// `{request_id}` are filled in.
    pub file: AbsolutePath,
}

/// `error_pages = { "503" = "/etc/evenkeel/busy.html", 5xx = "/etc/evenkeel/sorry.html" }`.
pub(in super::super) fn error_pages(section: &Section<'_>) -> Option<Vec<ErrorPage>> {
    let Some(field) = section.field("error_pages") else { return Some(Vec::new()) };
    let entries = field.entries()?;
    if entries.len() > MAX_PAGES {
        field.refuse(format!("at most {MAX_PAGES} pages"), "give one page to all of a kind, such as 5xx");
        return None;
    }
    let pages: Vec<_> = entries.iter().map(page).collect();
    pages.into_iter().collect()
}

fn page((status, field): &(String, Field<'_>)) -> Option<ErrorPage> {
    let (least, most) = match status.as_str() {
        "4xx" => (400, 499),
        "5xx" => (500, 599),
        number => match number.parse() {
            Ok(status @ 400..=599) if number.len() == 3 => (status, status),
            Ok(_) | Err(_) => {
                field.refuse("a page under a status from 400 to 599, 4xx or 5xx", "write such as \"503\"");
                return None;
            }
        },
    };
    Some(ErrorPage { least, most, file: field.path()? })
}
