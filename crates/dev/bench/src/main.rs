//! `evenkeel-bench`: what a request costs, beside HAProxy and nginx.
//!
//! Owns: the command line and the order of things. Leaves to the modules: what a scenario is (`scenario`), how each
//! proxy is started (`peers`), the server behind them (`origin`), the load (`load`, `crowd`), the processes' figures
//! (`process`, `strace`), the rounds (`rounds`), what is made of them (`report`, `table`, `document`), and the long
//! run (`soak`). Everything that
//! is started is ended by its pid, however the run ends.

mod certificate;
mod crowd;
mod document;
mod load;
mod origin;
mod peers;
mod process;
mod report;
mod rounds;
mod scenario;
mod soak;
mod strace;
mod table;
mod tls;
mod verify;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use document::Entry;
use load::Order;
use peers::Kind;
use report::Report;
use scenario::Scenario;

/// Measures what a request costs, beside HAProxy and nginx.
#[derive(Parser)]
#[command(name = "evenkeel-bench", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CPU of each proxy per request, in interleaved rounds: every scenario, or those that are named.
    Run(Run),
    /// The same for one scenario; nothing is written.
    Http(HttpRun),
    /// Mixed load with reloads, stops of servers and slow clients; fails on an unexplained error or growing memory.
    Soak {
        /// The data plane to soak.
        #[arg(long, default_value = "target/release/evenkeel-proxy")]
        evenkeel: PathBuf,
        /// For so long.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
    },
    /// Answers requests as fast as it can: what the proxies balance to.
    Origin {
        /// The address to listen on; port 0 lets the kernel choose. The first line printed is the address.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Sends the traffic of a scenario that other generators cannot send; the last line printed is JSON.
    Load {
        /// The kind of traffic: tls, tls-handshake or websocket.
        scenario: Scenario,
        #[command(flatten)]
        target: Target,
        /// For so long.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
    /// Opens connections, asks once on each, and holds them until its standard input ends.
    Crowd {
        #[command(flatten)]
        target: Target,
    },
}

/// Where traffic goes.
#[derive(Args)]
struct Target {
    /// The address of a proxy.
    #[arg(long)]
    address: SocketAddr,
    /// Over so many connections.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    connections: u32,
}

/// What every run is told.
#[derive(Args)]
struct Measured {
    /// The data plane to measure.
    #[arg(long, default_value = "target/release/evenkeel-proxy")]
    evenkeel: PathBuf,
    /// HAProxy: a file, or a name on the search path.
    #[arg(long, env = "EVENKEEL_HAPROXY", default_value = "haproxy")]
    haproxy: PathBuf,
    /// nginx: a file, or a name on the search path.
    #[arg(long, env = "EVENKEEL_NGINX", default_value = "nginx")]
    nginx: PathBuf,
    /// Measures the peers alone.
    #[arg(long)]
    peers_only: bool,
    /// Client connections.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    connections: u32,
    /// Ends with one line: every figure as JSON.
    #[arg(long)]
    json: bool,
}

impl Measured {
    fn kinds(&self) -> Vec<Kind> {
        let ours = (!self.peers_only).then(|| Kind::Evenkeel(self.evenkeel.clone()));
        ours.into_iter()
            .chain([Kind::Haproxy(self.haproxy.clone()), Kind::Nginx(self.nginx.clone())])
            .collect()
    }
}

#[derive(Args)]
struct Run {
    /// The kinds of traffic; all of them if none is named.
    scenarios: Vec<Scenario>,
    /// Rounds per proxy, interleaved.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of one round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// One round of one second: whether everything runs, not what it costs. Nothing is written.
    #[arg(long)]
    quick: bool,
    /// The folder whose performance.md and performance.json take the figures; none are written without it.
    #[arg(long)]
    write: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
}

#[derive(Args)]
struct HttpRun {
    /// The kind of traffic.
    #[arg(long, default_value_t = Scenario::Keepalive)]
    scenario: Scenario,
    /// Rounds per proxy, interleaved.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of one round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    #[command(flatten)]
    measured: Measured,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    match &command.what {
        What::Origin { listen } => runtime.block_on(origin::serve(*listen)),
        What::Soak { evenkeel, minutes } => {
            let length = Duration::from_secs(60 * minutes);
            runtime.block_on(until_told_to_end(soak::run(evenkeel, length)))
        }
        What::Crowd { target } => crowd::hold(target.address, target.connections),
        What::Load { scenario, target: Target { address, connections }, seconds } => {
            let (address, connections) = (*address, *connections);
            let order =
                Order { scenario: *scenario, address, connections, length: Duration::from_secs(*seconds) };
            println!("{}", serde_json::to_string(&runtime.block_on(load::own::send(order))?)?);
            Ok(())
        }
        What::Run(run) => runtime.block_on(until_told_to_end(all(run))),
        What::Http(run) => runtime.block_on(until_told_to_end(http(run))),
    }
}

/// Drops what is under way when it is interrupted, and with it everything that it started.
async fn until_told_to_end(task: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = task => result,
        _ = interrupt.recv() => bail!("interrupted; everything that was started is ended"),
        _ = terminate.recv() => bail!("told to end; everything that was started is ended"),
    }
}

/// Measures scenarios one after another; one that fails does not keep the others from being measured.
async fn all(run: &Run) -> Result<()> {
    let scenarios = if run.scenarios.is_empty() { Scenario::ALL.to_vec() } else { run.scenarios.clone() };
    let (rounds, seconds) = if run.quick { (1, 1) } else { (run.rounds, run.seconds) };
    let (mut reports, mut failures) = (Vec::<Report>::new(), Vec::new());
    for scenario in scenarios {
        println!("\n== {scenario}: {}", scenario.describe());
        let plan = rounds::Plan {
            scenario,
            rounds,
            length: Duration::from_secs(seconds),
            connections: scenario.connections(run.measured.connections),
            kinds: run.measured.kinds(),
        };
        match rounds::measure(&plan).await {
            Ok(report) => {
                println!("\n{}", table::proxies(&report));
                failures.extend(report.check().err().map(|error| error.to_string()));
                reports.push(report);
            }
            Err(error) => {
                println!("{scenario} is not measured: {error:#}");
                failures.push(format!("{scenario}: {error:#}"));
            }
        }
    }
    println!("\n{}{}", table::overview(&reports), table::growth(&reports));
    if run.measured.json {
        println!("{}", serde_json::to_string(&reports)?);
    }
    if let Some(folder) = run.write.as_ref().filter(|_| !run.quick) {
        // Figures of a run with failures mean nothing; those that were there before stay.
        reports.retain(|report| report.check().is_ok());
        document::update(folder, reports.into_iter().map(Entry::new).collect())?;
    }
    if !failures.is_empty() {
        bail!("not everything was measured without a failure:\n  {}", failures.join("\n  "));
    }
    Ok(())
}

async fn http(run: &HttpRun) -> Result<()> {
    let plan = rounds::Plan {
        scenario: run.scenario,
        rounds: run.rounds,
        length: Duration::from_secs(run.seconds),
        connections: run.scenario.connections(run.measured.connections),
        kinds: run.measured.kinds(),
    };
    let report = rounds::measure(&plan).await?;
    println!("\n{}", table::proxies(&report));
    if run.measured.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    report.check()
}
