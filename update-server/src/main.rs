//! evenkeel-update-server: wires storage, repository, engine and HTTP, and says what to do next.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use clap::Parser;
use evenkeel_telemetry::{LogForm, start_log};
use evenkeel_update_server::{
    engine::Engine,
    http::{self, App},
    nonces::NonceFile,
    repository::Repository,
    secret::{OnlineKeys, OperatorToken},
    store::Embedded,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// The update server of Evenkeel: releases, devices, staged rollouts
#[derive(Debug, Parser)]
#[command(name = "evenkeel-update-server", version)]
struct Arguments {
    /// The folder that holds everything the server knows; made at first start
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The address to serve at; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9930")]
    listen: SocketAddr,
    /// What is logged on standard error, such as `info` or `evenkeel_update_server=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "EVENKEEL_LOG")]
    log: String,
    /// The form of the log: `text` or `json`
    #[arg(long, value_name = "FORM", default_value = "text", env = "EVENKEEL_LOG_FORM")]
    log_form: LogForm,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    start_log(arguments.log_form, &arguments.log).context("the log did not start")?;
    let folder = &arguments.data_dir;
    let is_new = !folder.join("operator-token").exists();
    let store = Embedded::open(&folder.join("store"))?;
    let operator = OperatorToken::open(folder)?;
    let repository = Repository::open(&folder.join("repository"), OnlineKeys::open(folder)?)?;
    let root = repository.root_version();
    let nonces = NonceFile::open(&folder.join("nonces"), http::now())?;
    let engine = Engine::open(Box::new(store), nonces, http::now())?;
    let app = Arc::new(App::new(engine, repository, operator)?);
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener
        .with_context(|| format!("{} cannot be listened at; is another server there?", arguments.listen))?;
    let address = listener.local_addr()?;
    let mut greeting = format!("evenkeel-update-server listens at http://{address}\n");
    if is_new || root.is_none() {
        greeting += &next_steps(&arguments.data_dir, address);
    }
    // Nobody has to listen for the server to work.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
    tokio::spawn(http::keep_time(Arc::clone(&app)));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ending = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("ending");
    };
    http::serve(listener, app, ending).await;
    Ok(())
}

/// What an operator does with a server that has nothing yet.
fn next_steps(folder: &std::path::Path, address: SocketAddr) -> String {
    let token = folder.join("operator-token");
    format!(
        "\nThis server has no releases yet. On the operator's machine:\n\n  \
         export EVENKEEL_SERVER=http://{address}\n  \
         export EVENKEEL_TOKEN_FILE={}          # copy it there; it opens everything\n  \
         evenkeel key new --role root --out root-key.json\n  \
         evenkeel key new --role targets --out targets-key.json\n  \
         mkdir metadata\n  \
         evenkeel key root --root-key root-key.json --targets-key targets-key.json --out metadata/root.json\n  \
         evenkeel release sign BUNDLE --targets-key targets-key.json --metadata metadata\n  \
         evenkeel release publish BUNDLE --metadata metadata\n  \
         evenkeel device token                       # one for each device\n  \
         evenkeel rollout start VERSION --wave 1 --wave all --failure-budget 1\n",
        token.display()
    )
}
