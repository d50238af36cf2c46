//! A request as routes see it, and whether it meets a condition.
//!
//! Invariant: nothing is looked up that no condition asks for, and nothing is copied except a value with escapes that is
//! held against an expression.

use alloc::{borrow::Cow, vec::Vec};
use core::net::IpAddr;

use evenkeel_config::balancer::route::{Condition, Conditions, Value};

use crate::{Target, target::escape};

/// A request as routes see it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a, F> {
    /// Its method, as it was sent.
    pub method: &'a [u8],
    /// The host that was asked for, with or without a port; empty when there is none.
    pub host: &'a [u8],
    /// Its target in normal form.
    pub target: &'a Target<'a>,
    /// The client's address.
    pub source: IpAddr,
    /// Its fields.
    pub fields: F,
}

/// The fields of a request.
pub trait Fields {
    /// Whether `holds` is true of one of the values of the field `name`, which is in small letters.
    ///
    /// Asks about each of them in order until it is.
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

impl<F: Fields> Fields for &F {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        (*self).any(name, holds)
    }
}

/// Fields in a list, as names and values.
impl Fields for [(&str, &str)] {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.iter().any(|(field, value)| field.eq_ignore_ascii_case(name) && holds(value.as_bytes()))
    }
}

impl Fields for &[(&str, &str)] {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        (**self).any(name, holds)
    }
}

/// Whether a request meets all conditions beside those on host and path.
pub(crate) fn meets<F: Fields>(request: &Request<'_, F>, conditions: &Conditions) -> bool {
    let is_method = |method: &&str| method.as_bytes() == request.method;
    let methods = &conditions.methods;
    let sources = &conditions.sources;
    (methods.is_empty() || methods.iter().any(|method| is_method(&method.as_str())))
        && (sources.is_empty() || sources.iter().any(|network| network.contains(request.source)))
        && conditions.headers.iter().all(|condition| {
            let name = condition.name.as_str();
            met(&condition.value, &mut |holds| request.fields.any(name, holds))
        })
        && conditions.queries.iter().all(|condition| {
            met(&condition.value, &mut |holds| any_parameter(request.target.query(), condition, holds))
        })
}

/// What is asked of a value.
type Test<'t> = &'t mut dyn FnMut(&[u8]) -> bool;

/// Whether one of the values that `any` gives is what it must be.
fn met(value: &Value, any: &mut dyn FnMut(Test<'_>) -> bool) -> bool {
    match value {
        Value::Present => any(&mut |_| true),
        Value::Absent => !any(&mut |_| true),
        Value::Exact(text) => any(&mut |value| value == text.as_bytes()),
        Value::Prefix(text) => any(&mut |value| value.starts_with(text.as_bytes())),
        Value::Regex(pattern) => any(&mut |value| pattern.is_match(value)),
    }
}

/// Asks about the values of a parameter of the query, as forms write it (`application/x-www-form-urlencoded`).
fn any_parameter(query: Option<&[u8]>, condition: &Condition, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    query.unwrap_or_default().split(|&b| b == b'&').filter(|parameter| !parameter.is_empty()).any(
        |parameter| {
            let equals = parameter.iter().position(|&b| b == b'=').unwrap_or(parameter.len());
            let value = parameter.get(equals + 1..).unwrap_or_default();
            *decoded(&parameter[..equals]) == *condition.name.as_bytes() && holds(&decoded(value))
        },
    )
}

/// A name or value without its escapes; a malformed one stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        match (b, escape(behind)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(b),
        }
    }
    Cow::Owned(out)
}
