//! `docs/performance.md` and the figures behind it, `docs/performance.json`.
//!
//! Owns: the part of the page between two markers, made anew from all figures, and the newest report of each scenario,
//! one a line. Leaves to people: the rest of the page, which is kept as it is.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{report::Report, scenario::Scenario, table};

const BEGIN: &str =
    "<!-- Made by scripts/bench from performance.json; what is written here by hand is lost. -->";
const END: &str = "<!-- End of what scripts/bench makes. -->";

/// A report, with where and how it came about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The day, in UTC.
    pub(crate) day: String,
    /// Processor, cores, kernel, operating system.
    pub(crate) machine: String,
    /// What measures it again.
    pub(crate) command: String,
    /// The figures.
    pub(crate) report: Report,
}

impl Entry {
    /// A report of today, on this machine.
    pub(crate) fn new(report: Report) -> Self {
        let Report { scenario, rounds, seconds_per_round, .. } = report;
        Self {
            day: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            machine: machine(),
            command: format!("scripts/bench {scenario} --rounds {rounds} --seconds {seconds_per_round}"),
            report,
        }
    }
}

/// What the figures depend on, as far as the machine tells.
fn machine() -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix([':', '=']));
        line.map(|value| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor = value(&text("/proc/cpuinfo"), "model name");
    let kernel = text("/proc/sys/kernel/osrelease");
    let release = value(&text("/etc/os-release"), "PRETTY_NAME");
    let openssl =
        Command::new("openssl").arg("version").output().map(|output| output.stdout).unwrap_or_default();
    let openssl = String::from_utf8_lossy(&openssl);
    let openssl = openssl.split(" (").next().unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{cores} cores of {processor}, Linux {kernel}, {release}, {}", openssl.trim())
}

/// Adds reports to the figures of a folder, replacing older ones of the same scenarios, and makes the page anew.
///
/// # Errors
/// When a file cannot be read or written, or the page lacks its markers.
pub(crate) fn update(folder: &Path, entries: Vec<Entry>) -> Result<()> {
    let (figures, page) = (folder.join("performance.json"), folder.join("performance.md"));
    let mut all = read(&figures)?;
    all.extend(entries.into_iter().map(|entry| (entry.report.scenario, entry)));
    let lines = all.values().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    fs::write(&figures, format!("[\n{}\n]\n", lines.join(",\n")))
        .with_context(|| format!("cannot write {}", figures.display()))?;
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = replace(&text, &render(&all))
        .with_context(|| format!("{} lacks the lines `{BEGIN}` and `{END}`", page.display()))?;
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn read(figures: &Path) -> Result<BTreeMap<Scenario, Entry>> {
    if !figures.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(figures).with_context(|| format!("cannot read {}", figures.display()))?;
    let entries: Vec<Entry> =
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", figures.display()))?;
    Ok(entries.into_iter().map(|entry| (entry.report.scenario, entry)).collect())
}

/// The page with another text between the markers.
fn replace(page: &str, made: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{made}\n{END}{after}"))
}

fn render(entries: &BTreeMap<Scenario, Entry>) -> String {
    let reports: Vec<Report> = entries.values().map(|entry| entry.report.clone()).collect();
    let mut text = table::overview(&reports);
    text += &table::growth(&reports);
    for Entry { day, machine, command, report } in entries.values() {
        text += &format!(
            "\n### `{}`\n\n{}. `{command}` on {day}, {machine}.\n\n{}",
            report.scenario,
            capital(&report.scenario.describe()),
            table::proxies(report)
        );
    }
    text
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{OURS, tests::report};

    #[test]
    fn what_is_written_by_hand_is_kept_and_figures_of_other_scenarios_too() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("performance.md");
        fs::write(&page, format!("# By hand\n\n{BEGIN}\nold\n{END}\n\nthe end\n")).unwrap();
        let entry = |scenario, microseconds| Entry::new(report(scenario, &[(OURS, microseconds, 0)]));
        update(folder.path(), vec![entry(Scenario::Keepalive, 77), entry(Scenario::Tcp, 15)]).unwrap();
        update(folder.path(), vec![entry(Scenario::Keepalive, 25)]).unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.starts_with("# By hand\n") && text.ends_with(&format!("{END}\n\nthe end\n")), "{text}");
        assert!(!text.contains("old") && !text.contains("77.0"), "{text}");
        assert!(text.contains("| `keepalive` | 25.0 |") && text.contains("| `tcp` | 15.0 |"), "{text}");
    }

    #[test]
    fn a_page_without_markers_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("performance.md");
        fs::write(&page, "by hand").unwrap();
        let entries = vec![Entry::new(report(Scenario::Tcp, &[(OURS, 1, 0)]))];
        assert!(update(folder.path(), entries).is_err());
        assert_eq!(fs::read_to_string(&page).unwrap(), "by hand");
    }
}
