//! Filling in what routes say of targets and fields.
//!
//! Invariants: a filled-in value has no control character, so it never ends a line of a head; a rewritten target is in
//! normal form, so the server is asked for what the route says and nothing else.

use alloc::{borrow::Cow, vec::Vec};

use evenkeel_config::balancer::route::{EscapedSlash, PathPattern, Piece, Route, Template, Variable};

use crate::{
    Target, TargetError,
    host::{Host, without_port},
    target::join,
};

/// How the client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a request says, for templates.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The route that it takes.
    pub route: &'a Route,
    /// The client's address without its port.
    pub client: &'a str,
    /// The host that was asked for, with its port when it has one.
    pub authority: &'a [u8],
    /// How the client came.
    pub scheme: Scheme,
    /// The method.
    pub method: &'a [u8],
    /// The target in normal form.
    pub target: &'a Target<'a>,
    /// The request's id.
    pub request_id: &'a str,
    /// The version of TLS; empty without it.
    pub tls_version: &'a str,
}

/// Appends a template's text for a request to `out`.
pub fn render(template: &Template, values: &Values<'_>, out: &mut Vec<u8>) {
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Variable(variable) => fill(*variable, values, out),
        }
    }
}

fn fill(variable: Variable, values: &Values<'_>, out: &mut Vec<u8>) {
    let path = values.target.path();
    let value: Cow<'_, [u8]> = match variable {
        Variable::Client => values.client.as_bytes().into(),
        Variable::Host => Host::of(without_port(values.authority)).as_bytes().to_vec().into(),
        Variable::Authority => values.authority.into(),
        Variable::Scheme => values.scheme.as_str().as_bytes().into(),
        Variable::Method => values.method.into(),
        Variable::Path => path.into(),
        Variable::Query => match values.target.query() {
            Some(query) => join(b"", Some(query)).into(),
            None => Cow::Borrowed(&[]),
        },
        Variable::Rest => rest(&values.route.conditions.path, path).into(),
        Variable::Group(group) => match &values.route.conditions.path {
            PathPattern::Regex(pattern) => match pattern.groups(path) {
                Some(groups) => groups.of(path, group).into(),
                None => Cow::Borrowed(&[]),
            },
            PathPattern::Any | PathPattern::Exact(_) | PathPattern::Prefix(_) => Cow::Borrowed(&[]),
        },
        Variable::RequestId => values.request_id.as_bytes().into(),
        Variable::TlsVersion => values.tls_version.as_bytes().into(),
        Variable::Route => values.route.name.as_str().as_bytes().into(),
    };
    out.extend(value.iter().filter(|b| !b.is_ascii_control()));
}

/// What of `path` is behind the prefix of a route that matched it.
fn rest<'p>(pattern: &PathPattern, path: &'p [u8]) -> &'p [u8] {
    match pattern {
        PathPattern::Prefix(prefix) => path.get(prefix.len()..).unwrap_or_default(),
        PathPattern::Any | PathPattern::Exact(_) | PathPattern::Regex(_) => path,
    }
}

/// What the server is asked for by a route with a rewrite: `to` filled in, in normal form, with the client's query behind
/// the one that `to` may have.
///
/// # Errors
/// With this request the rewrite gives no path, or one that can be read in more ways than one.
pub fn rewrite(to: &Template, values: &Values<'_>, slash: EscapedSlash) -> Result<Vec<u8>, TargetError> {
    let mut target = Vec::new();
    render(to, values, &mut target);
    if target.first().is_none_or(|&b| b == b'?') {
        target.insert(0, b'/');
    }
    let visible = |&b: &u8| b.is_ascii_graphic() && !b"\"#<>\\".contains(&b);
    if !target.iter().all(visible) {
        return Err(TargetError::Malformed);
    }
    let read = Target::read(&target, slash)?;
    let mut whole = join(read.path(), read.query());
    if let Some(query) = values.target.query() {
        whole.push(if read.query().is_some() { b'&' } else { b'?' });
        whole.extend_from_slice(query);
    }
    Ok(whole)
}
