//! The load: wrk, pinned to its core, and what it prints.
//!
//! Owns: wrk's arguments and the reading of its report (wrk 4.1). A report that cannot be read whole is an error.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::scenario::Scenario;

/// What one run of the load generator saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Answers that arrived whole.
    pub(crate) requests: u64,
    /// Requests that failed: no connection, no answer, or a status of 400 and above.
    pub(crate) errors: u64,
    /// Answers a second.
    pub(crate) per_second: f64,
    /// Half of the answers came within this time.
    pub(crate) median: Duration,
    /// All but one in a hundred came within this time.
    pub(crate) p99: Duration,
}

/// Sends traffic of a scenario to an address for a while.
pub(crate) async fn run(
    scenario: Scenario,
    address: SocketAddr,
    connections: u32,
    length: Duration,
    core: usize,
) -> Result<Load> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string(), "wrk", "--threads", "1", "--latency", "--timeout", "10s"]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{}s", length.as_secs().max(1))]);
    if scenario.closes() {
        command.args(["--header", "Connection: close"]);
    }
    command.arg(format!("http://{address}{}", scenario.path()));
    let output =
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("cannot start wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("cannot read what wrk printed:\n{text}"))
}

fn parse(text: &str) -> Option<Load> {
    let after =
        |prefix: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(prefix)).map(str::trim);
    let served = text.lines().find(|line| line.contains(" requests in "))?;
    Some(Load {
        requests: served.split_whitespace().next()?.parse().ok()?,
        errors: after("Socket errors:").map_or(Some(0), socket_errors)?
            + after("Non-2xx or 3xx responses:").map_or(Some(0), |count| count.parse().ok())?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        median: time(after("50%")?)?,
        p99: time(after("99%")?)?,
    })
}

/// The sum in `connect 0, read 1, write 0, timeout 2`.
fn socket_errors(text: &str) -> Option<u64> {
    text.split(", ").map(|part| part.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// A time such as `7.50ms`.
fn time(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let microseconds = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * microseconds / 1e6).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 4s test @ http://127.0.0.1:1/1k\n  1 threads and 256 connections\n\
        \x20 Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     7.33ms    2.48ms  36.87ms   82.05%\n\
        \x20 Latency Distribution\n     50%    7.50ms\n     75%    8.49ms\n     90%    9.59ms\n     99%   14.81ms\n\
        \x20 138420 requests in 4.03s, 146.00MB read\nRequests/sec:  34347.05\nTransfer/sec:     36.23MB\n";

    #[test]
    fn a_report_of_wrk_is_read() {
        let expected = Load {
            requests: 138_420,
            errors: 0,
            per_second: 34_347.05,
            median: Duration::from_micros(7500),
            p99: Duration::from_micros(14_810),
        };
        assert_eq!(parse(REPORT), Some(expected));
    }

    #[test]
    fn every_kind_of_error_counts() {
        let report = REPORT.replace(
            "Requests/sec:",
            "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\nRequests/sec:",
        );
        assert_eq!(parse(&report).map(|load| load.errors), Some(15));
    }

    #[test]
    fn a_report_that_lacks_a_figure_is_refused() {
        for figure in [" requests in ", "Requests/sec:", "50%", "99%"] {
            assert_eq!(parse(&REPORT.replace(figure, "?")), None, "{figure}");
        }
    }
}
