//! What a route changes of heads: `request_header` and `response_header`.
//!
//! Invariant: no edit touches a field that frames a message or belongs to one hop.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};

use super::{
    Template,
    template::{Matched, template},
};
use crate::document::{Field, Section};

/// Most fields that one table changes: as many as a head may have by itself.
const MAX_EDITS: usize = 100;

/// Fields that frame a message or are for one hop only (RFC 9110 §7.6.1); this proxy alone writes them.
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "via",
];

/// What is changed of the fields of a head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FieldEdits {
    /// Names of the fields that are taken out, in small letters; those that are set are among them.
    pub remove: Vec<String>,
    /// Fields that are put in, with their names as written.
    pub add: Vec<(String, Template)>,
}

impl FieldEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// A name of a field (RFC 9110 §5.6.2), of at most 64 bytes.
pub(in crate::balancer) fn is_token(name: &str) -> bool {
    let byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(byte)
}

pub(super) fn field_edits(section: &Section<'_>, key: &str, matched: Matched<'_>) -> Option<FieldEdits> {
    let Some(field) = section.field(key) else { return Some(FieldEdits::default()) };
    let table = field.as_section(&["set", "add", "remove"])?;
    let mut edits = FieldEdits::default();
    let set = puts(&table, "set", matched);
    let add = puts(&table, "add", matched);
    let removed = match table.field("remove") {
        Some(list) => list.items().iter().map(name).collect::<Vec<_>>().into_iter().collect(),
        None => Some(Vec::new()),
    };
    let (set, add) = (set?, add?);
    edits.remove = removed?;
    edits.remove.extend(set.iter().map(|(name, _)| name.to_ascii_lowercase()));
    edits.add = set;
    edits.add.extend(add);
    if !has_one_host(&edits) {
        field.refuse("Host only in `set`, and once", "set another Host, or leave it; every request has one");
        return None;
    }
    if edits.remove.len() + edits.add.len() > 2 * MAX_EDITS {
        field.refuse("at most 100 fields", "leave out those that servers can set themselves");
        return None;
    }
    Some(edits)
}

/// Whether a request still has one Host (RFC 9112 §3.2): it is left alone, or one takes its place.
fn has_one_host(edits: &FieldEdits) -> bool {
    let taken = edits.remove.iter().filter(|name| *name == "host").count();
    let put = edits.add.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count();
    matches!((taken, put), (0, 0) | (1, 1))
}

fn puts(table: &Section<'_>, key: &str, matched: Matched<'_>) -> Option<Vec<(String, Template)>> {
    let Some(field) = table.field(key) else { return Some(Vec::new()) };
    let entry = |(name, field): &(String, Field<'_>)| {
        let fits = is_free(name);
        if !fits {
            field.refuse(NAME_EXPECTED, NAME_REMEDY);
        }
        let value = template(field, matched)?;
        fits.then(|| (name.clone(), value))
    };
    let entries: Vec<_> = field.entries()?.iter().map(entry).collect();
    entries.into_iter().collect()
}

const NAME_EXPECTED: &str = "the name of a field that neither frames messages nor is for one hop (Content-Length, \
                             Transfer-Encoding, Connection, Upgrade, Expect, TE, Via and such are not for routes)";
const NAME_REMEDY: &str = "leave it out: the data plane writes that field itself";

fn is_free(name: &str) -> bool {
    is_token(name) && !FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

fn name(field: &Field<'_>) -> Option<String> {
    field.text(NAME_EXPECTED, NAME_REMEDY, |text| is_free(text).then(|| text.to_ascii_lowercase().to_owned()))
}
