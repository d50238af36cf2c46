//! Walking a TOML text so that every error is found, each at its line.
//!
//! Owns: tables and fields with their place in the text, and the list of errors. Leaves to others: which
//! keys there are and what they mean. Invariant: a reader that answers `None` has noted why.

use alloc::{
    borrow::ToOwned as _,
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{cell::RefCell, fmt::Display, time::Duration};

use toml::de::{DeTable, DeValue};

use crate::{
    Error, Errors, MAX_FILE_BYTES, Problem,
    error::{nearest, shown},
    range::{self, Count, Span},
    scalar::{AbsolutePath, FilePath, HttpUrl, Name},
};

/// A file or folder that a configuration names, and where it does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedFile {
    /// The line, counted from 1.
    pub line: usize,
    /// The whole way to the key, such as `listener[web].tls.certificate`.
    pub key: String,
    /// The path as it stands there.
    pub path: String,
}

/// The errors found so far in one text.
pub(crate) struct Report<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
    broken_lines: Vec<usize>,
    errors: RefCell<Vec<Error>>,
    files: RefCell<Vec<NamedFile>>,
}

/// Reads `text` by `read`, which gets its top table; there is a result only when nothing was noted.
pub(crate) fn parse<T>(
    file: &str,
    text: &str,
    known: &'static [&'static str],
    read: impl FnOnce(&Section<'_>) -> Option<T>,
) -> Result<T, Errors> {
    let mut report = Report::new(file, text);
    if text.len() > MAX_FILE_BYTES {
        report.note(1, Problem::TooLong { bytes: text.len(), most: MAX_FILE_BYTES });
        return Err(report.conclude());
    }
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let line = report.line(error.span().map_or(0, |span| span.start));
        let message = shown(error.message());
        report.note(line, Problem::Syntax { message: format!("the text is not TOML: {message}") });
        report.broken_lines.push(line);
    }
    let value = read(&Section::new(&report, Some(table.get_ref()), 1, String::new(), known));
    match value {
        Some(value) if report.errors.borrow().is_empty() => Ok(value),
        Some(_) | None => Err(report.conclude()),
    }
}

impl<'a> Report<'a> {
    fn new(file: &'a str, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = core::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self {
            file,
            line_starts,
            broken_lines: Vec::new(),
            errors: RefCell::default(),
            files: RefCell::default(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// Notes an error, unless a syntax error may be its cause: then mending that one comes first.
    fn note(&self, line: usize, problem: Problem) {
        let follows = match problem {
            Problem::Missing { .. } | Problem::Unresolved { .. } => !self.broken_lines.is_empty(),
            Problem::Syntax { .. }
            | Problem::TooLong { .. }
            | Problem::UnknownKey { .. }
            | Problem::Invalid { .. }
            | Problem::Repeated { .. }
            | Problem::TooMany { .. } => self.broken_lines.contains(&line),
        };
        let first = matches!(problem, Problem::Syntax { .. });
        if first || !follows {
            self.errors.borrow_mut().push(Error { file: self.file.to_owned(), line, problem });
        }
    }

    fn conclude(self) -> Errors {
        Errors::of(self.errors.into_inner()).expect("a reader that answers None has noted why")
    }
}

/// A table of the text, or one that is not there and has only defaults.
pub(crate) struct Section<'a> {
    report: &'a Report<'a>,
    table: Option<&'a DeTable<'a>>,
    line: usize,
    path: String,
    known: &'static [&'static str],
    /// Keys that an unknown key was probably meant to be; their absence is no error of its own.
    misspelt: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(
        report: &'a Report<'a>,
        table: Option<&'a DeTable<'a>>,
        line: usize,
        path: String,
        known: &'static [&'static str],
    ) -> Self {
        let mut section = Self { report, table, line, path, known, misspelt: Vec::new() };
        section.refuse_unknown_keys();
        section
    }

    /// The line where the table starts.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Every file that was read of so far, in the order in which the keys were.
    pub(crate) fn named_files(&self) -> Vec<NamedFile> {
        self.report.files.borrow().clone()
    }

    /// The whole way to `key`.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn note(&self, line: usize, problem: Problem) {
        self.report.note(line, problem);
    }

    /// Notes that the table on line `first` is for the same.
    pub(crate) fn refuse_repeated(&self, first: usize, remedy: &'static str) {
        let (key, value) = (self.path.clone(), "{…}".to_owned());
        self.note(self.line, Problem::Repeated { key, value, first, remedy });
    }

    fn refuse_unknown_keys(&mut self) {
        let keys = self.table.into_iter().flat_map(DeTable::keys);
        for key in keys.filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let nearest = nearest(key.get_ref(), self.known.iter().copied());
            self.misspelt.extend(nearest);
            let name = self.key(&format!("`{}`", shown(key.get_ref())));
            let line = self.report.line(key.span().start);
            self.note(line, Problem::UnknownKey { key: name, nearest, allowed: self.known });
        }
    }

    /// The value of `key`, when it is there.
    pub(crate) fn field(&self, key: &str) -> Option<Field<'a>> {
        debug_assert!(self.known.contains(&key), "`{key}` is read and so must be known");
        let value = self.table?.get(key)?;
        let line = self.report.line(value.span().start);
        Some(Field { report: self.report, key: self.key(key), line, value: value.get_ref() })
    }

    /// The value of `key`; notes that it is missing, with `example` as the remedy.
    pub(crate) fn required(&self, key: &str, example: &'static str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() && !self.misspelt.contains(&key) {
            self.note(self.line, Problem::Missing { key: self.key(key), example });
        }
        field
    }

    /// What `read` makes of the value of `key`, when it is there; `None` where something is wrong with it.
    pub(crate) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        self.field(key).map_or(Some(None), |field| read(&field).map(Some))
    }

    /// The whole number of `key`, or the range's default.
    pub(crate) fn count(&self, key: &str, range: Count) -> Option<u64> {
        match self.field(key) {
            Some(field) => field.count(range),
            None => Some(range.default),
        }
    }

    /// The duration of `key`, or the range's default.
    pub(crate) fn duration(&self, key: &str, range: Span) -> Option<Duration> {
        match self.field(key) {
            Some(field) => field.duration(range),
            None => Some(range.default),
        }
    }

    /// The table of `key`; one of defaults when it is not there.
    pub(crate) fn section(&self, key: &str, known: &'static [&'static str]) -> Option<Section<'a>> {
        match self.field(key) {
            Some(field) => field.table(known),
            None => Some(Section::new(self.report, None, self.line, self.key(key), known)),
        }
    }

    /// What `read` makes of the table of `key`, when it is there; `None` where something is wrong with it.
    pub(crate) fn optional_section<T>(
        &self,
        key: &str,
        known: &'static [&'static str],
        read: impl FnOnce(&Section<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.field(key) {
            Some(field) => read(&field.table(known)?).map(Some),
            None => Some(None),
        }
    }

    /// Whether the text has this table.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The tables of `key`, written `[[key]]`; `example` is the remedy when there is none.
    pub(crate) fn sections(
        &self,
        key: &str,
        known: &'static [&'static str],
        most: usize,
        example: &'static str,
    ) -> Vec<Section<'a>> {
        let Some(field) = self.required(key, example) else { return Vec::new() };
        if matches!(field.value, DeValue::Array(items) if items.is_empty()) {
            self.note(field.line, Problem::Missing { key: field.key.clone(), example });
        }
        self.tables(key, known, most)
    }

    /// The tables of `key`, written `[[key]]`; there may be none.
    pub(crate) fn tables(&self, key: &str, known: &'static [&'static str], most: usize) -> Vec<Section<'a>> {
        let Some(field) = self.field(key) else { return Vec::new() };
        let DeValue::Array(items) = field.value else {
            field.refuse(
                format!("tables, each starting with a line `[[{}]]`", plain(&field.key)),
                "write it so",
            );
            return Vec::new();
        };
        if items.len() > most {
            let count = items.len();
            self.note(field.line, Problem::TooMany { key: field.key.clone(), count, most });
        }
        let numbered = items.iter().take(most).enumerate();
        let table = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let label = match item.get_ref().get("name").and_then(|name| name.get_ref().as_str()) {
                Some(name) if Name::parse(name).is_some() => name.to_owned(),
                Some(_) | None => (index + 1).to_string(),
            };
            let line = self.report.line(item.span().start);
            let key = format!("{}[{label}]", field.key);
            Field { report: self.report, key, line, value: item.get_ref() }.table(known)
        };
        numbered.filter_map(table).collect()
    }
}

/// The way to a key without the names in brackets.
fn plain(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// A value of the text with its key and place.
pub(crate) struct Field<'a> {
    report: &'a Report<'a>,
    key: String,
    line: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// What `read` makes of each text in a list of at most `most`.
    pub(crate) fn texts<T>(
        &self,
        most: usize,
        expected: &str,
        remedy: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(items) = self.value else {
            self.refuse("a list in brackets", "write its items in brackets, with commas between them");
            return None;
        };
        if items.len() > most {
            let (key, count) = (self.key.clone(), items.len());
            self.report.note(self.line, Problem::TooMany { key, count, most });
        }
        let item = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let line = self.report.line(item.span().start);
            let key = format!("{}[{}]", self.key, index + 1);
            Field { report: self.report, key, line, value: item.get_ref() }.text(expected, remedy, &read)
        };
        // All are read before one decides, so that every error is found.
        let values: Vec<_> = items.iter().take(most).enumerate().map(item).collect();
        values.into_iter().collect()
    }

    /// The value, when it is text.
    pub(crate) fn as_text(&self) -> Option<String> {
        self.value.as_str().map(str::to_owned)
    }

    /// The value, when it is `true` or `false`.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// Whether the value is a table.
    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// The value as a table with these keys; notes it when it is none.
    pub(crate) fn as_section(&self, known: &'static [&'static str]) -> Option<Section<'a>> {
        self.at(self.key.clone(), self.value, self.line).table(known)
    }

    /// The items of a list; the value itself when it is none.
    pub(crate) fn items(&self) -> Vec<Field<'a>> {
        let DeValue::Array(items) = self.value else {
            return Vec::from([self.at(self.key.clone(), self.value, self.line)]);
        };
        let item = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let line = self.report.line(item.span().start);
            self.at(format!("{}[{}]", self.key, index + 1), item.get_ref(), line)
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The entries of a table whose keys are free; notes it when it is none.
    pub(crate) fn entries(&self) -> Option<Vec<(String, Field<'a>)>> {
        let Some(table) = self.value.as_table() else {
            self.refuse("a table such as { name = \"value\" }", "write names and values in braces");
            return None;
        };
        let entry =
            |(name, value): (&toml::Spanned<alloc::borrow::Cow<'a, str>>, &'a toml::Spanned<DeValue<'a>>)| {
                let name: String = name.get_ref().to_string();
                let line = self.report.line(value.span().start);
                let field = self.at(format!("{}.{}", self.key, shown(&name)), value.get_ref(), line);
                (name, field)
            };
        Some(table.iter().map(entry).collect())
    }

    fn at(&self, key: String, value: &'a DeValue<'a>, line: usize) -> Field<'a> {
        Field { report: self.report, key, line, value }
    }

    /// What `read` makes of the whole number that the value is.
    pub(crate) fn number<T>(
        &self,
        expected: &str,
        remedy: &'static str,
        read: impl FnOnce(u64) -> Option<T>,
    ) -> Option<T> {
        let value = self.integer().and_then(read);
        if value.is_none() {
            self.refuse(expected, remedy);
        }
        value
    }

    fn integer(&self) -> Option<u64> {
        self.value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
    }

    /// Notes that the value is not allowed.
    pub(crate) fn refuse(&self, expected: impl Display, remedy: &'static str) {
        let (key, value) = (self.key.clone(), self.shown());
        let problem = Problem::Invalid { key, value, expected: expected.to_string(), remedy };
        self.report.note(self.line, problem);
    }

    /// Notes that `first` has the same value.
    pub(crate) fn refuse_repeated(&self, first: usize, remedy: &'static str) {
        let (key, value) = (self.key.clone(), self.shown());
        self.report.note(self.line, Problem::Repeated { key, value, first, remedy });
    }

    /// Notes that nothing has this name.
    pub(crate) fn refuse_unresolved(&self, known: Vec<String>) {
        let value = self.shown();
        let nearest = nearest(&value, known.iter().map(String::as_str)).map(str::to_owned);
        let key = self.key.clone();
        self.report.note(self.line, Problem::Unresolved { key, value, known, nearest });
    }

    /// The value as the file has it, more or less.
    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => shown(text),
            DeValue::Integer(number) => shown(&number.to_string()),
            DeValue::Float(number) => shown(&number.to_string()),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "[…]".to_owned(),
            DeValue::Table(_) => "{…}".to_owned(),
        }
    }

    /// The text that `read` makes of the value.
    pub(crate) fn text<T>(
        &self,
        expected: &str,
        remedy: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value.as_str().and_then(read);
        if value.is_none() {
            self.refuse(expected, remedy);
        }
        value
    }

    pub(crate) fn name(&self) -> Option<Name> {
        self.text(
            Name::EXPECTED,
            "it stands in metrics, logs and commands, so it needs to be plain",
            Name::parse,
        )
    }

    pub(crate) fn path(&self) -> Option<AbsolutePath> {
        let path = self.text(AbsolutePath::EXPECTED, "write the whole path from `/`", AbsolutePath::parse)?;
        self.names_file(path.as_str());
        Some(path)
    }

    pub(crate) fn file(&self) -> Option<FilePath> {
        let remedy = "write a path from `/`, or one from the folder of this file";
        let path = self.text(FilePath::EXPECTED, remedy, FilePath::parse)?;
        self.names_file(path.as_str());
        Some(path)
    }

    /// Notes that the value is the path of a file.
    pub(crate) fn names_file(&self, path: &str) {
        let (key, path) = (self.key.clone(), path.to_owned());
        self.report.files.borrow_mut().push(NamedFile { line: self.line, key, path });
    }

    pub(crate) fn url(&self) -> Option<HttpUrl> {
        let remedy = "write scheme `http://`, host and, unless it is 80, the port";
        self.text(HttpUrl::EXPECTED, remedy, HttpUrl::parse)
    }

    pub(crate) fn duration(&self, range: Span) -> Option<Duration> {
        let fits = |span: &Duration| (range.least..=range.most).contains(span);
        let remedy = "write a whole number and a unit in quotes (ms, s, m, h or d)";
        self.text(&range.expected(), remedy, |text| range::duration(text).filter(fits))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        let DeValue::Boolean(flag) = self.value else {
            self.refuse("`true` or `false`", "write it without quotes");
            return None;
        };
        Some(*flag)
    }

    pub(crate) fn count(&self, range: Count) -> Option<u64> {
        let number = self.integer().filter(|number| (range.least..=range.most).contains(number));
        if number.is_none() {
            self.refuse(range.expected(), "write a number in this range, without quotes");
        }
        number
    }

    fn table(self, known: &'static [&'static str]) -> Option<Section<'a>> {
        let Some(table) = self.value.as_table() else {
            self.refuse(format!("a table, starting with a line `[{}]`", plain(&self.key)), "write it so");
            return None;
        };
        Some(Section::new(self.report, Some(table), self.line, self.key, known))
    }
}
