//! `[[listener.sni]]`: pools by the name that a TLS client asks for, where nothing is decrypted.
//!
//! Owns: the names and what becomes of everyone else. Leaves to others: reading the name (`core/tls-hello`). Invariants:
//! a name stands in one rule of a listener; rules stand only where bytes are passed on as they come.

use alloc::{borrow::ToOwned as _, string::String, vec::Vec};

use super::{Claims, Mode, PoolIndex, UnknownName, ranges};
use crate::{
    HostName,
    document::{Field, Section},
};

/// Clients that ask for one of these names go to this pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SniRule {
    /// The names; at least one.
    pub names: Vec<SniName>,
    /// Whom they are sent to.
    pub pool: PoolIndex,
}

/// A name that clients ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SniName {
    /// This one.
    Exact(HostName),
    /// All that end with `.` and this one, written `*.example.org`.
    Below(HostName),
}

impl SniName {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(parent) => HostName::parse(parent).map(Self::Below),
            None => HostName::parse(text).map(Self::Exact),
        }
    }
}

const SNI_KEYS: &[&str] = &["names", "pool"];

/// A rule whose pool is not resolved yet.
pub(super) struct SniDraft<'a> {
    names: Option<Vec<SniName>>,
    pub(super) pool: Option<(Field<'a>, String)>,
}

/// The rules of a listener; `None` where they may not stand.
pub(super) fn rules<'a>(section: &Section<'a>, mode: Option<Mode>) -> Option<Vec<SniDraft<'a>>> {
    let Some(field) = section.field("sni") else { return Some(Vec::new()) };
    if mode == Some(Mode::Http) || section.field("tls").is_some() {
        let remedy =
            "remove it, or write mode = \"tcp\" and no `tls`: the name is read from what is passed on unread";
        field.refuse("no such table where the listener reads what clients say", remedy);
        return None;
    }
    let mut claims = Claims(Vec::new());
    let rule = |section: Section<'a>| SniDraft {
        names: names(&section, &mut claims),
        pool: super::listener::pool_name(&section),
    };
    let sections = section.sections("sni", SNI_KEYS, ranges::MAX_SNI_RULES, "[[listener.sni]]");
    Some(sections.into_iter().map(rule).collect())
}

fn names(section: &Section<'_>, claims: &mut Claims<SniName>) -> Option<Vec<SniName>> {
    let field = section.required("names", "names = [\"a.example\", \"*.b.example\"]")?;
    let items = field.items();
    if items.is_empty() || items.len() > ranges::MAX_SNI_NAMES {
        field.refuse("1 to 256 names", "write the names that clients ask for, or leave the table out");
        return None;
    }
    let name = |item: &Field<'_>| {
        let remedy = "write a name, or `*.` and a name for all below it";
        let name = item.text("a name such as `a.example` or `*.b.example`", remedy, SniName::parse)?;
        claims.claim(name.clone(), item, "let each name stand in one rule");
        Some(name)
    };
    let names: Vec<_> = items.iter().map(name).collect();
    names.into_iter().collect()
}

/// What becomes of clients that ask for no name of a rule.
pub(super) fn otherwise(section: &Section<'_>) -> Option<UnknownName> {
    let Some(field) = section.field("sni_otherwise") else { return Some(UnknownName::Default) };
    if section.field("sni").is_none() {
        field.refuse("no such key without [[listener.sni]]", "remove it, or add rules");
        return None;
    }
    let remedy = "\"pool\" sends who asks for another name, or speaks no TLS, to `pool`; \"refuse\" ends the connection";
    field.text("\"pool\" or \"refuse\"", remedy, |text| match text {
        "pool" => Some(UnknownName::Default),
        "refuse" => Some(UnknownName::Refuse),
        _ => None,
    })
}

/// Puts each rule to its pool, by `position`.
pub(super) fn resolve(
    drafts: Vec<SniDraft<'_>>,
    mut position: impl FnMut(&Field<'_>, &str) -> Option<PoolIndex>,
) -> Option<Vec<SniRule>> {
    let resolved = drafts.into_iter().map(|draft| {
        let (field, name) = draft.pool?;
        let pool = position(&field, &name);
        Some(SniRule { names: draft.names?, pool: pool? })
    });
    let resolved: Vec<_> = resolved.collect();
    resolved.into_iter().collect()
}

impl SniDraft<'_> {
    /// The name of its pool.
    pub(super) fn pool_name(&self) -> Option<String> {
        self.pool.as_ref().map(|(_, name)| name.to_owned())
    }
}
