//! The load: who sends the traffic of a scenario, and what is seen of it.
//!
//! Owns: the choice of the generator. HTTP/1.1 is wrk's, HTTP/2 is h2load's; all of TLS over HTTP/1.1 and WebSocket
//! messages are sent by this very program (`own`): wrk would resume sessions, and its handshakes would count among the
//! requests that follow them. All of them are pinned to the load's core.

mod h2load;
pub(crate) mod own;
mod wrk;

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time};

use crate::{process::Cores, scenario::Scenario};

/// Content of a WebSocket message, in bytes: a line of chat or a small update, the kind that makes up such traffic.
pub(crate) const MESSAGE_BYTES: usize = 128;

/// What one run of a load generator saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Answers that arrived whole.
    pub(crate) requests: u64,
    /// Requests that failed: no connection, no answer, a wrong answer, or a status of 400 and above.
    pub(crate) errors: u64,
    /// Bytes that arrived, heads and frames included where the generator counts them.
    pub(crate) received_bytes: u64,
    /// Answers a second.
    pub(crate) per_second: f64,
    /// Half of the answers came within this time.
    pub(crate) p50_us: f64,
    /// All but one in a hundred came within this time.
    pub(crate) p99_us: f64,
    /// All but one in a thousand came within this time.
    pub(crate) p999_us: f64,
}

/// Traffic to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Its kind.
    pub(crate) scenario: Scenario,
    /// Where it goes.
    pub(crate) address: SocketAddr,
    /// Over so many connections.
    pub(crate) connections: u32,
    /// For so long.
    pub(crate) length: Duration,
}

impl Order {
    /// Whole seconds, at least one: generators take no less.
    fn seconds(&self) -> u64 {
        self.length.as_secs().max(1)
    }
}

/// Sends traffic, and checks that what came back can be all of it. Calls `begins` when the measured part begins: at
/// once, or when the connections are there.
pub(crate) async fn run(order: Order, cores: Cores, mut begins: impl FnMut() -> Result<()>) -> Result<Load> {
    if order.scenario != Scenario::Tls {
        begins()?;
    }
    let load = match order.scenario {
        Scenario::Keepalive
        | Scenario::NewConnection
        | Scenario::Body1M
        | Scenario::Tcp
        | Scenario::Tcp1M
        | Scenario::Idle(_)
        | Scenario::Servers(_)
        | Scenario::Routes(_) => wrk::run(order, cores.rest).await?,
        Scenario::H2 | Scenario::H2c => h2load::run(order, cores.rest).await?,
        Scenario::TlsHandshake | Scenario::Websocket => own::start(order, cores.rest).await?,
        Scenario::Tls => own::start_connected(order, cores.rest, begins).await?,
    };
    let least = load.requests * order.scenario.content_bytes();
    ensure!(
        load.received_bytes >= least,
        "{} answers came with {} bytes; their content alone has {least}",
        load.requests,
        load.received_bytes,
    );
    Ok(load)
}

/// How much longer than it was told to a generator may run: all of them end within a second, but h2load has been seen
/// to go on with connections that it made too late to stop.
const OVERTIME: Duration = Duration::from_secs(20);

/// Runs a generator on a core to its end, and gives what it printed.
async fn output(order: Order, core: usize, command: &[String]) -> Result<String> {
    let name = &command[0];
    let running = Command::new("taskset")
        .args(["--cpu-list", &core.to_string()])
        .args(command)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = time::timeout(order.length + OVERTIME, running)
        .await
        .with_context(|| format!("{name} does not end"))?
        .with_context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{name}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// The value that so many thousandths of sorted values do not exceed.
fn percentile(sorted: &[u32], per_mille: usize) -> f64 {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1) - 1;
    sorted.get(rank).map_or(f64::NAN, |value| f64::from(*value))
}

/// A load from the times of its answers, in µs.
#[allow(clippy::cast_precision_loss, reason = "requests of a run are far below 2^52")]
fn summary(mut times: Vec<u32>, errors: u64, received_bytes: u64, took: Duration) -> Load {
    times.sort_unstable();
    Load {
        requests: times.len() as u64,
        errors,
        received_bytes,
        per_second: times.len() as f64 / took.as_secs_f64(),
        p50_us: percentile(&times, 500),
        p99_us: percentile(&times, 990),
        p999_us: percentile(&times, 999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_so_many_do_not_exceed() {
        let times: Vec<u32> = (1..=1_000).rev().collect();
        let load = summary(times, 0, 0, Duration::from_secs(2));
        assert_eq!((load.p50_us, load.p99_us, load.p999_us), (500.0, 990.0, 999.0));
        assert_eq!((load.requests, load.per_second), (1_000, 500.0));
        assert_eq!(percentile(&[7], 999), 7.0);
        assert!(percentile(&[], 500).is_nan());
    }
}
