//! The fields of a head for those who route by them, and what may be changed of a head on its way.
//!
//! Owns: walking over the lines that go on, and writing them with lines taken out and put in. Leaves to others: which
//! lines those are, and that what is put in is well-formed. Invariant: only lines that go on are seen, so a field that
//! Connection names decides nothing.

use alloc::vec::Vec;

use crate::{RequestHead, ResponseHead, Span, target::Form};

/// What is changed of a head on its way.
///
/// Fields that frame a message or belong to one hop are not for edits, except for who changes the content with them:
/// whoever makes edits from a configuration refuses those names there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edits<'a> {
    /// The target in the place of the client's, in origin-form; `None` keeps it. For requests only.
    pub target: Option<&'a [u8]>,
    /// Names of fields whose lines are taken out, in any case.
    pub remove: &'a [&'a [u8]],
    /// Whole lines that are put in behind all others, each ending with CR LF.
    pub add: &'a [u8],
}

impl Edits<'_> {
    pub(crate) fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|removed| removed.eq_ignore_ascii_case(name))
    }
}

/// Name and value of a line without its end; the value without the white space around it.
fn name_and_value(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or_default();
    (&line[..colon], value.trim_ascii())
}

/// The lines that go on, each with its end, and with whether it is one that is cut.
fn lines<'b>(bytes: &'b [u8], lines: Span, cuts: &'b [Span]) -> impl Iterator<Item = &'b [u8]> {
    let mut start = lines.start();
    let mut cuts = cuts.iter().peekable();
    lines.of(bytes).split_inclusive(|&b| b == b'\n').filter(move |line| {
        let at = start;
        start += line.len();
        while cuts.next_if(|cut| cut.end() <= at).is_some() {}
        cuts.peek().is_none_or(|cut| at < cut.start())
    })
}

/// Copies the lines that go on without those that the edits take out, then puts in what they add.
pub(crate) fn write(bytes: &[u8], all: Span, cuts: &[Span], edits: &Edits<'_>, out: &mut Vec<u8>) {
    for line in lines(bytes, all, cuts) {
        if !edits.removes(name_and_value(line).0) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(edits.add);
}

impl RequestHead {
    /// What the server is asked for; without its `/` where an absolute-form target has no path (RFC 9112 §3.2.1).
    #[must_use]
    pub fn asked_target<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self.form {
            Form::Asterisk => b"*",
            Form::Kept | Form::Path | Form::Query => self.target.of(bytes),
        }
    }

    /// Name and value of each field that goes on to the server; `bytes` are those that the head was parsed from.
    pub fn fields<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        lines(bytes, self.lines, self.cuts.as_slice()).map(name_and_value)
    }
}

impl ResponseHead {
    /// Name and value of each field that goes on to the client; `bytes` are those that the head was parsed from.
    pub fn fields<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        lines(bytes, self.lines, self.cuts.as_slice()).map(name_and_value)
    }
}
