//! HTTP/1.1 by wrk: its arguments, the script that it runs, and the reading of what the script prints.
//!
//! wrk's own report lacks the last percentile, so that a script of ours prints every figure as one JSON line. wrk may
//! resume TLS sessions, so that it counts no handshakes here.

use std::{io::Write as _, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Load, Order, output};
use crate::scenario::Scenario;

/// What the script's line begins with.
const PREFIX: &str = "evenkeel-bench ";

/// Prints the figures of wrk's `summary` and `latency` (wrk 4, `SCRIPTING`), times in µs.
const DONE: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('evenkeel-bench {"requests":%d,"bytes":%d,"duration_us":%d,"connect":%d,"read":%d,' ..
    '"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n', summary.requests, summary.bytes,
    summary.duration, e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9)))
end
"#;

#[derive(Deserialize)]
struct Line {
    requests: u64,
    bytes: u64,
    duration_us: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    p50_us: u32,
    p99_us: u32,
    p999_us: u32,
}

/// Sends the traffic from a core.
pub(super) async fn run(order: Order, core: usize) -> Result<Load> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile().context("no temporary file")?;
    script.write_all(lua(order.scenario).as_bytes())?;
    let text = output(order, core, &command(order, script.path())).await?;
    parse(&text).with_context(|| format!("cannot read what wrk printed:\n{text}"))
}

/// What wrk runs. With many routes, each request goes to the next of a thousand that are spread over all of them.
fn lua(scenario: Scenario) -> String {
    let routes = scenario.routes();
    if routes == 0 {
        return DONE.to_owned();
    }
    format!(
        r#"
local heads, at = {{}}, 0
for i = 1, 1000 do
  heads[i] = "GET /r/" .. (i * 7919 % {routes}) .. "/1k HTTP/1.1\r\nHost: bench\r\n\r\n"
end
request = function()
  at = at % 1000 + 1
  return heads[at]
end
{DONE}"#
    )
}

fn command(order: Order, script: &Path) -> Vec<String> {
    let Order { scenario, address, connections, .. } = order;
    let mut command: Vec<String> = ["wrk", "--threads", "1", "--timeout", "10s"].map(str::to_owned).to_vec();
    command.extend(["--connections".to_owned(), connections.to_string()]);
    command.extend(["--duration".to_owned(), format!("{}s", order.seconds())]);
    command.extend(["--script".to_owned(), script.display().to_string()]);
    if scenario.closes() {
        command.extend(["--header".to_owned(), "Connection: close".to_owned()]);
    }
    command.push(format!("{}://{address}{}", scenario.scheme(), scenario.path()));
    command
}

#[allow(clippy::cast_precision_loss, reason = "requests of a run are far below 2^52")]
fn parse(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix(PREFIX))?;
    let line: Line = serde_json::from_str(line).ok()?;
    Some(Load {
        requests: line.requests,
        errors: line.connect + line.read + line.write + line.status + line.timeout,
        received_bytes: line.bytes,
        per_second: line.requests as f64 / (line.duration_us.max(1) as f64 / 1e6),
        p50_us: f64::from(line.p50_us),
        p99_us: f64::from(line.p99_us),
        p999_us: f64::from(line.p999_us),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 2s test @ http://127.0.0.1:1/1k\n138420 requests in 2.00s, 146.00MB read\n\
        evenkeel-bench {\"requests\":138420,\"bytes\":153088000,\"duration_us\":2000000,\"connect\":1,\"read\":2,\
        \"write\":3,\"status\":4,\"timeout\":5,\"p50_us\":7500,\"p99_us\":14810,\"p999_us\":30000}\n";

    #[test]
    fn a_report_is_read_and_every_kind_of_error_counts() {
        let expected = Load {
            requests: 138_420,
            errors: 15,
            received_bytes: 153_088_000,
            per_second: 69_210.0,
            p50_us: 7_500.0,
            p99_us: 14_810.0,
            p999_us: 30_000.0,
        };
        assert_eq!(parse(REPORT), Some(expected));
    }

    #[test]
    fn a_report_that_lacks_a_figure_is_refused() {
        for figure in ["requests", "bytes", "duration_us", "timeout", "p999_us"] {
            assert_eq!(parse(&REPORT.replace(&format!("\"{figure}\""), "\"other\"")), None, "{figure}");
        }
        assert_eq!(parse(""), None);
    }
}
