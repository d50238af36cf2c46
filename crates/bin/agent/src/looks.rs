//! Looking at the box as the health gate judges it: the data plane, requests through it, the update server.

use std::time::Duration;

use evenkeel_config::agent::Config;
use evenkeel_fetch::{Client, Found, chain};
use evenkeel_units::ByteCount;
use evenkeel_update::{
    Baseline,
    gate::{Gate, Look, Probes, Settings, Traffic, Verdict},
};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::clock;

/// Requests through the data plane at each look: more than there are servers in most pools, so that each of them
/// is asked.
const PROBES: u32 = 5;

/// Longest wait for an answer of the data plane about itself.
const OWN_DEADLINE: Duration = Duration::from_secs(2);

/// Longest wait for an answer through the data plane: what a patient client grants.
const SITE_DEADLINE: Duration = Duration::from_secs(5);

/// Longest status: 1,000 servers of 500 bytes.
const STATUS: ByteCount = ByteCount::kib(512);

/// Where to look.
#[derive(Debug, Clone)]
pub(crate) struct Looker {
    admin: Client,
    site: Client,
    server: Client,
    settings: Settings,
    interval: Duration,
}

impl Looker {
    pub(crate) fn new(config: &Config) -> Self {
        let gate = &config.gate;
        Self {
            admin: Client::new(&gate.proxy_admin.to_string()),
            site: Client::new(&gate.site.to_string()),
            server: Client::new(&config.server.url.to_string()),
            settings: Settings { deadline: gate.deadline, rounds: gate.rounds.get() },
            interval: gate.interval,
        }
    }

    /// How the box is before an update.
    pub(crate) async fn measure(&self) -> Baseline {
        Baseline::of(&self.look().await)
    }

    /// Looks until there is a verdict.
    pub(crate) async fn run_gate(&self, baseline: Option<Baseline>) -> Verdict {
        let mut gate = Gate::new(self.settings, baseline, clock::now());
        loop {
            let look = self.look().await;
            if let Some(verdict) = gate.handle(&look, clock::now()) {
                return verdict;
            }
            tracing::debug!(?look, "the release has not proved itself yet");
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn look(&self) -> Look {
        Look {
            ready: expect_success(&self.admin, "/ready", OWN_DEADLINE).await,
            traffic: self.traffic().await,
            probes: self.probes().await,
            update_server: expect_success(&self.server, "/live", SITE_DEADLINE).await,
        }
    }

    async fn traffic(&self) -> Result<Traffic, String> {
        let bytes = match tokio::time::timeout(OWN_DEADLINE, self.admin.get("/status", STATUS)).await {
            Err(_) => return Err(format!("no answer in {} s", OWN_DEADLINE.as_secs())),
            Ok(Err(error)) => return Err(chain(&error)),
            Ok(Ok(Found::Missing)) => return Err("status 404".into()),
            Ok(Ok(Found::Bytes(bytes))) => bytes,
        };
        let status: Status = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok(status.traffic())
    }

    async fn probes(&self) -> Probes {
        let mut answers = JoinSet::new();
        for _ in 0..PROBES {
            let site = self.site.clone();
            answers.spawn(async move { site.probe("", SITE_DEADLINE).await });
        }
        let mut probes = Probes { sent: PROBES, ..Probes::default() };
        while let Some(answer) = answers.join_next().await {
            let failure = match answer {
                Ok(Ok(status)) if status < 500 => {
                    probes.answered += 1;
                    continue;
                }
                Ok(Ok(status)) => format!("status {status}"),
                Ok(Err(error)) => chain(&error),
                Err(error) => error.to_string(),
            };
            probes.failure.get_or_insert(failure);
        }
        probes
    }
}

async fn expect_success(client: &Client, path: &str, deadline: Duration) -> Result<(), String> {
    match client.probe(path, deadline).await {
        Ok(status) if (200..300).contains(&status) => Ok(()),
        Ok(status) => Err(format!("{}: status {status}", client.url(path))),
        Err(error) => Err(chain(&error)),
    }
}

/// What the gate reads of the data plane's `/status` (docs/protocol.md, "Data plane: what it says of itself").
#[derive(Debug, Deserialize)]
struct Status {
    pools: Vec<Pool>,
    totals: Totals,
}

#[derive(Debug, Deserialize)]
struct Pool {
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    state: String,
}

#[derive(Debug, Deserialize)]
struct Totals {
    requests: u64,
    server_errors: u64,
    #[serde(default)]
    median_us: Option<u64>,
}

impl Status {
    fn traffic(&self) -> Traffic {
        let servers = || self.pools.iter().flat_map(|pool| &pool.servers);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Traffic {
            healthy_servers: count(servers().filter(|server| server.state == "usable").count()),
            servers: count(servers().count()),
            requests: self.totals.requests,
            errors: self.totals.server_errors,
            latency: self.totals.median_us.map(Duration::from_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_the_contract_is_read() {
        let text = r#"{"version": "1.1.0",
            "pools": [{"name": "app", "servers": [{"name": "app1", "state": "usable"}, {"name": "app2", "state": "down"}]},
                      {"name": "api", "servers": [{"name": "api1", "state": "usable"}]}],
            "totals": {"requests": 120, "server_errors": 3, "median_us": 900}}"#;
        let status: Status = serde_json::from_str(text).expect("the example of the contract");
        let expected = Traffic {
            healthy_servers: 2,
            servers: 3,
            requests: 120,
            errors: 3,
            latency: Some(Duration::from_micros(900)),
        };
        assert_eq!(status.traffic(), expected);
    }
}
