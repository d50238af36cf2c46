//! evenkeel-hostbox: a box as processes of this host, for stories and tests that take seconds.
//!
//! Owns: what firmware, loader, init and systemd do on a real box. Leaves to others: everything else, for the
//! agent and the data plane are the same binaries, out of the same bundles.

mod firmware;
mod host;
mod install;
mod layout;
mod seal;
mod services;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// A box as processes: slots as files, restart as process restart.
///
/// The folder holds `slots`, `efi` and `data` as a disk does, `run` as memory does, and the configurations
/// `agent.toml` and `balancer.toml`. A file `enrolment-token` is used once, at the first start.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Folder of the box.
    #[arg(long, required = true)]
    dir: Option<PathBuf>,
    /// Seconds after which a release on trial that came to no verdict loses power, as by a watchdog.
    #[arg(long, default_value_t = 200)]
    watchdog_seconds: u64,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Install the first release in slot a.
    Init(install::Init),
    /// Make the hash tree and the kernel image that belong to a root image.
    Seal(seal::Seal),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let watchdog = Duration::from_secs(command.run.watchdog_seconds);
    let result = match (&command.action, &command.run.dir) {
        (Some(Action::Init(args)), _) => install::init(args),
        (Some(Action::Seal(args)), _) => seal::seal(args),
        (None, Some(directory)) => run(directory, watchdog),
        (None, None) => Err(anyhow::anyhow!("give the folder of the box with --dir")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel-hostbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path, watchdog: Duration) -> anyhow::Result<()> {
    let directory = directory.canonicalize().with_context(|| directory.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(host::Host::new(layout::Layout::new(&directory), watchdog).live())
}
