//! `evenkeel-faulty`: a data plane that is up and well by its own account, and answers 500 to every request.
//!
//! Owns: being the bad release of the story. It takes the command line, the configuration and the control socket of
//! `evenkeel-proxy`, listens where that would listen and says of itself what a healthy one would say, so that only a
//! gate which sends real requests finds it out. Leaves to others: everything else; it is never shipped.

mod admin;
mod answer;
mod notify;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;
use evenkeel_config::balancer::{Config, Mode};
use evenkeel_control::{Answer, ProxyRequest, Server};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    task,
};

/// A data plane that is up and answers 500 to every request.
#[derive(Parser)]
#[command(name = "evenkeel-faulty", version)]
struct Command {
    /// The configuration, as for `evenkeel-proxy`.
    #[arg(long)]
    config: PathBuf,
    /// Taken for the sake of the command line; there is always one worker.
    #[arg(long)]
    workers: Option<u16>,
    /// Where to listen for `evenkeel apply`.
    #[arg(long)]
    control_socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel-faulty: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let name = command.config.display().to_string();
    let text = fs::read_to_string(&command.config).with_context(|| format!("cannot read {name}"))?;
    let config = Arc::new(Config::parse(&name, &text)?);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(command, config))
}

async fn serve(command: &Command, config: Arc<Config>) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // Reloading changes nothing here, but must not end the process.
    let mut hangup = signal(SignalKind::hangup())?;
    task::spawn(async move { while hangup.recv().await.is_some() {} });
    for listener in config.listeners() {
        let socket = bind(listener.bind).await?;
        match listener.mode {
            Mode::Http => task::spawn(answer::with_500(socket)),
            Mode::Tcp | Mode::Udp => task::spawn(answer::with_nothing(socket)),
        };
    }
    task::spawn(admin::serve(bind(config.admin().listen).await?, Arc::clone(&config)));
    if let Some(path) = &command.control_socket {
        let server = Server::bind(path)?;
        task::spawn(async move { server.serve(|_: ProxyRequest| async { Answer::done() }).await });
    }
    notify::ready()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
