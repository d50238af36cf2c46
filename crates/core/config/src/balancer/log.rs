//! `[access_log]`: whether, where and how requests are written down.

use evenkeel_units::PerMille;

use super::{per_mille, ranges};
use crate::{
    document::{Field, Section},
    scalar::AbsolutePath,
};

/// Where requests are logged, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
    /// How many of the requests that went well are written; those that did not always are.
    pub sample: PerMille,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output, written `-`: the journal, when systemd runs the daemon.
    Stdout,
    /// The end of this file.
    File(AbsolutePath),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Words and `key=value`, for people.
    Text,
    /// The form that Apache httpd and nginx call combined, for programs that read theirs.
    Combined,
}

const LOG_KEYS: &[&str] = &["path", "format", "sample_per_mille"];

/// Where requests are logged; the inner `None` when the file does not ask for it.
pub(super) fn access_log(top: &Section<'_>) -> Option<Option<AccessLog>> {
    let section = top.section("access_log", LOG_KEYS)?;
    if !section.is_present() {
        return Some(None);
    }
    let target = section.required("path", "path = \"-\"").and_then(|field| log_target(&field));
    let format = log_format(&section);
    let sample = per_mille(&section, "sample_per_mille", ranges::LOG_SAMPLE);
    Some(Some(AccessLog { target: target?, format: format?, sample: sample? }))
}

fn log_target(field: &Field<'_>) -> Option<LogTarget> {
    let remedy = "write \"-\" for standard output, else the whole path of a file";
    let target = field.text("`-` or an absolute path", remedy, |text| match text {
        "-" => Some(LogTarget::Stdout),
        path => AbsolutePath::parse(path).map(LogTarget::File),
    })?;
    if let LogTarget::File(path) = &target {
        field.names_file(path.as_str());
    }
    Some(target)
}

fn log_format(section: &Section<'_>) -> Option<LogFormat> {
    let Some(field) = section.field("format") else { return Some(LogFormat::Json) };
    field.text(
        "\"json\", \"combined\" or \"text\"",
        "write \"json\" for programs, \"combined\" for those that read web servers' logs, \"text\" for people",
        |text| match text {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            "combined" => Some(LogFormat::Combined),
            _ => None,
        },
    )
}
