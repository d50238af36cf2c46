//! The rounds of a run: each proxy in turn, again and again, so that whatever else the machine does hits all alike.
//!
//! Owns: the order, and the bracket of CPU readings around each load. Leaves to `report` what the figures say.

use std::{env, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time;

use crate::{
    certificate::Certificate,
    crowd::Crowd,
    load::{self, Order},
    peers::{Kind, Peer, Setup},
    process::{Cores, Cpu, Started},
    report::{Report, Round},
    scenario::Scenario,
    strace::Trace,
    verify,
};

/// Load before the first round of each proxy, so that connections to the server and buffers are there.
const WARM_UP: Duration = Duration::from_secs(1);

/// Load while system calls are counted.
const TRACED: Duration = Duration::from_secs(1);

/// Descriptors that a run needs beside those of its connections.
const OTHER_DESCRIPTORS: u64 = 1_000;

/// What to measure.
pub(crate) struct Plan {
    /// The kind of traffic.
    pub(crate) scenario: Scenario,
    /// Rounds per proxy.
    pub(crate) rounds: u32,
    /// Length of a round.
    pub(crate) length: Duration,
    /// Client connections with traffic.
    pub(crate) connections: u32,
    /// Who is measured, in the order of a round.
    pub(crate) kinds: Vec<Kind>,
}

impl Plan {
    const fn order(&self, address: SocketAddr, length: Duration) -> Order {
        Order { scenario: self.scenario, address, connections: self.connections, length }
    }
}

/// Starts everything, measures, and ends everything. A proxy that does not start or answers wrongly is left out of the
/// rounds, and the report says why.
///
/// # Errors
/// When the scenario cannot be measured on this machine.
pub(crate) async fn measure(plan: &Plan) -> Result<Report> {
    let cores = Cores::choose()?;
    raise_descriptors(plan.scenario)?;
    let folder = TempDir::with_prefix("evenkeel-bench").context("no folder for temporary files")?;
    let certificate = Certificate::make(folder.path())?;
    let (_origin, origin) = start_origin(cores, folder.path()).await?;
    let setup = Setup {
        scenario: plan.scenario,
        connections: plan.connections,
        origin,
        cores,
        certificate: &certificate,
        folder: folder.path(),
    };
    let mut report = Report::new(plan);
    let mut peers = Vec::new();
    for kind in &plan.kinds {
        report.set_version(kind.name(), kind.version()?);
        match start(kind, setup, plan, cores).await {
            Ok(peer) => peers.push(peer),
            Err(error) => {
                println!("{} is not measured: {error:#}", kind.name());
                report.leave_out(kind.name(), &error);
            }
        }
    }
    let crowds = gather(plan, &peers, cores, &mut report)?;
    for number in 1..=plan.rounds {
        for peer in &peers {
            let round = match round(plan, peer, cores).await {
                Ok(round) => round,
                Err(error) => {
                    println!("once more, for {error:#}");
                    round(plan, peer, cores).await?
                }
            };
            println!("round {number}/{}  {:<9} {round}", plan.rounds, peer.kind.name());
            report.add(peer.kind.name(), round);
        }
    }
    for peer in &peers {
        report.set_peak_memory(peer.kind.name(), peer.process.peak_memory()?);
    }
    for (name, crowd) in crowds {
        report.set_lost_idle(name, plan.scenario.idle() - crowd.close()?);
    }
    for peer in &peers {
        match system_calls(plan, peer, cores, folder.path()).await {
            Ok(calls) => report.set_system_calls(peer.kind.name(), calls),
            Err(error) => println!("no system calls of {}: {error:#}", peer.kind.name()),
        }
    }
    Ok(report)
}

/// Starts a proxy, compares its answer, and warms it up.
async fn start(kind: &Kind, setup: Setup<'_>, plan: &Plan, cores: Cores) -> Result<Peer> {
    let peer = Peer::start(kind.clone(), setup).await?;
    verify::answer(plan.scenario, &peer)?;
    load::run(plan.order(peer.address, WARM_UP), cores, || Ok(())).await?;
    Ok(peer)
}

/// Opens the idle connections of each proxy, and notes what memory they need.
fn gather(
    plan: &Plan,
    peers: &[Peer],
    cores: Cores,
    report: &mut Report,
) -> Result<Vec<(&'static str, Crowd)>> {
    let connections = plan.scenario.idle();
    let mut crowds = Vec::new();
    if connections == 0 {
        return Ok(crowds);
    }
    for peer in peers {
        let before = peer.process.memory()?;
        let crowd = Crowd::open(peer.address, connections, cores.rest)?;
        // Memory that is given back after the last answer, such as by a sweep each second.
        thread::sleep(Duration::from_secs(2));
        let grown = peer.process.memory()?.saturating_sub(before);
        println!("{:<9} {connections} idle connections need {} KiB", peer.kind.name(), grown / 1024);
        report.set_idle_memory(peer.kind.name(), grown / u64::from(connections));
        crowds.push((peer.kind.name(), crowd));
    }
    Ok(crowds)
}

async fn round(plan: &Plan, peer: &Peer, cores: Cores) -> Result<Round> {
    let mut before = Cpu::default();
    let begins = || {
        before = peer.process.cpu()?;
        Ok(())
    };
    let load = load::run(plan.order(peer.address, plan.length), cores, begins).await?;
    let (total, user) = peer.process.cpu()?.since(&before);
    ensure!(load.requests > 0, "{} answered nothing", peer.kind.name());
    Ok(Round::new(total, user, &load))
}

/// System calls for each request, under a load of their own.
#[allow(clippy::cast_precision_loss, reason = "calls of a run are far below 2^52")]
async fn system_calls(plan: &Plan, peer: &Peer, cores: Cores, folder: &Path) -> Result<f64> {
    let counts = folder.join(format!("{}.strace", peer.kind.name()));
    let trace = Trace::attach(&peer.process.pids()?, &counts)?;
    let load = load::run(plan.order(peer.address, TRACED), cores, || Ok(())).await?;
    let calls = trace.detach()?;
    ensure!(load.requests > 0, "no request was answered while they were counted");
    Ok(calls as f64 / load.requests as f64)
}

/// Raises the limit on descriptors, for this process and those that it starts, as far as it goes.
fn raise_descriptors(scenario: Scenario) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit on descriptors")?;
    let needed = u64::from(scenario.idle() + scenario.servers()) + OTHER_DESCRIPTORS;
    let wanted = needed.max(hard);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok()
        || (needed <= hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok())
    {
        return Ok(());
    }
    bail!(
        "{scenario} needs {needed} descriptors in one process, and the hard limit is {hard}; raise it: `ulimit -n {needed}`"
    )
}

/// Starts this very program as the server behind the proxies, on the load generator's core.
async fn start_origin(cores: Cores, folder: &Path) -> Result<(Started, SocketAddr)> {
    let program = env::current_exe().context("cannot find this program")?.display().to_string();
    let log = folder.join("origin.log");
    let command = [&program, "origin", "--listen", "0.0.0.0:0"];
    let mut process = Started::pinned("origin", cores.rest, &command, &log)?;
    let port = loop {
        let text = std::fs::read_to_string(&log)?;
        if let Some(address) = text.strip_suffix('\n') {
            let address: SocketAddr =
                address.parse().with_context(|| format!("the origin said `{address}`"))?;
            break address.port();
        }
        time::sleep(Duration::from_millis(10)).await;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    process.wait_until_it_listens(address, &log).await?;
    Ok((process, address))
}
