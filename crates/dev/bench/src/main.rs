//! `evenkeel-bench`: what a request costs, beside HAProxy and nginx.
//!
//! Owns: the command line and the order of things. Leaves to the modules: what a scenario is (`scenario`), how each
//! proxy is started (`peers`), the server behind them (`origin`), the load (`load`), the processes' figures (`process`),
//! the rounds (`rounds`) and what is made of them (`report`). Everything that is started is ended by its pid, however
//! the run ends.

mod load;
mod origin;
mod peers;
mod process;
mod report;
mod rounds;
mod scenario;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

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
    /// CPU of each proxy per request, in interleaved rounds.
    Http(HttpRun),
    /// Answers requests as fast as it can: what the proxies balance to.
    Origin {
        /// The address to listen on; port 0 lets the kernel choose. The first line printed is the address.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

/// What to measure.
#[derive(Args)]
struct HttpRun {
    /// The kind of traffic.
    #[arg(long, value_enum, default_value_t = Scenario::Keepalive)]
    scenario: Scenario,
    /// Rounds per proxy, interleaved.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of one round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Client connections.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    connections: u32,
    /// The data plane to measure; left out when it is not there and the peers alone are asked for.
    #[arg(long, default_value = "target/release/evenkeel-proxy")]
    evenkeel: PathBuf,
    /// Measures the peers alone.
    #[arg(long)]
    peers_only: bool,
    /// Ends with one line: every figure as a JSON object.
    #[arg(long)]
    json: bool,
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
        What::Http(run) => runtime.block_on(async {
            let (mut interrupt, mut terminate) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! {
                result = http(run) => result,
                _ = interrupt.recv() => bail!("interrupted; everything that was started is ended"),
                _ = terminate.recv() => bail!("told to end; everything that was started is ended"),
            }
        }),
    }
}

async fn http(run: &HttpRun) -> Result<()> {
    let plan = rounds::Plan {
        scenario: run.scenario,
        rounds: run.rounds,
        length: Duration::from_secs(run.seconds),
        connections: run.connections,
        evenkeel: (!run.peers_only).then(|| run.evenkeel.clone()),
    };
    let report = rounds::measure(&plan).await?;
    print!("{}", report.table());
    if run.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    report.check()
}
