//! evenkeel-proxy: wires the data plane to its configuration, signals and log.
//!
//! Owns: the command line and the process: descriptors, signals, exit status. Leaves everything else to
//! `io/proxy`.

use std::{io, num::NonZeroUsize, path::PathBuf, process::ExitCode, thread::available_parallelism};

use anyhow::Context as _;
use clap::Parser;
use evenkeel_proxy::{Options, Proxy};
use evenkeel_telemetry::{LogForm, start_log};
use nix::sys::{
    prctl::set_thp_disable,
    resource::{Resource, getrlimit, setrlimit},
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};

/// Memory that clients leave behind goes back to the system (decision 0015).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Balances HTTP and TCP connections over the servers of a configuration file.
///
/// SIGHUP reads the file again without dropping a connection; a file with errors is refused whole and the
/// running configuration stays. SIGUSR1 opens the access log anew after it was moved away. SIGTERM and SIGINT let clients finish, then end the process.
#[derive(Parser)]
#[command(name = "evenkeel-proxy", version)]
struct Arguments {
    /// The configuration; `evenkeel check FILE` explains every error in it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Worker threads, each with sockets of its own [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Where `evenkeel apply` reaches this process [default: no such socket]
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// What is logged on standard error, such as `info` or `evenkeel_proxy=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "EVENKEEL_LOG")]
    log: String,
    /// The form of the log: `text` or `json`
    #[arg(long, value_name = "FORM", default_value = "text", env = "EVENKEEL_LOG_FORM")]
    log_form: LogForm,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    start_log(arguments.log_form, &arguments.log).context("the log did not start")?;
    raise_descriptor_limit();
    use_small_pages();
    let workers = match arguments.workers {
        Some(workers) => workers,
        None => available_parallelism().context("the number of cores is not known; give --workers")?,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Before anything can say that we are ready, for until then a SIGHUP would end the process.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::catch().context("signals cannot be caught")?
    };
    let proxy = Proxy::start(Options {
        config: arguments.config,
        workers,
        control_socket: arguments.control_socket,
        version: env!("CARGO_PKG_VERSION"),
    })?;
    tracing::info!(%workers, admin = %proxy.admin_address(), "serving");
    runtime.block_on(signals.obey(&proxy));
    proxy.drain();
    proxy.wait();
    Ok(())
}

/// The signals that we know.
struct Signals {
    hangup: Signal,
    reopen: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads whenever it is asked to, until it is asked to stop.
    async fn obey(&mut self, proxy: &Proxy) {
        loop {
            tokio::select! {
                // What is wrong with a file is logged where it is found.
                _ = self.hangup.recv() => drop(proxy.reload().await),
                _ = self.reopen.recv() => proxy.reopen_logs(),
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}

/// Each client needs two descriptors, and the default soft limit of 1,024 is soon reached.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on file descriptors stays as it is");
    }
}

/// Where the system gives pages of 2 MiB unasked, a data plane with few clients would use a few kilobytes of each.
fn use_small_pages() {
    if let Err(error) = set_thp_disable(true) {
        tracing::warn!(%error, "memory is taken in large pages");
    }
}
