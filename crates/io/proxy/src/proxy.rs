//! A running data plane, as the binary and the tests hold it.

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use evenkeel_config::balancer::Config;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
};

use crate::{
    admin::control::{Control, Running, Wish},
    clock::Clock,
    plan::{self, Plan, PlanError},
    worker::{self, Handle, Order},
};

/// How to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Worker threads; each has its own sockets.
    pub workers: NonZeroUsize,
    /// Where the control socket listens; `None` for nowhere.
    pub control_socket: Option<PathBuf>,
    /// The version that the status page shows.
    pub version: &'static str,
}

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be run.
    #[error("the configuration cannot be run:\n{}", .0.sentences().join("\n"))]
    Plan(PlanError),
    /// The control socket cannot be made.
    #[error("control socket: cannot be made; choose another place with --control-socket")]
    Control(#[source] evenkeel_control::Error),
    /// The system grants no more threads, or none of what they need.
    #[error("a thread could not be started; are threads or file descriptors of this user used up?")]
    Thread(#[source] io::Error),
}

/// A running data plane.
#[derive(Debug)]
pub struct Proxy {
    wishes: mpsc::UnboundedSender<Wish>,
    control: Option<JoinHandle<()>>,
    running: Arc<Running>,
}

impl Proxy {
    /// Starts: when this returns, every listener is bound and clients are served.
    ///
    /// # Errors
    /// Whatever keeps it from serving; nothing runs then.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let path = options.config.display().to_string();
        let text = fs::read_to_string(&options.config).map_err(|source| {
            StartError::Plan(PlanError::File { path: path.clone(), action: "read", source })
        })?;
        let count = options.workers.get();
        let config =
            Config::parse(&path, &text).map_err(|errors| StartError::Plan(PlanError::Config(errors)))?;
        let plan = Arc::new(plan::make(&path, (&text, config), count, None).map_err(StartError::Plan)?);
        let clock = Clock::start();
        let workers = start_workers(options.workers, clock, &plan).map_err(StartError::Thread)?;
        let running = Arc::new(Running::new(clock, options.version, count, plan));
        let (wishes, incoming) = mpsc::unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let socket = {
            let _inside = runtime.enter();
            options.control_socket.as_deref().map(evenkeel_control::Server::bind).transpose()
        };
        let control = Control {
            running: Arc::clone(&running),
            workers,
            config_path: Some(options.config),
            socket: socket.map_err(StartError::Control)?,
            wishes: wishes.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || runtime.block_on(control.run(incoming)))
            .map_err(StartError::Thread)?;
        Ok(Self { wishes, control: Some(thread), running })
    }

    /// Where the admin pages are.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.running.plan().admin.address()
    }

    /// Where a listener of the running configuration listens in fact.
    #[must_use]
    pub fn listener_address(&self, name: &str) -> Option<SocketAddr> {
        let plan = self.running.plan();
        plan.listeners.iter().find(|listener| listener.shared.name == name).map(|found| found.shared.address)
    }

    /// Reads the configuration file again and takes it over.
    ///
    /// # Errors
    /// When it cannot be run; the running one stays (I8).
    pub async fn reload(&self) -> Result<(), PlanError> {
        self.wish(Wish::Reload).await
    }

    /// Takes over a configuration and keeps it as the configuration file.
    ///
    /// # Errors
    /// When it cannot be run; the running one stays, and so does the file (I8).
    pub async fn apply(&self, text: String) -> Result<(), PlanError> {
        self.wish(|reply| Wish::Apply(text, reply)).await
    }

    async fn wish(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<(), PlanError>>) -> Wish,
    ) -> Result<(), PlanError> {
        let (reply, replied) = oneshot::channel();
        self.wishes.send(make(reply)).map_err(|_| PlanError::Stopping)?;
        replied.await.unwrap_or(Err(PlanError::Stopping))
    }

    /// Opens the files of logs anew, after they were moved away.
    pub fn reopen_logs(&self) {
        // Whoever has stopped writes no log.
        let _ = self.wishes.send(Wish::ReopenLogs);
    }

    /// Takes no more clients, lets those that are there finish, and stops.
    pub fn drain(&self) {
        // Whoever has stopped already needs no order.
        let _ = self.wishes.send(Wish::Drain);
    }

    /// Waits until everything has ended, which only [`Self::drain`] brings about.
    pub fn wait(mut self) {
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread ended by a fault of its own");
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("workers", &self.workers).finish_non_exhaustive()
    }
}

fn start_workers(count: NonZeroUsize, clock: Clock, plan: &Arc<Plan>) -> io::Result<Vec<Handle>> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = u64::try_from(since_epoch.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
    let mut workers = Vec::with_capacity(count.get());
    for index in 0..count.get() {
        let worker = worker::start(index, count, clock, seed)?;
        let (done, when_done) = oneshot::channel();
        // A worker that cannot start drops its end, which the wait below then tells.
        let _ = worker.orders.send(Order::Apply(Arc::clone(plan), done));
        when_done.blocking_recv().map_err(|_| io::Error::other("a worker ended at once"))?;
        workers.push(worker);
    }
    Ok(workers)
}
