//! evenkeel-agent: keeps the box's software current, and rolls it back by itself when an update hurts.
//!
//! Owns: wiring. Decisions are in `evenkeel-update`, system calls in `evenkeel-disk`, transfers in
//! `evenkeel-fetch`.

mod clock;
mod control;
mod conversation;
mod daemon;
mod gate_command;
mod identity;
mod looks;
mod notify;
mod shell;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use evenkeel_config::agent::Config;
use evenkeel_telemetry::{LogForm, start_log};

/// Longest wait for system calls that are under way when the agent ends: a flush of a checkpoint.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// Keeps the box's software current, and rolls it back by itself when an update hurts.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    /// Configuration file.
    #[arg(long, global = true, default_value = "/etc/evenkeel/agent.toml")]
    config: PathBuf,
    /// Form of the log: `text` or `json`.
    #[arg(long, default_value = "text")]
    log_form: LogForm,
    /// What goes into the log: a level, or levels by part.
    #[arg(long, env = "EVENKEEL_LOG", default_value = "info")]
    log: String,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait for the health gate's verdict: exit 0 when the running release is kept, else 1.
    Gate,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match run(&command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("evenkeel-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let config = read_config(&command.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = match command.action {
        Some(Action::Gate) => runtime.block_on(gate_command::run(&config)),
        None => {
            start_log(command.log_form, &command.log)?;
            runtime.block_on(daemon::run(&config))
        }
    };
    runtime.shutdown_timeout(LAST_FLUSH);
    result
}

fn read_config(path: &Path) -> anyhow::Result<Config> {
    let name = path.display().to_string();
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {name}; give it with --config"))?;
    Ok(Config::parse(&name, &text)?)
}
