//! Prometheus text exposition format 0.0.4.
//!
//! Owns: HELP, TYPE, labels and their escaping. Invariant: a family is written once, with HELP and TYPE
//! before its samples; names and labels are well-formed, checked when the constant is compiled.

use std::{fmt::Write as _, time::Duration};

use crate::Histogram;

/// The `Content-Type` of what [`Exposition::finish`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The two forms of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The text format 0.0.4 of Prometheus.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0: the name of a counter's family has no `_total`, and the page says where it ends.
    OpenMetrics,
}

impl Form {
    /// The form that an `Accept` field asks for (RFC 9110 §12.5.1): OpenMetrics when it names that at all, as Prometheus
    /// does that prefers it.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let names = accept.split(',').filter_map(|range| range.split(';').next());
        let asks = names.map(str::trim).any(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        if asks { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of a page of this form.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Metrics of one name. Make it a constant: a name against the conventions then does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
}

impl Family {
    /// What only grows; its name ends in `_total`.
    ///
    /// # Panics
    /// When the name is against the conventions.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        assert!(ends_with(name, "_total"), "a counter's name ends in _total");
        Self::new(name, help, Kind::Counter)
    }

    /// What goes up and down.
    ///
    /// # Panics
    /// When the name is against the conventions.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        assert!(!ends_with(name, "_total"), "only a counter's name ends in _total");
        Self::new(name, help, Kind::Gauge)
    }

    /// How long things took; its name ends in `_seconds`.
    ///
    /// # Panics
    /// When the name is against the conventions.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        assert!(ends_with(name, "_seconds"), "a histogram of durations ends in _seconds");
        Self::new(name, help, Kind::Histogram)
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    const fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        assert!(starts_with(name, "evenkeel_"), "a name begins with that of the product");
        assert!(is_name(name), "a name has small letters, digits and `_`");
        assert!(!help.is_empty(), "a metric without help is a riddle");
        Self { name, help, kind }
    }
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number of things or bytes.
    Count(u64),
    /// A length of time, written in seconds.
    Time(Duration),
    /// Yes or no, written 1 or 0.
    Flag(bool),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(time) => write!(f, "{}", seconds(*time)),
            Self::Flag(flag) => write!(f, "{}", u8::from(*flag)),
        }
    }
}

/// A duration in seconds, exactly, without needless zeros.
fn seconds(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => time.as_secs().to_string(),
        nanos => {
            let digits = format!("{}.{nanos:09}", time.as_secs());
            digits.trim_end_matches('0').to_owned()
        }
    }
}

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    form: Form,
    text: String,
    written: Vec<&'static str>,
}

impl Exposition {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty page of this form.
    #[must_use]
    pub fn of(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Begins a family; its samples follow.
    ///
    /// # Panics
    /// In builds with debug assertions, when the page has the family already.
    pub fn family(&mut self, family: Family) -> Samples<'_> {
        debug_assert!(!self.written.contains(&family.name), "{} is there already", family.name);
        self.written.push(family.name);
        let name = match self.form {
            Form::Prometheus => family.name,
            Form::OpenMetrics => family.name.strip_suffix("_total").unwrap_or(family.name),
        };
        let _ = writeln!(self.text, "# HELP {name} {}", escaped_help(family.help));
        let _ = writeln!(self.text, "# TYPE {name} {}", family.kind.as_str());
        Samples { text: &mut self.text, family }
    }

    /// The page.
    #[must_use]
    pub fn finish(mut self) -> String {
        match self.form {
            Form::Prometheus => {}
            Form::OpenMetrics => self.text.push_str("# EOF\n"),
        }
        self.text
    }
}

/// The samples of a family in the making.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut String,
    family: Family,
}

impl Samples<'_> {
    /// Adds a sample; `labels` are names and values, the names made as those of metrics are.
    ///
    /// # Panics
    /// In builds with debug assertions, when the family is a histogram or a label's name is malformed.
    pub fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) -> &mut Self {
        debug_assert!(self.family.kind != Kind::Histogram, "a histogram has more than one sample");
        self.line("", labels, None, value.into());
        self
    }

    /// Adds the samples of a histogram: its buckets, sum and count.
    ///
    /// # Panics
    /// In builds with debug assertions, when the family is not a histogram or a label's name is malformed.
    pub fn histogram(&mut self, labels: &[(&'static str, &str)], histogram: &Histogram) -> &mut Self {
        debug_assert!(self.family.kind == Kind::Histogram, "only a histogram has buckets");
        self.buckets(labels, histogram.buckets(), histogram.sum())
    }

    /// Adds the samples of a histogram by its buckets: each bound, `None` for the last, with how many were at most that
    /// long, and the sum of all.
    ///
    /// # Panics
    /// In builds with debug assertions, when the family is not a histogram or a label's name is malformed.
    pub fn buckets(
        &mut self,
        labels: &[(&'static str, &str)],
        buckets: impl IntoIterator<Item = (Option<Duration>, u64)>,
        sum: Duration,
    ) -> &mut Self {
        debug_assert!(self.family.kind == Kind::Histogram, "only a histogram has buckets");
        let mut all = 0;
        for (bound, count) in buckets {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), seconds);
            self.line("_bucket", labels, Some(&bound), Value::Count(count));
            all = count;
        }
        self.line("_sum", labels, None, Value::Time(sum));
        self.line("_count", labels, None, Value::Count(all));
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: Value) {
        self.text.push_str(self.family.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (name, label) in labels.iter().copied().chain(bound) {
            debug_assert!(is_name(name), "a label's name has small letters, digits and `_`");
            self.text.push(before);
            before = ',';
            let _ = write!(self.text, "{name}=\"");
            push_escaped_label(self.text, label);
            self.text.push('"');
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// `\`, `"` and line ends are escaped in labels.
fn push_escaped_label(text: &mut String, label: &str) {
    for character in label.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// `\` and line ends are escaped in help.
fn escaped_help(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', "\\n")
}

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let fits = match bytes[at] {
            b'a'..=b'z' | b'_' => true,
            b'0'..=b'9' => at > 0,
            _ => false,
        };
        if !fits {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

const fn starts_with(text: &str, start: &str) -> bool {
    matches_at(text, start, 0)
}

const fn ends_with(text: &str, end: &str) -> bool {
    text.len() >= end.len() && matches_at(text, end, text.len() - end.len())
}

const fn matches_at(text: &str, part: &str, from: usize) -> bool {
    if text.len() < from + part.len() {
        return false;
    }
    let mut at = 0;
    while at < part.len() {
        if text.as_bytes()[from + at] != part.as_bytes()[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact_and_short() {
        for (time, text) in [
            (Duration::ZERO, "0"),
            (Duration::from_millis(2500), "2.5"),
            (Duration::from_nanos(1), "0.000000001"),
            (Duration::from_secs(60), "60"),
        ] {
            assert_eq!(seconds(time), text);
        }
    }

    #[test]
    fn a_page_of_open_metrics_names_counters_without_their_suffix_and_says_where_it_ends() {
        let mut page =
            Exposition::of(Form::accepted("text/html, application/openmetrics-text;version=1.0.0;q=0.5"));
        page.family(Family::counter("evenkeel_x_total", "Xs.")).sample(&[], 3);
        assert_eq!(
            page.finish(),
            "# HELP evenkeel_x Xs.\n# TYPE evenkeel_x counter\nevenkeel_x_total 3\n# EOF\n"
        );
        assert_eq!(Form::accepted("text/plain;version=0.0.4, */*"), Form::Prometheus);
    }

    #[test]
    fn names_against_the_conventions_are_told_apart() {
        for (name, fits) in
            [("evenkeel_a1_total", true), ("1a", false), ("", false), ("A", false), ("a-b", false)]
        {
            assert_eq!(is_name(name), fits, "{name}");
        }
        assert!(ends_with("a_total", "_total") && !ends_with("total", "_total"));
        assert!(starts_with("evenkeel_x", "evenkeel_") && !starts_with("even", "evenkeel_"));
    }
}
