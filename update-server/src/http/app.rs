//! What requests share: the engine and the repository, each behind one lock that is held off the runtime.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use evenkeel_units::WallTime;
use tokio::sync::{Semaphore, watch};

use super::answer::Refusal;
use crate::{
    engine::Engine,
    limits,
    repository::{Repository, RepositoryError},
    secret::OperatorToken,
};

/// The running server.
pub struct App {
    engine: Mutex<Engine>,
    repository: Mutex<Repository>,
    pub(super) operator: OperatorToken,
    pub(super) held: Semaphore,
    pub(super) uploads: Semaphore,
    closing: watch::Sender<bool>,
}

/// The time of the calendar, as the machine has it.
#[must_use]
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_seconds(since.as_secs())
}

/// A thread that panicked has changed memory only after its commit, so what the lock guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// Puts the parts together; the engine learns which releases are published.
    ///
    /// # Errors
    /// When a published release is not understood.
    pub fn new(
        mut engine: Engine,
        repository: Repository,
        operator: OperatorToken,
    ) -> Result<Self, RepositoryError> {
        engine.set_releases(repository.releases()?);
        Ok(Self {
            engine: Mutex::new(engine),
            repository: Mutex::new(repository),
            operator,
            held: Semaphore::new(limits::HELD),
            uploads: Semaphore::new(limits::UPLOADS),
            closing: watch::Sender::new(false),
        })
    }

    /// Runs `work` on the engine, off the runtime's threads.
    pub(super) async fn engine<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Engine) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        let app = Arc::clone(self);
        off_runtime(move || work(&mut lock(&app.engine))).await
    }

    /// Runs `work` on the repository, off the runtime's threads.
    pub(super) async fn repository<T, E>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Repository) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        let app = Arc::clone(self);
        off_runtime(move || work(&mut lock(&app.repository))).await
    }

    /// Publishes targets metadata; rollouts may use its releases from then on.
    pub(super) async fn publish_targets(self: &Arc<Self>, bytes: Vec<u8>) -> Result<(), Refusal> {
        let publish = move |repository: &mut Repository| {
            repository.publish_targets(&bytes, now())?;
            repository.releases()
        };
        let releases = self.repository(publish).await?;
        self.engine(move |engine| {
            engine.set_releases(releases);
            Ok::<_, Refusal>(())
        })
        .await
    }

    /// Does what is due.
    pub(super) async fn tick(self: &Arc<Self>) {
        let renewed = self.repository(|repository| repository.renew(now())).await;
        let advanced = self.engine(|engine| engine.advance(now())).await;
        for refusal in [renewed, advanced].into_iter().filter_map(Result::err) {
            tracing::error!(%refusal, "what was due could not be done");
        }
    }

    /// Lets held requests go, for the server ends.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns once the server ends.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // An error would mean that the sender is gone, and it lives as long as we do.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}

/// Runs blocking work on a thread of its own.
pub(super) async fn off_runtime<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Refusal::internal(&error)),
    }
}
