//! Text with parts that each request fills in.
//!
//! Owns: the names of those parts. Leaves to others: their values (`core/route`). Invariant: the text around them has no
//! control character, so no template ends a line of a head early.

use alloc::{string::String, vec::Vec};

use super::{GroupIndex, Pattern};
use crate::document::Field;

/// Longest template, in bytes: four times what browsers send in a head is more than any target or field needs.
const MAX_TEMPLATE_BYTES: usize = 4096;

/// Text with parts that each request fills in; at most 4,096 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What stands there: visible ASCII, spaces and what is not ASCII.
    Text(String),
    /// What the request says.
    Variable(Variable),
}

/// What of a request a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `{client}`: the client's address without its port.
    Client,
    /// `{host}`: the host that was asked for, without its port, in small letters.
    Host,
    /// `{authority}`: the host that was asked for, with its port when it has one.
    Authority,
    /// `{scheme}`: `https` for a client that came over TLS, else `http`.
    Scheme,
    /// `{method}`: the request's method.
    Method,
    /// `{path}`: the path as it was matched; begins with `/`.
    Path,
    /// `{query}`: the query with its `?`, or nothing.
    Query,
    /// `{rest}`: what of the path is behind `path_prefix`; nothing, or begins with `/`.
    Rest,
    /// `{1}` or `{name}`: what a group of `path_regex` describes.
    Group(GroupIndex),
    /// `{request_id}`: the request's id, as in the access log.
    RequestId,
    /// `{tls_version}`: such as `TLSv1.3`, or nothing without TLS.
    TlsVersion,
    /// `{route}`: the route's name.
    Route,
}

/// Which variables a template may have beside those that every request has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Matched<'p> {
    /// None more.
    Nothing,
    /// What is behind the prefix.
    Prefix,
    /// Groups of this expression.
    Groups(&'p Pattern),
}

impl Template {
    const EXPECTED: &str = "text without control characters, with parts such as `{client}`, `{host}`, `{path}`, `{query}`, \
                            `{scheme}`, `{method}`, `{request_id}`, `{route}`, `{tls_version}`, `{rest}` with \
                            path_prefix and `{1}` or `{name}` for a group of path_regex; `{{` for a brace";

    /// Its parts, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The text before the first variable.
    #[must_use]
    pub fn literal_start(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            Some(Piece::Variable(_)) | None => "",
        }
    }

    pub(super) fn parse(text: &str, matched: Matched<'_>) -> Option<Self> {
        if text.len() > MAX_TEMPLATE_BYTES || text.contains(char::is_control) {
            return None;
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
            if doubled {
                plain.push_str(&rest[at..=at]);
                rest = &rest[at + 2..];
                continue;
            }
            let (name, behind) = rest[at..].strip_prefix('{')?.split_once('}')?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(core::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(variable(name, matched)?));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Some(Self(pieces))
    }
}

fn variable(name: &str, matched: Matched<'_>) -> Option<Variable> {
    Some(match (name, matched) {
        ("client", _) => Variable::Client,
        ("host", _) => Variable::Host,
        ("authority", _) => Variable::Authority,
        ("scheme", _) => Variable::Scheme,
        ("method", _) => Variable::Method,
        ("path", _) => Variable::Path,
        ("query", _) => Variable::Query,
        ("request_id", _) => Variable::RequestId,
        ("tls_version", _) => Variable::TlsVersion,
        ("route", _) => Variable::Route,
        ("rest", Matched::Prefix) => Variable::Rest,
        (group, Matched::Groups(pattern)) => Variable::Group(pattern.group(group)?),
        (_, Matched::Nothing | Matched::Prefix) => return None,
    })
}

pub(super) fn template(field: &Field<'_>, matched: Matched<'_>) -> Option<Template> {
    let remedy = "mend the name in braces, or double the brace";
    field.text(Template::EXPECTED, remedy, |text| Template::parse(text, matched))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_known_names_in_braces() {
        let pieces = Template::parse("https://{host}{path}{{x}}{query}", Matched::Nothing).unwrap();
        assert_eq!(
            pieces.pieces(),
            [
                Piece::Text("https://".into()),
                Piece::Variable(Variable::Host),
                Piece::Variable(Variable::Path),
                Piece::Text("{x}".into()),
                Piece::Variable(Variable::Query),
            ]
        );
        let pattern = Pattern::parse("/(a)/(?<b>b)").unwrap();
        assert!(Template::parse("/{1}/{b}{0}", Matched::Groups(&pattern)).is_some());
        assert!(Template::parse("/v2{rest}", Matched::Prefix).is_some());
        for bad in ["{", "}", "{nope}", "{rest}", "{1}", "a\r\nb", "{host", "{}"] {
            assert_eq!(Template::parse(bad, Matched::Nothing), None, "{bad:?}");
        }
        assert_eq!(Template::parse("{3}", Matched::Groups(&pattern)), None);
    }
}
