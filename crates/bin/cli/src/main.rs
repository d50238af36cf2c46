//! evenkeel: the operator's command.
//!
//! Owns: the command line. Each subcommand has a file of its own; this one only joins them and turns the
//! first failure into one sentence and exit status 1.

mod apply;
mod check;
mod clock;
mod data_plane;
mod device;
mod files;
mod key;
mod release;
mod rollout;
mod route;
mod server;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Evenkeel boxes: keys, releases, devices, rollouts and configuration.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Key(key::Arguments),
    Release(release::Arguments),
    Check(check::Arguments),
    Route(route::Arguments),
    Apply(apply::Arguments),
    Reload(data_plane::ReloadArguments),
    Server(data_plane::ServerArguments),
    Status(data_plane::StatusArguments),
    Device(device::Arguments),
    Rollout(rollout::Arguments),
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().task {
        Task::Key(arguments) => key::run(arguments),
        Task::Release(arguments) => release::run(arguments),
        Task::Check(arguments) => check::run(&arguments),
        Task::Route(arguments) => route::run(&arguments),
        Task::Apply(arguments) => apply::run(&arguments),
        Task::Reload(arguments) => data_plane::reload(&arguments),
        Task::Server(arguments) => data_plane::server(&arguments),
        Task::Status(arguments) => data_plane::status(&arguments),
        Task::Device(arguments) => device::run(arguments),
        Task::Rollout(arguments) => rollout::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel: {error:#}");
            ExitCode::FAILURE
        }
    }
}
