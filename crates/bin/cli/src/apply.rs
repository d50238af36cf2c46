//! `evenkeel apply`: give the data plane a new configuration, whole or not at all.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use evenkeel_config::balancer;
use evenkeel_control::{Answer, ProxyRequest, call};

use crate::check;

/// Longest wait for the daemon: it binds new listeners and starts checks, but waits for no client.
const ANSWER: Duration = Duration::from_secs(30);

/// Give the running data plane a new configuration, without dropping a connection.
///
/// The file is checked first; then the daemon checks it again, keeps it and takes over. When either finds an
/// error, everything stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file of the data plane.
    file: PathBuf,
    /// The control socket of evenkeel-proxy.
    #[arg(long, value_name = "PATH", default_value = "/run/evenkeel/proxy.sock")]
    socket: PathBuf,
}

/// # Errors
/// When the file cannot be read, has errors, or the daemon does not take it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (name, text) = check::read(&arguments.file)?;
    let config = match balancer::Config::parse(&name, &text) {
        Ok(config) => config,
        Err(errors) => return check::refuse(&name, &errors),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(call(&arguments.socket, &ProxyRequest::Apply { text }, ANSWER))? {
        Answer::Done(_) => {
            println!("{name}: applied: {}", check::balancer_summary(&config));
            Ok(())
        }
        Answer::Refused { errors } => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            bail!("{name}: the daemon refused it; it runs on with the configuration that it has")
        }
    }
}
