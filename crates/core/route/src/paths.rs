//! The routes of one host, found by path.
//!
//! Owns: the order of paths: the exact one, then the longest beginning, an expression counting as long as the text that
//! all it describes begins with. Invariant: one pass over the path finds every beginning that a route has.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use evenkeel_config::balancer::route::PathPattern;

use crate::frozen::{Frozen, Hash};

/// The place of a route among those of a table.
pub(crate) type RuleNumber = u32;

/// The routes of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    exact: Frozen<Vec<RuleNumber>>,
    starts: Frozen<Start>,
    any: Vec<RuleNumber>,
    /// The longest of the starts, in bytes.
    longest: usize,
    /// Whether a start may end within a part of a path.
    within_parts: bool,
}

/// A text that paths begin with.
#[derive(Debug, Clone, Default)]
struct Start {
    /// The longest of the others that this one begins with.
    parent: Option<u32>,
    /// Routes by expression, in order.
    expressions: Vec<RuleNumber>,
    /// Routes by prefix, in order.
    prefixes: Vec<RuleNumber>,
}

/// What routes of one host are gathered in.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    exact: BTreeMap<Box<[u8]>, Vec<RuleNumber>>,
    starts: BTreeMap<Box<[u8]>, Start>,
    any: Vec<RuleNumber>,
}

impl Gathered {
    /// Adds a route behind those that were added before.
    pub(crate) fn add(&mut self, path: &PathPattern, rule: RuleNumber) {
        match path {
            PathPattern::Any => self.any.push(rule),
            PathPattern::Exact(path) => self.exact.entry(path.as_bytes().into()).or_default().push(rule),
            PathPattern::Prefix(path) => {
                self.starts.entry(path.as_bytes().into()).or_default().prefixes.push(rule);
            }
            PathPattern::Regex(pattern) => {
                let literal = pattern.literal_prefix().as_bytes();
                self.starts.entry(literal.into()).or_default().expressions.push(rule);
            }
        }
    }

    pub(crate) fn freeze(self) -> Paths {
        let longest = self.starts.keys().map(|start| start.len()).max().unwrap_or_default();
        let within_parts = self.starts.values().any(|start| !start.expressions.is_empty());
        let mut starts = Frozen::new(self.starts);
        // In order of the keys, those that a key begins with are the ones still open before it.
        let mut open: Vec<(u32, Box<[u8]>)> = Vec::new();
        for (index, (key, start)) in (0..).zip(starts.values_mut()) {
            while open.pop_if(|(_, before)| !key.starts_with(before)).is_some() {}
            start.parent = open.last().map(|&(parent, _)| parent);
            open.push((index, key.into()));
        }
        Paths { exact: Frozen::new(self.exact), starts, any: self.any, longest, within_parts }
    }
}

impl Paths {
    /// The first route for `path`, in order, of which `takes` is true; whether its expression describes the path is for
    /// `takes` to say.
    pub(crate) fn find(&self, path: &[u8], takes: &mut dyn FnMut(RuleNumber) -> bool) -> Option<RuleNumber> {
        let mut first = |rules: &[RuleNumber]| rules.iter().copied().find(|&rule| takes(rule));
        if let Some(found) = self.exact.get(path).and_then(|rules| first(rules)) {
            return Some(found);
        }
        let mut next = self.longest_start(path);
        while let Some(index) = next {
            let start = self.starts.value(index);
            if let Some(found) = first(&start.expressions) {
                return Some(found);
            }
            if ends_part(path, self.starts.key(index).len())
                && let Some(found) = first(&start.prefixes)
            {
                return Some(found);
            }
            next = start.parent;
        }
        first(&self.any)
    }

    /// The longest start that `path` begins with.
    fn longest_start(&self, path: &[u8]) -> Option<u32> {
        if self.starts.is_empty() {
            return None;
        }
        let mut hash = Hash::EMPTY;
        let mut longest = None;
        for at in 0..=path.len().min(self.longest) {
            if self.within_parts || ends_part(path, at) {
                longest = self.starts.position(hash, &path[..at]).or(longest);
            }
            if let Some(&byte) = path.get(at) {
                hash = hash.and(byte);
            }
        }
        longest
    }
}

/// Whether a part of `path` ends at `at`: with the path, a slash, or the parameters that some servers know.
fn ends_part(path: &[u8], at: usize) -> bool {
    matches!(path.get(at), None | Some(b'/' | b';'))
}
