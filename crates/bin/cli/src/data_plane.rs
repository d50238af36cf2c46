//! `evenkeel server`, `evenkeel status` and `evenkeel reload`: the data plane while it runs.
//!
//! Owns: the words of the command. Leaves to others: what an order does (`io/proxy`). Invariant: what is printed comes
//! from the daemon; nothing is assumed to have happened.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use evenkeel_control::{Answer, ProxyRequest, call};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::table::table;

/// Longest wait for the daemon, which waits for no client.
const ANSWER: Duration = Duration::from_secs(30);

/// From one look at a server that drains to the next, and of the live view.
const LOOK: Duration = Duration::from_secs(1);

/// Where the daemon is.
#[derive(Debug, clap::Args)]
pub(crate) struct Socket {
    /// The control socket of evenkeel-proxy.
    #[arg(long, value_name = "PATH", default_value = "/run/evenkeel/proxy.sock")]
    socket: PathBuf,
}

impl Socket {
    /// What the daemon answers.
    fn ask(&self, request: &ProxyRequest) -> Result<Map<String, Value>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(call(&self.socket, request, ANSWER))? {
            Answer::Done(done) => Ok(done),
            Answer::Refused { errors } => bail!("{}", errors.join("\n")),
        }
    }

    fn status(&self) -> Result<Status> {
        let done = self.ask(&ProxyRequest::Status {})?;
        serde_json::from_value(Value::Object(done)).context("the daemon's status is of another release")
    }
}

/// Servers of the running data plane: look at them, take them out, give them another share.
///
/// Orders hold at once at all workers, disturb nothing that is under way, and last through reloads: a drain until the
/// server is resumed, a weight until the file gives it another one. A restart of the daemon forgets them.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArguments {
    #[command(subcommand)]
    task: ServerTask,
}

#[derive(Debug, clap::Subcommand)]
enum ServerTask {
    /// Show every server with its state.
    List {
        #[command(flatten)]
        socket: Socket,
    },
    /// Let a server finish what it has, and give it nothing more.
    Drain {
        #[command(flatten)]
        target: Target,
        /// Wait until nothing is under way there any more, for at most this many seconds.
        #[arg(long, value_name = "SECONDS")]
        wait: Option<u64>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take a server into service again; it begins slowly.
    Resume {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        socket: Socket,
    },
    /// Give a server another share beside the others.
    Weight {
        #[command(flatten)]
        target: Target,
        /// 1 to 256, or `file` for what the configuration says.
        weight: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// A server.
#[derive(Debug, clap::Args)]
struct Target {
    /// The server, as POOL/SERVER.
    server: String,
}

impl Target {
    fn parts(&self) -> Result<(String, String)> {
        match self.server.split_once('/') {
            Some((pool, server)) if !pool.is_empty() && !server.is_empty() => {
                Ok((pool.to_owned(), server.to_owned()))
            }
            Some(_) | None => bail!(
                "server is `{}`; expected the names of its pool and its own, such as `app/app1`",
                self.server
            ),
        }
    }
}

/// What the daemon tells of itself, as far as it is shown here.
#[derive(Debug, Deserialize)]
struct Status {
    version: String,
    uptime_seconds: u64,
    workers: u64,
    draining: bool,
    listeners: Vec<Listener>,
    pools: Vec<Pool>,
    totals: Totals,
}

#[derive(Debug, Deserialize)]
struct Listener {
    name: String,
    address: String,
    mode: String,
    pool: String,
    connections: u64,
    responses: u64,
    responses_5xx: u64,
}

#[derive(Debug, Deserialize)]
struct Pool {
    name: String,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    address: String,
    state: String,
    reason: String,
    weight: u64,
    weight_ordered: bool,
    requests: u64,
    active: u64,
    failures: u64,
}

#[derive(Debug, Deserialize)]
struct Totals {
    requests: u64,
    server_errors: u64,
    median_us: Option<u64>,
}

/// # Errors
/// When the daemon cannot be reached or refuses.
pub(crate) fn server(arguments: &ServerArguments) -> Result<()> {
    match &arguments.task {
        ServerTask::List { socket } => print(&servers(&socket.status()?)),
        ServerTask::Drain { target, wait, socket } => {
            let (pool, server) = target.parts()?;
            let done = socket.ask(&ProxyRequest::Drain { pool, server })?;
            println!("{}: drains, {} under way", target.server, number(&done, "active"));
            wait.map_or(Ok(()), |seconds| wait_for_drain(target, socket, Duration::from_secs(seconds)))
        }
        ServerTask::Resume { target, socket } => {
            let (pool, server) = target.parts()?;
            socket.ask(&ProxyRequest::Resume { pool, server })?;
            println!("{}: in service again", target.server);
            Ok(())
        }
        ServerTask::Weight { target, weight, socket } => {
            let (pool, server) = target.parts()?;
            let asked = match weight.as_str() {
                "file" => None,
                number => Some(number.parse().with_context(|| {
                    format!("weight is `{number}`; expected a whole number from 1 to 256, or `file`")
                })?),
            };
            let done = socket.ask(&ProxyRequest::Weight { pool, server, weight: asked })?;
            println!("{}: weight {}", target.server, number(&done, "weight"));
            Ok(())
        }
    }
}

fn number(done: &Map<String, Value>, key: &str) -> u64 {
    done.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Looks again and again until nothing is under way at the server.
fn wait_for_drain(target: &Target, socket: &Socket, patience: Duration) -> Result<()> {
    let began = Instant::now();
    let (pool, server) = target.parts()?;
    loop {
        let done = socket.ask(&ProxyRequest::Drain { pool: pool.clone(), server: server.clone() })?;
        let active = number(&done, "active");
        if active == 0 {
            println!("{}: nothing is under way there any more", target.server);
            return Ok(());
        }
        if began.elapsed() >= patience {
            bail!("{}: {active} still under way after {patience:?}; it drains on", target.server);
        }
        std::thread::sleep(LOOK.min(patience.saturating_sub(began.elapsed())));
    }
}

fn servers(status: &Status) -> String {
    let row = |pool: &Pool, server: &Server| {
        let weight = if server.weight_ordered {
            format!("{} (ordered)", server.weight)
        } else {
            server.weight.to_string()
        };
        [
            format!("{}/{}", pool.name, server.name),
            server.address.clone(),
            server.state.clone(),
            weight,
            server.active.to_string(),
            server.requests.to_string(),
            server.failures.to_string(),
            server.reason.clone(),
        ]
    };
    let rows = status.pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| row(pool, server)));
    let heads = ["server", "address", "state", "weight", "active", "requests", "failures", "reason"];
    table(heads, &rows.collect::<Vec<_>>())
}

/// Show what the data plane does; on a terminal again every second until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArguments {
    /// Show it once.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    socket: Socket,
}

/// # Errors
/// When the daemon cannot be reached.
pub(crate) fn status(arguments: &StatusArguments) -> Result<()> {
    let live = !arguments.once && std::io::stdout().is_terminal();
    let mut before: Option<(Instant, u64)> = None;
    loop {
        let status = arguments.socket.status()?;
        let now = Instant::now();
        let rate = before.map(|(then, requests)| {
            let seconds = now.duration_since(then).as_secs_f64();
            (status.totals.requests.saturating_sub(requests) as f64 / seconds).round()
        });
        before = Some((now, status.totals.requests));
        // The cursor goes home and what was below it is cleared (ECMA-48 §8.3.21, §8.3.39).
        let clear = if live { "\u{1b}[H\u{1b}[J" } else { "" };
        print(&format!("{clear}{}", view(&status, rate)))?;
        if !live {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn view(status: &Status, rate: Option<f64>) -> String {
    let draining = if status.draining { ", draining" } else { "" };
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate} a second"));
    let median = status.totals.median_us.map_or_else(String::new, |us| format!(", median {us} µs"));
    let head = format!(
        "evenkeel-proxy {}: {} workers, up {} s{draining}\n{} answers{rate}, {} of them 5xx{median}\n",
        status.version,
        status.workers,
        status.uptime_seconds,
        status.totals.requests,
        status.totals.server_errors
    );
    let row = |listener: &Listener| {
        [
            listener.name.clone(),
            listener.address.clone(),
            listener.mode.clone(),
            listener.pool.clone(),
            listener.connections.to_string(),
            listener.responses.to_string(),
            listener.responses_5xx.to_string(),
        ]
    };
    let heads = ["listener", "address", "mode", "pool", "clients", "answers", "5xx"];
    let listeners = table(heads, &status.listeners.iter().map(row).collect::<Vec<_>>());
    format!("{head}\n{listeners}\n{}", servers(status))
}

/// Let the data plane read its configuration file again, without dropping a connection.
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArguments {
    #[command(flatten)]
    socket: Socket,
}

/// # Errors
/// When the daemon cannot be reached, or the file has errors; the running configuration stays then.
pub(crate) fn reload(arguments: &ReloadArguments) -> Result<()> {
    arguments.socket.ask(&ProxyRequest::Reload {})?;
    println!("reloaded");
    Ok(())
}

/// A reader that has gone, such as `head`, is no failure.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
