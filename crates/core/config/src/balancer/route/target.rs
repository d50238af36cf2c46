//! What a server is asked for: `rewrite`, and `[routing]`, how paths are read before routes are chosen.

use super::{
    Piece, Template, Variable,
    template::{Matched, template},
};
use crate::document::{Field, Section};

/// How paths are read before routes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Routing {
    /// What becomes of requests with `%2F` or `%5C` in their path.
    pub escaped_slash: EscapedSlash,
}

/// What becomes of requests with an escaped slash or backslash in their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EscapedSlash {
    /// They are answered with 400: servers disagree about whether it divides a path, so a guarded path could be
    /// asked for in a form that no route sees.
    Refuse,
    /// They pass; to routes an escaped slash is a character like others.
    Keep,
}

pub(in super::super) const ROUTING_KEYS: &[&str] = &["escaped_slash"];

pub(in super::super) fn routing(section: &Section<'_>) -> Option<Routing> {
    let escaped_slash = match section.field("escaped_slash") {
        None => Some(EscapedSlash::Refuse),
        Some(field) => {
            let remedy = "write \"keep\" only when the servers need such paths and guard their own";
            field.text("\"refuse\" or \"keep\"", remedy, |text| match text {
                "refuse" => Some(EscapedSlash::Refuse),
                "keep" => Some(EscapedSlash::Keep),
                _ => None,
            })
        }
    };
    Some(Routing { escaped_slash: escaped_slash? })
}

/// `rewrite = "/v2{rest}"`.
pub(super) fn rewrite(field: &Field<'_>, matched: Matched<'_>) -> Option<Template> {
    let to = template(field, matched)?;
    let starts = match to.pieces().first() {
        Some(Piece::Text(text)) => text.starts_with('/'),
        Some(Piece::Variable(Variable::Rest | Variable::Path | Variable::Group(_))) => true,
        Some(Piece::Variable(_)) | None => false,
    };
    let plain = |piece: &Piece| match piece {
        Piece::Text(text) => text.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>\\".contains(&b)),
        Piece::Variable(Variable::Query) => false,
        Piece::Variable(_) => true,
    };
    if !starts || !to.pieces().iter().all(plain) {
        field.refuse(
            "a path that begins with `/`, `{rest}`, `{path}` or a group, in ASCII without spaces and without `{query}`, \
             which is kept by itself",
            "write the path for the server, such as \"/v2{rest}\"",
        );
        return None;
    }
    Some(to)
}
