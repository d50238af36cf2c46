//! HTTP/2 by h2load (nghttp2): its arguments, and the reading of its report and its log.
//!
//! The percentiles come from the log, which has a line for each answer: when it was asked for, its status, how long it
//! took.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use super::{Load, Order, output, percentile};

/// Requests at once on each connection.
const STREAMS: u32 = 10;

/// Sends the traffic from a core.
pub(super) async fn run(order: Order, core: usize) -> Result<Load> {
    let log = tempfile::NamedTempFile::new().context("no temporary file")?;
    let text = output(order, core, &command(order, &log.path().display().to_string())).await?;
    let times = times(&fs::read_to_string(log.path()).context("cannot read h2load's log")?)
        .context("cannot read h2load's log")?;
    parse(&text, times).with_context(|| format!("cannot read what h2load printed:\n{text}"))
}

fn command(order: Order, log: &str) -> Vec<String> {
    let scenario = order.scenario;
    // As many requests under way as the other scenarios have.
    let connections = (order.connections / STREAMS).max(1);
    [
        "h2load".to_owned(),
        "--threads=1".to_owned(),
        format!("--clients={connections}"),
        format!("--max-concurrent-streams={STREAMS}"),
        format!("--duration={}", order.seconds()),
        "--warm-up-time=0".to_owned(),
        format!("--log-file={log}"),
        format!("{}://{}{}", scenario.scheme(), order.address, scenario.path()),
    ]
    .to_vec()
}

/// The third column of the log: µs that each answer took.
fn times(log: &str) -> Option<Vec<u32>> {
    log.lines().map(|line| line.split('\t').nth(2)?.trim().parse().ok()).collect()
}

fn parse(text: &str, mut times: Vec<u32>) -> Option<Load> {
    let line = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
    let count = |line: &str, what: &str| {
        line.split(", ").find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
    };
    let (finished, requests) = (line("finished in ")?, line("requests: ")?);
    let took = time(finished.split(',').next()?)?;
    let (codes, traffic) = (line("status codes: ")?, line("traffic: ")?);
    let succeeded = count(requests, "succeeded")?;
    let bytes = traffic.split_once('(')?.1.split_once(')')?.0.parse().ok()?;
    let errors = count(requests, "failed")? + count(codes, "4xx")? + count(codes, "5xx")?;
    times.sort_unstable();
    Some(Load {
        requests: succeeded,
        errors,
        received_bytes: bytes,
        per_second: f64::from(u32::try_from(succeeded).ok()?) / took.as_secs_f64(),
        p50_us: percentile(&times, 500),
        p99_us: percentile(&times, 990),
        p999_us: percentile(&times, 999),
    })
}

/// A time such as `3.00s` or `998.20ms`.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "starting benchmark...\n\nfinished in 2.00s, 87703.50 req/s, 5.94MB/s\n\
        requests: 175407 total, 175657 started, 175407 done, 175407 succeeded, 1 failed, 1 errored, 0 timeout\n\
        status codes: 175400 2xx, 0 3xx, 3 4xx, 4 5xx\n\
        traffic: 11.88MB (12455122) total, 8.03MB (8419536) headers (space savings 51.02%), 856.48KB (877035) data\n";

    #[test]
    fn a_report_and_its_log_are_read() {
        let load = parse(REPORT, times("1\t200\t526\n2\t200\t550\n").unwrap()).unwrap();
        assert_eq!((load.requests, load.errors, load.received_bytes), (175_407, 8, 12_455_122));
        assert_eq!((load.per_second, load.p50_us, load.p99_us), (87_703.5, 526.0, 550.0));
    }

    #[test]
    fn a_report_or_log_that_lacks_a_figure_is_refused() {
        for figure in ["finished in", "succeeded", "4xx", "traffic: "] {
            assert_eq!(parse(&REPORT.replace(figure, "?"), vec![1]), None, "{figure}");
        }
        assert_eq!(times("1\t200\n"), None);
    }
}
