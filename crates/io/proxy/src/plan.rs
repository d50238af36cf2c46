//! A configuration, made ready for the workers.
//!
//! Owns: what stays through a reload (sockets by address, counters and health by name and address) and what is
//! new. Invariant I8: everything that can fail, from parsing to binding, fails here, before a worker hears of
//! the plan; so a bad configuration is refused whole and the running one stays.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use evenkeel_balance::Layout;
use evenkeel_config::balancer::{
    self, Challenge, Config, Http2, Mode, PoolIndex, ProxyProtocol, Udp, Verify,
};

use crate::{
    accept,
    access_log::AccessLog,
    acme::challenges::Challenges,
    pool::{
        discovery::Discovered,
        ports::{Ledger, PortSettings, Towards, Ways},
        sticky::{PlannedCookies, StickyError},
    },
    route::plan::{PlannedRoutes, RouteError},
    shared::{ListenerShared, PoolShared, ServerShared},
    sources::SourceLimit,
    tls::{
        back::Back,
        files::FileError,
        front::{Front, Inside},
        identity::CertificateFields,
    },
    trace::Traces,
    udp,
};

/// Where the clients of a listener come in at one worker.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// A socket that accepts connections.
    Connections(TcpListener),
    /// A socket for the datagrams of all.
    Datagrams(UdpSocket),
}

impl Entrance {
    /// One for each worker.
    fn bind(address: SocketAddr, mode: Mode, workers: usize) -> io::Result<(Vec<Self>, SocketAddr)> {
        let entrances: Vec<_> = match mode {
            Mode::Http | Mode::Tcp => {
                accept::bind(address, workers)?.into_iter().map(Self::Connections).collect()
            }
            Mode::Udp => udp::bind(address, workers)?.into_iter().map(Self::Datagrams).collect(),
        };
        let address = match entrances.first() {
            Some(Self::Connections(socket)) => socket.local_addr()?,
            Some(Self::Datagrams(socket)) => socket.local_addr()?,
            None => address,
        };
        Ok((entrances, address))
    }

    /// Whether listeners of these modes come in by the same kind of socket.
    const fn is_same(one: Mode, other: Mode) -> bool {
        matches!((one, other), (Mode::Udp, Mode::Udp) | (Mode::Http | Mode::Tcp, Mode::Http | Mode::Tcp))
    }
}

/// A configuration with everything that it needs in place.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) pools: Vec<Arc<PoolShared>>,
    /// For each pool what DNS says of it, where DNS is asked.
    pub(crate) discovered: Vec<Option<Arc<Discovered>>>,
    /// What it was made of, to make it anew when DNS says something else.
    pub(crate) text: String,
    /// For each pool what its workers' views rest upon.
    pub(crate) layouts: Vec<Arc<Layout>>,
    pub(crate) listeners: Vec<PlannedListener>,
    pub(crate) routes: PlannedRoutes,
    pub(crate) cookies: PlannedCookies,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) traces: Traces,
    pub(crate) admin: Arc<AdminSocket>,
    /// Source ports towards all servers.
    ports: Arc<Ledger>,
}

/// The socket of the admin pages; it stays through reloads that do not move it.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminSocket {
    /// Binds it.
    ///
    /// # Errors
    /// When the address is in use, is not ours, or needs a privilege.
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens in fact.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, for who serves the pages.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }

    /// Whether two plans have the same one.
    pub(crate) fn is_same(one: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(one, other)
    }
}

impl Plan {
    /// What is done with the fields of clients' certificates, at every listener: servers cannot tell by which one a request
    /// came.
    pub(crate) fn certificate_fields(&self) -> CertificateFields {
        let mut fronts = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        match fronts.any(|front| front.asks_for_certificates()) {
            true => CertificateFields::Ours,
            false => CertificateFields::Passed,
        }
    }

    /// What is answered to authorities that ask by HTTP whether names are ours.
    pub(crate) fn challenges(&self) -> Vec<Arc<Challenges>> {
        let fronts = self.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme());
        let by_http = fronts.filter(|acme| acme.settings.challenge == Challenge::Http01);
        by_http.map(|acme| Arc::clone(&acme.challenges)).collect()
    }
}

/// A listener of a plan.
pub(crate) struct PlannedListener {
    pub(crate) shared: Arc<ListenerShared>,
    pub(crate) mode: Mode,
    pub(crate) http2: Http2,
    pub(crate) pool: PoolIndex,
    pub(crate) tls: Option<Arc<Front>>,
    pub(crate) udp: Option<Udp>,
    pub(crate) proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub(crate) forward: Arc<balancer::Forward>,
    pub(crate) source_limit: Option<Arc<SourceLimit>>,
    /// Where the configuration wants it, maybe with port 0.
    bind: SocketAddr,
    /// One for each worker, when the listener is new.
    sockets: Mutex<Vec<Option<Entrance>>>,
}

impl PlannedListener {
    /// The socket of one worker, once; `None` when the listener was there before.
    pub(crate) fn take_socket(&self, worker: usize) -> Option<Entrance> {
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
    /// The admin listener cannot be bound.
    #[error("[admin] listen: cannot listen on {address}; choose an address of this machine that is free")]
    Admin {
        /// Where it should listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file for TLS is of no use.
    #[error("{place}: {problem}")]
    Tls {
        /// The table in the configuration.
        place: String,
        /// What is wrong, with the file's name and the remedy.
        problem: String,
    },
    /// Spans cannot be sent as the configuration says.
    #[error("[tracing]: {0}")]
    Tracing(String),
    /// A pool's servers cannot be connected to from an address.
    #[error(
        "pool `{pool}`: source `{address}` is not an address of this box; write one that `ip address` shows, or leave `source` out"
    )]
    Source {
        /// The pool.
        pool: String,
        /// The address.
        address: IpAddr,
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
        /// What was tried: `read`, `written` or `replaced`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A route cannot be made ready.
    #[error(transparent)]
    Route(RouteError),
    /// The cookies of a pool cannot be made.
    #[error(transparent)]
    Sticky(StickyError),
    /// The configuration cannot be read beside the workers.
    #[error("no thread to read the configuration on; are threads of this user used up?")]
    Thread(#[source] io::Error),
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
            Self::Bind { source, .. }
            | Self::Admin { source, .. }
            | Self::AccessLog(source)
            | Self::Thread(source)
            | Self::Source { source, .. }
            | Self::File { source, .. } => {
                vec![format!("{self}: {source}")]
            }
            Self::Route(error) => vec![with_causes(error)],
            Self::Sticky(error) => vec![with_causes(error)],
            Self::Tls { .. } | Self::Tracing(_) | Self::Stopping => vec![self.to_string()],
        }
    }
}

/// The sentence of an error with those of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(&format!(": {error}"));
        cause = error.source();
    }
    sentence
}

/// Makes a plan for so many workers out of a text and what was read in it, in the place of `before`.
///
/// # Errors
/// Whatever makes the configuration unfit to run; nothing has changed then.
pub(crate) fn make(
    file_name: &str,
    (text, config): (&str, Config),
    workers: usize,
    before: Option<&Plan>,
) -> Result<Plan, PlanError> {
    let discovered: Vec<_> = config.pools().iter().map(|pool| plan_discovery(pool, before)).collect();
    let config = config.joined_by(|pool| known_servers(pool, &discovered));
    let folder = Path::new(file_name).parent().unwrap_or_else(|| Path::new(""));
    let listeners = config
        .listeners()
        .iter()
        .map(|listener| plan_listener((listener, config.limits()), folder, workers, before))
        .collect::<Result<_, _>>()?;
    let admin = plan_admin(config.admin().listen, before)?;
    let routes =
        PlannedRoutes::new(&config, workers, before.map(|plan| &plan.routes)).map_err(PlanError::Route)?;
    let cookies =
        PlannedCookies::new(&config, folder, before.map(|plan| &plan.cookies)).map_err(PlanError::Sticky)?;
    let access_log = open_log(&config, before)?;
    let traces = Traces::new(config.tracing(), folder, before.map(|plan| &plan.traces))
        .map_err(|error| PlanError::Tracing(error.to_string()))?;
    let ports = before.map(|plan| Arc::clone(&plan.ports)).unwrap_or_default();
    let settings = PortSettings::read_or_default();
    let towards = |way| ports.towards(way, settings, workers);
    let pools = config
        .pools()
        .iter()
        .map(|pool| plan_pool(pool, (folder, workers), &towards, before))
        .collect::<Result<_, _>>()?;
    let layouts = config.pools().iter().map(|pool| plan_layout(pool, before)).collect();
    let text = text.to_owned();
    Ok(Plan {
        config,
        pools,
        discovered,
        text,
        layouts,
        listeners,
        routes,
        cookies,
        access_log,
        traces,
        admin,
        ports,
    })
}

fn plan_admin(address: SocketAddr, before: Option<&Plan>) -> Result<Arc<AdminSocket>, PlanError> {
    match before.filter(|plan| plan.config.admin().listen == address) {
        Some(before) => Ok(Arc::clone(&before.admin)),
        None => {
            AdminSocket::bind(address).map(Arc::new).map_err(|source| PlanError::Admin { address, source })
        }
    }
}

fn plan_listener(
    (listener, limits): (&balancer::Listener, &balancer::Limits),
    folder: &Path,
    workers: usize,
    before: Option<&Plan>,
) -> Result<PlannedListener, PlanError> {
    let name = listener.name.as_str();
    let same = |known: &&PlannedListener| {
        known.bind == listener.bind
            && known.shared.name == name
            && Entrance::is_same(known.mode, listener.mode)
    };
    let known = before.and_then(|plan| plan.listeners.iter().find(same));
    let namesake = before.and_then(|plan| plan.listeners.iter().find(|known| known.shared.name == name));
    let tls = plan_front(listener, folder, namesake.and_then(|known| known.tls.as_deref()))?;
    let (shared, sockets) = match known {
        Some(known) => (Arc::clone(&known.shared), Vec::new()),
        None => {
            // A listener that moves takes its counts along.
            let named = |known: &&PlannedListener| known.shared.name == name;
            let moved = before.and_then(|plan| plan.listeners.iter().find(named));
            let bind = |source| PlanError::Bind { name: name.to_owned(), address: listener.bind, source };
            let (sockets, address) = Entrance::bind(listener.bind, listener.mode, workers).map_err(bind)?;
            let shared = match moved {
                Some(moved) => moved.shared.moved_to(address),
                None => ListenerShared::new(name.to_owned(), address, workers),
            };
            (Arc::new(shared), sockets)
        }
    };
    let limited = namesake.and_then(|known| known.source_limit.as_deref());
    let source_limit = SourceLimit::of(listener, limits.max_clients, limited);
    Ok(PlannedListener {
        shared,
        mode: listener.mode,
        http2: listener.http2,
        pool: listener.pool,
        tls,
        udp: listener.udp,
        proxy_protocol: listener.proxy_protocol.clone().map(Arc::new),
        forward: Arc::new(listener.forward.clone()),
        source_limit: source_limit.map(Arc::new),
        bind: listener.bind,
        sockets: Mutex::new(sockets.into_iter().map(Some).collect()),
    })
}

fn plan_front(
    listener: &balancer::Listener,
    folder: &Path,
    before: Option<&Front>,
) -> Result<Option<Arc<Front>>, PlanError> {
    let Some(settings) = &listener.tls else { return Ok(None) };
    let inside = match (listener.mode, listener.http2) {
        (Mode::Http, Http2::Offered) => Inside::Http,
        (Mode::Http, Http2::Off) => Inside::Http1,
        (Mode::Tcp | Mode::Udp, Http2::Offered | Http2::Off) => Inside::Bytes,
    };
    let refused = |error: FileError| PlanError::Tls {
        place: format!("listener `{}`, TLS", listener.name),
        problem: error.sentence(),
    };
    Front::new((folder, listener.name.as_str()), settings, inside, before)
        .map(|front| Some(Arc::new(front)))
        .map_err(refused)
}

/// TLS with a pool's servers; what it was before goes on with its sessions when nothing of it has changed.
fn plan_back(
    pool: &balancer::Pool,
    folder: &Path,
    before: Option<&Arc<Back>>,
) -> Result<Option<Arc<Back>>, PlanError> {
    let Some(settings) = &pool.tls else { return Ok(None) };
    if let Some(before) = before.filter(|before| before.is_current(settings, pool.protocol)) {
        return Ok(Some(Arc::clone(before)));
    }
    let back = Back::new(folder, settings, pool.protocol).map_err(|error| PlanError::Tls {
        place: format!("pool `{}`, TLS", pool.name),
        problem: error.sentence(),
    })?;
    if settings.verify == Verify::Nothing {
        tracing::warn!(pool = %pool.name, "servers are not verified: anyone on the way can read and change everything");
    }
    Ok(Some(Arc::new(back)))
}

fn plan_pool(
    pool: &balancer::Pool,
    (folder, workers): (&Path, usize),
    towards: &impl Fn((Option<IpAddr>, SocketAddr)) -> Arc<Towards>,
    before: Option<&Plan>,
) -> Result<Arc<PoolShared>, PlanError> {
    let name = pool.name.as_str();
    check_sources(pool, before)?;
    let known = before.and_then(|plan| plan.pools.iter().find(|known| known.name == name));
    let tls = plan_back(pool, folder, known.and_then(|pool| pool.servers.first()?.tls.as_ref()))?;
    let server = |server: &balancer::Server| {
        let same = |known: &&Arc<ServerShared>| {
            let same_tls = known.tls.as_ref().map(Arc::as_ptr) == tls.as_ref().map(Arc::as_ptr);
            known.name == server.name.as_str() && known.address == server.address && same_tls
        };
        match known.and_then(|pool| pool.servers.iter().find(same)) {
            Some(known) => Arc::clone(known),
            None => {
                let place = (server.name.as_str().to_owned(), server.address);
                Arc::new(ServerShared::new(place, tls.clone(), workers))
            }
        }
    };
    let servers: Vec<_> = pool.servers.iter().map(server).collect();
    let ways: Vec<_> = pool.servers.iter().map(|server| plan_ways(pool, server.address, towards)).collect();
    match known {
        // The same servers in the same order: the pool goes on, with its checks.
        Some(known) if is_same(&known.servers, &servers) && known.ways == ways => Ok(Arc::clone(known)),
        Some(_) | None => {
            let counted = (workers, known.map(Arc::as_ref));
            Ok(Arc::new(PoolShared::new(name.to_owned(), (servers, ways), counted)))
        }
    }
}

/// From where a server is connected to: each source of its family, or where the system chooses.
fn plan_ways(
    pool: &balancer::Pool,
    server: SocketAddr,
    towards: &impl Fn((Option<IpAddr>, SocketAddr)) -> Arc<Towards>,
) -> Ways {
    let fitting = pool.sources.iter().filter(|source| source.is_ipv4() == server.is_ipv4());
    let ways: Ways = fitting.map(|&source| towards((Some(source), server))).collect();
    if ways.is_empty() { Box::new([towards((None, server))]) } else { ways }
}

/// Whether connections can go from what the configuration says, where it says it anew.
fn check_sources(pool: &balancer::Pool, before: Option<&Plan>) -> Result<(), PlanError> {
    let known = before.is_some_and(|plan| {
        plan.config.pools().iter().any(|known| known.name == pool.name && known.sources == pool.sources)
    });
    let mut new = if known { [].iter() } else { pool.sources.iter() };
    new.try_for_each(|&address| {
        let bound = UdpSocket::bind((address, 0)).map(drop);
        bound.map_err(|source| PlanError::Source { pool: pool.name.as_str().to_owned(), address, source })
    })
}

/// What DNS says of a pool; what is known stays where the same is asked.
fn plan_discovery(pool: &balancer::Pool, before: Option<&Plan>) -> Option<Arc<Discovered>> {
    let settings = pool.discovery.as_ref()?;
    let mut known = before.into_iter().flat_map(|plan| plan.pools.iter().zip(&plan.discovered));
    let same = known.find_map(|(known, discovered)| {
        let discovered = discovered.as_ref().filter(|discovered| discovered.settings == *settings)?;
        (known.name == pool.name.as_str()).then(|| Arc::clone(discovered))
    });
    Some(same.unwrap_or_else(|| Arc::new(Discovered::new(pool.name.as_str(), settings.clone()))))
}

fn known_servers(pool: &balancer::Pool, discovered: &[Option<Arc<Discovered>>]) -> Vec<balancer::Found> {
    let of_pool = |discovered: &&Arc<Discovered>| discovered.pool == pool.name.as_str();
    discovered.iter().flatten().find(of_pool).map(|discovered| discovered.found()).unwrap_or_default()
}

/// What follows from a pool's configuration: made anew only where that has changed.
fn plan_layout(pool: &balancer::Pool, before: Option<&Plan>) -> Arc<Layout> {
    let known = before.and_then(|plan| plan.layouts.iter().find(|known| known.settings() == pool));
    known.map_or_else(|| Layout::new(pool), Arc::clone)
}

fn is_same(before: &[Arc<ServerShared>], servers: &[Arc<ServerShared>]) -> bool {
    before.len() == servers.len() && before.iter().zip(servers).all(|(a, b)| Arc::ptr_eq(a, b))
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
