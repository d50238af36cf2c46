//! Reports as tables in Markdown: one of all scenarios with the marks, one for each scenario, one of growth.

use crate::{
    report::{Figures, OURS, Report},
    scenario::{Against, Mark, Scenario},
};

/// A figure that there is not.
const NONE: &str = "–";

/// The proxies of one scenario.
pub(crate) fn proxies(report: &Report) -> String {
    let idle = report.scenario.idle() > 0;
    let mut table = String::from(
        "| proxy | CPU µs per request | of it in the program | ours / its | system calls per request | requests/s | \
         p50 ms | p99 ms | p99.9 ms | peak RSS MiB |",
    );
    table += if idle { " bytes per idle connection | errors |\n" } else { " errors |\n" };
    table += &"|---".repeat(if idle { 12 } else { 11 });
    table += "|\n";
    for (name, figures) in &report.proxies {
        if figures.left_out.is_none() {
            table += &row(report, name, figures, idle);
        }
    }
    for (name, figures) in &report.proxies {
        if let Some(reason) = &figures.left_out {
            table += &format!("\n{name} was not measured: {}.\n", reason.lines().next().unwrap_or_default());
        }
    }
    table
}

#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn row(report: &Report, name: &str, figures: &Figures, idle: bool) -> String {
    let calls = figures.system_calls_per_request.map_or(NONE.to_owned(), |calls| format!("{calls:.2}"));
    let memory = figures.idle_bytes_per_connection.map_or(NONE.to_owned(), |bytes| bytes.to_string());
    format!(
        "| {name} {} | {:.1} | {:.1} | {} | {calls} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {}{} |\n",
        figures.version,
        figures.cpu_us_per_request,
        figures.user_us_per_request,
        ratio(report.ratio_to(name)),
        figures.requests_per_second,
        figures.p50_us / 1e3,
        figures.p99_us / 1e3,
        figures.p999_us / 1e3,
        figures.peak_rss_bytes as f64 / f64::from(1 << 20),
        if idle { format!("{memory} | ") } else { String::new() },
        figures.errors,
    )
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or(NONE.to_owned(), |ratio| format!("{ratio:.2}"))
}

/// CPU per request in every scenario, the ratios, and whether the marks are kept.
pub(crate) fn overview(reports: &[Report]) -> String {
    let mut table = String::from(
        "| scenario | Evenkeel, CPU µs | HAProxy | ratio | nginx | ratio | ratio to the best | mark | kept |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for report in reports {
        let cpu = |name: &str| {
            let figures = report.proxies.get(name).filter(|figures| figures.requests > 0);
            figures.map_or(NONE.to_owned(), |figures| format!("{:.1}", figures.cpu_us_per_request))
        };
        let marks = report.scenario.marks();
        let kept = marks.iter().map(|mark| report.keeps(*mark)).collect::<Option<Vec<_>>>();
        table += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            report.scenario,
            cpu(OURS),
            cpu("haproxy"),
            ratio(report.ratio_to("haproxy")),
            cpu("nginx"),
            ratio(report.ratio_to("nginx")),
            ratio(report.ratio(Against::Best)),
            if marks.is_empty() {
                NONE.to_owned()
            } else {
                marks.iter().map(in_words).collect::<Vec<_>>().join(", ")
            },
            match kept {
                None => NONE,
                Some(kept) if kept.is_empty() => NONE,
                Some(kept) if kept.iter().all(|kept| *kept) => "yes",
                Some(_) => "no",
            },
        );
    }
    table
}

fn in_words(mark: &Mark) -> String {
    let whom = match mark.against {
        Against::Peer(peer) => peer,
        Against::Best => "the best",
    };
    format!("{:.2} × {whom}", f64::from(mark.per_mille) / 1e3)
}

/// How CPU per request grows with servers and with routes: each figure divided by that of the first row of its kind.
pub(crate) fn growth(reports: &[Report]) -> String {
    let mut table = String::new();
    let kinds: [fn(&Report) -> bool; 2] = [
        |report| matches!(report.scenario, Scenario::Servers(_)),
        |report| matches!(report.scenario, Scenario::Routes(_)),
    ];
    for kind in kinds {
        let rows: Vec<&Report> = reports.iter().filter(|report| kind(report)).collect();
        let Some(first) = rows.first() else { continue };
        let names: Vec<&String> = first.proxies.keys().collect();
        table += "\n| growth of CPU per request |";
        table += &names.iter().map(|name| format!(" {name} |")).collect::<String>();
        table += "\n|---";
        table += &"|---".repeat(names.len());
        table += "|\n";
        for report in &rows {
            table += &format!("| `{}` |", report.scenario);
            for name in &names {
                let cpu = |report: &Report| {
                    let figures = report.proxies.get(*name).filter(|figures| figures.requests > 0);
                    figures.map(|figures| figures.cpu_us_per_request)
                };
                let grown = cpu(report).zip(cpu(first)).map(|(now, first)| now / first);
                table += &format!(" × {} |", ratio(grown));
            }
            table += "\n";
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_scenario_shows_each_proxy_with_its_ratio() {
        let mut report = report(Scenario::Keepalive, &[(OURS, 15, 0), ("haproxy", 20, 0)]);
        report.set_version(OURS, "0.1.0".to_owned());
        report.set_system_calls(OURS, 4.04);
        let table = proxies(&report);
        let row = "| evenkeel 0.1.0 | 15.0 | 3.8 | 1.00 | 4.04 | 250 | 1.00 | 2.00 | 3.00 | 0.0 | 0 |";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("| haproxy  | 20.0 | 5.0 | 0.75 | – |"), "{table}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(row)), "{table}");
    }

    #[test]
    fn idle_connections_have_a_column_of_their_own() {
        let mut report = report(Scenario::Idle(10_000), &[(OURS, 15, 0)]);
        report.set_idle_memory(OURS, 640);
        let table = proxies(&report);
        assert!(table.contains("| 640 | 0 |\n"), "{table}");
        let first = table.lines().next().unwrap().matches('|').count();
        assert!(table.lines().all(|line| line.matches('|').count() == first), "{table}");
    }

    #[test]
    fn the_overview_says_which_marks_are_kept() {
        let table = overview(&[
            report(Scenario::Keepalive, &[(OURS, 15, 0), ("haproxy", 20, 0), ("nginx", 30, 0)]),
            report(Scenario::NewConnection, &[(OURS, 15, 0), ("haproxy", 20, 0), ("nginx", 30, 0)]),
            report(Scenario::Websocket, &[(OURS, 15, 0)]),
        ]);
        assert!(table.contains("| 0.75 | 0.60 × haproxy, 0.75 × nginx | no |"), "{table}");
        assert!(table.contains("| 0.75 | 0.80 × the best | yes |"), "{table}");
        assert!(table.contains("| `websocket` | 15.0 | – | – | – | – | – | – | – |"), "{table}");
    }

    #[test]
    fn growth_is_relative_to_the_first_row() {
        let table = growth(&[
            report(Scenario::Servers(1), &[(OURS, 10, 0)]),
            report(Scenario::Servers(1_000), &[(OURS, 15, 0)]),
        ]);
        assert!(table.contains("| `servers-1` | × 1.00 |"), "{table}");
        assert!(table.contains("| `servers-1000` | × 1.50 |"), "{table}");
    }
}
