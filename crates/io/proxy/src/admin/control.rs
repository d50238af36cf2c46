//! The control thread: everything that is not a client's request.
//!
//! Owns: the running plan, reloads, health checks, the admin listener and the control socket. Invariant I8: the
//! running plan changes only after a whole new one was made, and one change at a time; a text becomes the configuration
//! file only after every worker runs it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use evenkeel_control::{Answer, ProxyRequest};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    acme,
    admin::{
        notify::{self, State},
        orders::{self, Followed, OrderError, ServerOrder},
        status,
    },
    clock::Clock,
    plan::{self, AdminSocket, Plan, PlanError},
    pool::{discovery::Discoveries, health::Checks},
    reading, tls,
    trace::export::Exports,
    worker::{Handle, Order},
};

/// Something that the control thread is asked to do.
pub(crate) enum Wish {
    /// Take over this text, and keep it as the configuration file when there is one.
    Apply(String, oneshot::Sender<Result<(), PlanError>>),
    /// Read the configuration file again and take it over.
    Reload(oneshot::Sender<Result<(), PlanError>>),
    /// Do something with one server of a pool.
    Order(Target, ServerOrder, oneshot::Sender<Result<Followed, OrderError>>),
    /// Open the files of logs anew.
    ReopenLogs,
    /// Take over what DNS says now.
    Found,
    /// Let clients finish, then stop.
    Drain,
}

/// A server, by the name of its pool and its own.
pub(crate) struct Target {
    pub(crate) pool: String,
    pub(crate) server: String,
}

/// What the admin pages show.
pub(crate) struct Running {
    pub(crate) clock: Clock,
    pub(crate) version: &'static str,
    pub(crate) workers: usize,
    pub(crate) draining: AtomicBool,
    plan: std::sync::RwLock<Arc<Plan>>,
}

impl Running {
    /// What runs from the start.
    pub(crate) fn new(clock: Clock, version: &'static str, workers: usize, plan: Arc<Plan>) -> Self {
        Self { clock, version, workers, draining: AtomicBool::new(false), plan: plan.into() }
    }

    /// The plan that runs.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn set_plan(&self, plan: Arc<Plan>) {
        *self.plan.write().unwrap_or_else(std::sync::PoisonError::into_inner) = plan;
    }
}

/// The control thread's state.
pub(crate) struct Control {
    pub(crate) running: Arc<Running>,
    pub(crate) workers: Vec<Handle>,
    pub(crate) config_path: Option<PathBuf>,
    pub(crate) socket: Option<evenkeel_control::Server>,
    pub(crate) wishes: mpsc::UnboundedSender<Wish>,
}

impl Control {
    /// Fulfils wishes until one of them is to stop, and everything has ended.
    pub(crate) async fn run(mut self, mut incoming: mpsc::UnboundedReceiver<Wish>) {
        let mut checks = Checks::default();
        checks.follow(&self.running.plan(), self.running.clock);
        let mut discoveries = Discoveries::new(self.wishes.clone());
        discoveries.follow(&self.running.plan(), self.running.clock);
        let mut exports = Exports::new(self.running.version);
        exports.follow(&self.running.plan().traces);
        let mut services = self.start_services();
        let mut pages = self.serve_pages(&self.running.plan());
        notify::tell(State::Ready);
        while let Some(wish) = incoming.recv().await {
            match wish {
                Wish::Apply(text, reply) => {
                    let applied = self.apply(&text, Keep::Yes, (&mut checks, &mut pages)).await;
                    let _ = reply.send(applied);
                }
                Wish::Reload(reply) => {
                    let applied = self.reload((&mut checks, &mut pages)).await;
                    let _ = reply.send(applied);
                }
                Wish::Order(target, order, reply) => {
                    let plan = self.running.plan();
                    let _ = reply.send(orders::follow(&plan, &target.pool, &target.server, order));
                }
                Wish::ReopenLogs => self.reopen_logs(),
                Wish::Found => self.join_found((&mut checks, &mut pages)).await,
                Wish::Drain => break,
            }
            discoveries.follow(&self.running.plan(), self.running.clock);
            exports.follow(&self.running.plan().traces);
        }
        self.drain().await;
        exports.finish().await;
        pages.shutdown().await;
        services.shutdown().await;
    }

    fn reopen_logs(&self) {
        if let Some(log) = &self.running.plan().access_log {
            log.reopen();
            tracing::info!("the access log is opened anew");
        }
    }

    /// Serves the admin pages of a plan, until the set is dropped.
    fn serve_pages(&self, plan: &Plan) -> JoinSet<()> {
        let mut pages = JoinSet::new();
        match plan.admin.listener().and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => drop(pages.spawn(super::serve(listener, Arc::clone(&self.running)))),
            Err(error) => tracing::error!(%error, "the admin listener is of no use"),
        }
        pages
    }

    fn start_services(&mut self) -> JoinSet<()> {
        let mut services = JoinSet::new();
        if let Some(path) = &self.config_path {
            services.spawn(tls::watch::run(Arc::clone(&self.running), path.clone()));
            services.spawn(acme::run(Arc::clone(&self.running), path.clone()));
        }
        if let Some(socket) = self.socket.take() {
            let (wishes, running) = (self.wishes.clone(), Arc::clone(&self.running));
            let answer = move |request| answer(wishes.clone(), Arc::clone(&running), request);
            services.spawn(async move { socket.serve(answer).await });
        }
        services
    }

    async fn reload(&mut self, beside: (&mut Checks, &mut JoinSet<()>)) -> Result<(), PlanError> {
        let Some(path) = self.config_path.clone() else { return Ok(()) };
        let text = fs::read_to_string(&path).map_err(|source| file_error(&path, "read", source))?;
        self.apply(&text, Keep::No, beside).await
    }

    /// Takes over the running configuration with the servers that DNS names now.
    async fn join_found(&mut self, beside: (&mut Checks, &mut JoinSet<()>)) {
        let text = self.running.plan().text.clone();
        if let Err(error) = self.take_over(&text, Keep::No, beside).await {
            for sentence in error.sentences() {
                tracing::error!("servers that DNS names are not taken over: {sentence}");
            }
        }
    }

    async fn apply(
        &mut self,
        text: &str,
        keep: Keep,
        beside: (&mut Checks, &mut JoinSet<()>),
    ) -> Result<(), PlanError> {
        notify::tell(State::Reloading);
        let applied = self.take_over(text, keep, beside).await;
        notify::tell(State::Ready);
        match &applied {
            Ok(()) => tracing::info!("configuration taken over"),
            Err(error) => {
                for sentence in error.sentences() {
                    tracing::error!("configuration refused, the running one stays: {sentence}");
                }
            }
        }
        applied
    }

    async fn take_over(
        &mut self,
        text: &str,
        keep: Keep,
        (checks, pages): (&mut Checks, &mut JoinSet<()>),
    ) -> Result<(), PlanError> {
        let before = self.running.plan();
        let name = self.config_path.as_deref().map_or_else(|| "configuration".into(), Path::to_string_lossy);
        let config = reading::read(name.clone().into_owned(), text.to_owned()).await?;
        let plan = Arc::new(plan::make(&name, (text, config), self.workers.len(), Some(&before))?);
        // Whatever of writing can fail by the disk fails here, before a worker hears of the plan.
        let kept = match (keep, &self.config_path) {
            (Keep::Yes, Some(path)) => Some(Written::beside(path, text)?),
            (Keep::Yes | Keep::No, _) => None,
        };
        let mut taken = Vec::new();
        for worker in &self.workers {
            let (done, when_done) = oneshot::channel();
            worker.orders.send(Order::Apply(Arc::clone(&plan), done)).map_err(|_| PlanError::Stopping)?;
            taken.push(when_done);
        }
        for when_done in taken {
            when_done.await.map_err(|_| PlanError::Stopping)?;
        }
        checks.follow(&plan, self.running.clock);
        orders::settle(&before, &plan);
        self.running.set_plan(Arc::clone(&plan));
        if !AdminSocket::is_same(&plan.admin, &before.admin) {
            // Whoever is being answered there is answered to the end.
            *pages = self.serve_pages(&plan);
        }
        kept.map_or(Ok(()), Written::take_place)
    }

    async fn drain(&mut self) {
        notify::tell(State::Stopping);
        self.running.draining.store(true, Relaxed);
        let patience = self.running.plan().config.deadlines().drain;
        tracing::info!(?patience, "draining");
        for worker in &self.workers {
            // A worker that has ended needs no order.
            let _ = worker.orders.send(Order::Drain(patience));
        }
        for worker in self.workers.drain(..) {
            let joined = tokio::task::spawn_blocking(move || worker.thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a worker ended by a fault of its own");
            }
        }
        tracing::info!("drained");
    }
}

/// Whether a text becomes the configuration file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

fn file_error(path: &Path, action: &'static str, source: std::io::Error) -> PlanError {
    PlanError::File { path: path.display().to_string(), action, source }
}

/// A text on the disk beside the configuration file, whose place it may take.
struct Written<'a> {
    new: PathBuf,
    path: &'a Path,
}

impl<'a> Written<'a> {
    fn beside(path: &'a Path, text: &str) -> Result<Self, PlanError> {
        let new = path.with_extension("toml.new");
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| file_error(path, "written", source))?;
        Ok(Self { new, path })
    }

    /// Replaces the file so that after a power cut it is either the old or the new one.
    fn take_place(self) -> Result<(), PlanError> {
        let replace = || {
            fs::rename(&self.new, self.path)?;
            match self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                Some(folder) => fs::File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        replace().map_err(|source| {
            file_error(self.path, "replaced, though what it should say runs already", source)
        })
    }
}

async fn answer(wishes: mpsc::UnboundedSender<Wish>, running: Arc<Running>, request: ProxyRequest) -> Answer {
    let order = match request {
        ProxyRequest::Apply { text } => return change(&wishes, |reply| Wish::Apply(text, reply)).await,
        ProxyRequest::Reload {} => return change(&wishes, Wish::Reload).await,
        ProxyRequest::Status {} => {
            return Answer::done_with(&status::of(&running)).unwrap_or_else(Answer::refused);
        }
        ProxyRequest::ReopenLogs {} => {
            let sent = wishes.send(Wish::ReopenLogs);
            return sent.map_or_else(|_| Answer::refused(PlanError::Stopping), |()| Answer::done());
        }
        ProxyRequest::Drain { pool, server } => (Target { pool, server }, ServerOrder::Drain),
        ProxyRequest::Resume { pool, server } => (Target { pool, server }, ServerOrder::Resume),
        ProxyRequest::Weight { pool, server, weight } => match orders::weight(weight) {
            Ok(weight) => (Target { pool, server }, ServerOrder::Weight(weight)),
            Err(error) => return Answer::refused(error),
        },
    };
    let (reply, replied) = oneshot::channel();
    // A wish is lost only when the data plane stops, which the missing reply tells.
    let _ = wishes.send(Wish::Order(order.0, order.1, reply));
    match replied.await {
        Ok(Ok(followed)) => Answer::done_with(&followed).unwrap_or_else(Answer::refused),
        Ok(Err(error)) => Answer::refused(error),
        Err(_) => Answer::refused(PlanError::Stopping),
    }
}

/// Asks for another configuration.
async fn change(
    wishes: &mpsc::UnboundedSender<Wish>,
    wish: impl FnOnce(oneshot::Sender<Result<(), PlanError>>) -> Wish,
) -> Answer {
    let (reply, replied) = oneshot::channel();
    let _ = wishes.send(wish(reply));
    match replied.await {
        Ok(Ok(())) => Answer::done(),
        Ok(Err(error)) => Answer::Refused { errors: error.sentences() },
        Err(_) => Answer::refused(PlanError::Stopping),
    }
}
