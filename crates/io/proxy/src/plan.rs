//! A configuration, made ready for the workers.
//!
//! Owns: what stays through a reload (sockets by address, counters and health by name and address) and what is
//! new. Invariant I8: everything that can fail, from parsing to binding, fails here, before a worker hears of
//! the plan; so a bad configuration is refused whole and the running one stays.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
};

use evenkeel_config::balancer::{self, Config, Mode, PoolIndex};

use crate::{
    accept,
    access_log::AccessLog,
    shared::{ListenerShared, PoolShared, ServerShared},
};

/// A configuration with everything that it needs in place.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) pools: Vec<Arc<PoolShared>>,
    pub(crate) listeners: Vec<PlannedListener>,
    pub(crate) access_log: Option<AccessLog>,
}

/// A listener of a plan.
pub(crate) struct PlannedListener {
    pub(crate) shared: Arc<ListenerShared>,
    pub(crate) mode: Mode,
    pub(crate) pool: PoolIndex,
    /// Where the configuration wants it, maybe with port 0.
    bind: SocketAddr,
    /// One for each worker, when the listener is new.
    sockets: Mutex<Vec<Option<TcpListener>>>,
}

impl PlannedListener {
    /// The socket of one worker, once; `None` when the listener was there before.
    pub(crate) fn take_socket(&self, worker: usize) -> Option<TcpListener> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.get_mut(worker).and_then(Option::take)
    }
}

/// Why a configuration cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The text has errors.
    #[error("{0}")]
    Config(evenkeel_config::Errors),
    /// A listener cannot be bound.
    #[error(
        "listener `{name}`: cannot listen on {address}; is it in use, not an address of this machine, or a port below 1024?"
    )]
    Bind {
        /// The listener.
        name: String,
        /// Where it should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("access log: cannot open it; does its folder exist, and may this user write there?")]
    AccessLog(#[source] io::Error),
    /// The configuration file cannot be read or written.
    #[error("configuration file `{path}`: cannot be {action}")]
    File {
        /// The file.
        path: String,
        /// What was tried: `read` or `written`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The workers have gone.
    #[error("the data plane is stopping; nothing can be applied any more")]
    Stopping,
}

impl PlanError {
    /// The errors as sentences, each with its cause.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::Config(errors) => errors.as_slice().iter().map(ToString::to_string).collect(),
            Self::Bind { source, .. } | Self::AccessLog(source) | Self::File { source, .. } => {
                vec![format!("{self}: {source}")]
            }
            Self::Stopping => vec![self.to_string()],
        }
    }
}

/// Makes a plan for so many workers out of a text, in the place of `before`.
///
/// # Errors
/// Whatever makes the configuration unfit to run; nothing has changed then.
pub(crate) fn make(
    file_name: &str,
    text: &str,
    workers: usize,
    before: Option<&Plan>,
) -> Result<Plan, PlanError> {
    let config = Config::parse(file_name, text).map_err(PlanError::Config)?;
    let listeners = config
        .listeners()
        .iter()
        .map(|listener| plan_listener(listener, workers, before))
        .collect::<Result<_, _>>()?;
    let access_log = open_log(&config, before)?;
    let pools = config.pools().iter().map(|pool| plan_pool(pool, workers, before)).collect();
    Ok(Plan { config, pools, listeners, access_log })
}

fn plan_listener(
    listener: &balancer::Listener,
    workers: usize,
    before: Option<&Plan>,
) -> Result<PlannedListener, PlanError> {
    let name = listener.name.as_str();
    let same = |known: &&PlannedListener| known.bind == listener.bind && known.shared.name == name;
    let known = before.and_then(|plan| plan.listeners.iter().find(same));
    let (shared, sockets) = match known {
        Some(known) => (Arc::clone(&known.shared), Vec::new()),
        None => {
            let bind = |source| PlanError::Bind { name: name.to_owned(), address: listener.bind, source };
            let sockets = accept::bind(listener.bind, workers).map_err(bind)?;
            let address = sockets.first().map_or(Ok(listener.bind), TcpListener::local_addr).map_err(bind)?;
            (Arc::new(ListenerShared::new(name.to_owned(), address, workers)), sockets)
        }
    };
    Ok(PlannedListener {
        shared,
        mode: listener.mode,
        pool: listener.pool,
        bind: listener.bind,
        sockets: Mutex::new(sockets.into_iter().map(Some).collect()),
    })
}

fn plan_pool(pool: &balancer::Pool, workers: usize, before: Option<&Plan>) -> Arc<PoolShared> {
    let name = pool.name.as_str();
    let known = before.and_then(|plan| plan.pools.iter().find(|known| known.name == name));
    let server = |server: &balancer::Server| {
        let same = |known: &&Arc<ServerShared>| {
            known.name == server.name.as_str() && known.address == server.address
        };
        match known.and_then(|pool| pool.servers.iter().find(same)) {
            Some(known) => Arc::clone(known),
            None => Arc::new(ServerShared::new(server.name.as_str().to_owned(), server.address, workers)),
        }
    };
    Arc::new(PoolShared::new(name.to_owned(), pool.servers.iter().map(server).collect()))
}

fn open_log(config: &Config, before: Option<&Plan>) -> Result<Option<AccessLog>, PlanError> {
    let Some(settings) = config.access_log() else { return Ok(None) };
    // The same log goes on; its writer has lines that are not on the disk yet.
    if let Some(before) = before
        && before.config.access_log() == Some(settings)
    {
        return Ok(before.access_log.clone());
    }
    AccessLog::open(settings).map(Some).map_err(PlanError::AccessLog)
}
