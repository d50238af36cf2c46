//! The rounds of a run: each proxy in turn, again and again, so that whatever else the machine does hits all alike.
//!
//! Owns: the order, and the bracket of CPU readings around each load. Leaves to `report` what the figures say.

use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::time;

use crate::{
    load,
    peers::{Kind, Peer, Setup},
    process::{Cores, Started},
    report::{Report, Round},
    scenario::Scenario,
};

/// Load before the first round of each proxy, so that connections to the server and buffers are there.
const WARM_UP: Duration = Duration::from_secs(1);

/// What to measure.
pub(crate) struct Plan {
    /// The kind of traffic.
    pub(crate) scenario: Scenario,
    /// Rounds per proxy.
    pub(crate) rounds: u32,
    /// Length of a round.
    pub(crate) length: Duration,
    /// Client connections.
    pub(crate) connections: u32,
    /// Our data plane's program, unless the peers alone are measured.
    pub(crate) evenkeel: Option<PathBuf>,
}

/// Starts everything, measures, and ends everything.
pub(crate) async fn measure(plan: &Plan) -> Result<Report> {
    let cores = Cores::choose()?;
    let folder = TempDir::with_prefix("evenkeel-bench").context("no folder for temporary files")?;
    let (_origin, origin) = start_origin(cores, &folder).await?;
    let setup = Setup {
        scenario: plan.scenario,
        connections: plan.connections,
        origin,
        cores,
        folder: folder.path(),
    };
    let mut peers = Vec::new();
    for kind in kinds(plan) {
        peers.push(Peer::start(kind, setup).await?);
    }
    for peer in &peers {
        load::run(plan.scenario, peer.address, plan.connections, WARM_UP, cores.rest).await?;
    }
    let mut report = Report::new(plan);
    for number in 1..=plan.rounds {
        for peer in &peers {
            let round = round(plan, peer, cores).await?;
            println!("round {number}/{}  {:<9} {round}", plan.rounds, peer.kind.name());
            report.add(peer.kind.name(), round);
        }
    }
    for peer in &peers {
        report.set_peak_memory(peer.kind.name(), peer.process.peak_memory()?);
    }
    Ok(report)
}

fn kinds(plan: &Plan) -> Vec<Kind> {
    let ours = plan.evenkeel.iter().cloned().map(Kind::Evenkeel);
    ours.chain([Kind::Haproxy, Kind::Nginx]).collect()
}

async fn round(plan: &Plan, peer: &Peer, cores: Cores) -> Result<Round> {
    let before = peer.process.cpu()?;
    let load = load::run(plan.scenario, peer.address, plan.connections, plan.length, cores.rest).await?;
    let after = peer.process.cpu()?;
    ensure!(load.requests > 0, "{} answered nothing", peer.kind.name());
    Ok(Round::new(after.saturating_sub(before), &load))
}

/// Starts this very program as the server behind the proxies, on the load generator's core.
async fn start_origin(cores: Cores, folder: &TempDir) -> Result<(Started, SocketAddr)> {
    let program = env::current_exe().context("cannot find this program")?.display().to_string();
    let log = folder.path().join("origin.log");
    let mut process = Started::pinned("origin", cores.rest, &[&program, "origin"], &log)?;
    let address = loop {
        let text = std::fs::read_to_string(&log)?;
        if let Some(address) = text.strip_suffix('\n') {
            break address.parse().with_context(|| format!("the origin said `{address}`"))?;
        }
        time::sleep(Duration::from_millis(10)).await;
    };
    process.wait_until_it_listens(address, &log).await?;
    Ok((process, address))
}
