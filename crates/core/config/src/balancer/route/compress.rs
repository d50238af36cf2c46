//! Which answers of a route are compressed: `compress`.
//!
//! An answer that holds both a secret and what an attacker can choose lets him guess the secret from its compressed
//! length (BREACH), so nothing is compressed that a route does not ask for.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};

use super::matching::many;
use crate::{document::Field, range::Count};

/// Which answers of a route are compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compress {
    /// The codings that may be chosen, the one that is liked best first.
    pub codings: Vec<Coding>,
    /// Media types in small letters; `text/` stands for all that begin so.
    pub types: Vec<String>,
    /// Answers of a known length below this are left alone.
    pub min_bytes: u64,
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

impl Coding {
    /// Its name in Accept-Encoding and Content-Encoding.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Best ratio for the time first.
const CODINGS: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// What sites are made of that is text and not compressed by itself.
const TYPES: [&str; 8] = [
    "text/",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/ld+json",
    "application/manifest+json",
    "image/svg+xml",
];

/// Below 1 KiB an answer fits one packet either way.
const MIN_BYTES: Count = Count::new(0, 1024, 1 << 30);

/// `compress = true`, or a table.
pub(super) fn compress(field: &Field<'_>) -> Option<Option<Compress>> {
    if let Some(on) = field.as_bool() {
        return Some(on.then(|| Compress {
            codings: CODINGS.to_vec(),
            types: TYPES.map(str::to_owned).to_vec(),
            min_bytes: MIN_BYTES.default,
        }));
    }
    let table = field.as_section(&["codings", "types", "min_bytes"])?;
    let codings = match table.field("codings") {
        None => Some(CODINGS.to_vec()),
        Some(list) => list.items().iter().map(coding).collect::<Vec<_>>().into_iter().collect(),
    };
    let types = match table.field("types") {
        None => Some(TYPES.map(str::to_owned).to_vec()),
        Some(_) => many(&table, "types", media_type),
    };
    let min_bytes = table.count("min_bytes", MIN_BYTES);
    Some(Some(Compress { codings: codings?, types: types?, min_bytes: min_bytes? }))
}

fn coding(field: &Field<'_>) -> Option<Coding> {
    field.text("\"gzip\", \"br\" or \"zstd\"", "list those that may be used, the best first", |text| {
        CODINGS.into_iter().find(|coding| coding.name() == text)
    })
}

fn media_type(field: &Field<'_>) -> Option<String> {
    let remedy = "write it without parameters such as charset";
    field.text("a media type such as `application/json`, or `text/` for all of a kind", remedy, |text| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"/+-._".contains(&b);
        let whole =
            (3..=64).contains(&text.len()) && text.matches('/').count() == 1 && !text.starts_with('/');
        (whole && text.bytes().all(fits)).then(|| text.to_ascii_lowercase())
    })
}
