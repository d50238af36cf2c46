//! Certificates that the data plane gets for itself by ACME (RFC 8555).
//!
//! Owns: when, from whom, and keeping what came. Leaves to others: the protocol (instant-acme), showing the certificate
//! (`tls`). Invariants: it runs on the control thread and never stands in the way of a request; a listener always has a
//! certificate to show, at worst one that it made itself; what was issued is on the disk before it is shown.

pub(crate) mod challenges;
mod http;
mod order;
mod schedule;
pub(crate) mod storage;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    admin::control::Running,
    tls::{files, front::Front},
};
use order::OrderError;
use schedule::Backoff;

pub(crate) use order::self_signed;

/// From one look at what is due to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest that one attempt may take: an authority looks at each of up to 100 names, each within seconds.
const ATTEMPT: Duration = Duration::from_secs(600);

/// A listener that gets its certificate by ACME.
struct Job {
    listener: String,
    front: Arc<Front>,
    backoff: Backoff,
    next: Instant,
}

/// Gets certificates for the listeners of the plan that runs, for ever; `config` is the configuration file.
pub(crate) async fn run(running: Arc<Running>, config: PathBuf) {
    let folder = config.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let mut jobs = Vec::new();
    loop {
        follow(&mut jobs, &running);
        for job in &mut jobs {
            job.look(&folder).await;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Works for what listeners show now, and no more for those that are gone.
fn follow(jobs: &mut Vec<Job>, running: &Running) {
    let plan = running.plan();
    let shown = |front: &Arc<Front>| {
        plan.listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref())
            .any(|other| Arc::ptr_eq(other, front))
    };
    jobs.retain(|job| shown(&job.front));
    for listener in &plan.listeners {
        let Some(front) = listener.tls.as_ref().filter(|front| front.acme().is_some()) else { continue };
        if !jobs.iter().any(|job| Arc::ptr_eq(&job.front, front)) {
            let name = listener.shared.name.clone();
            jobs.push(Job {
                listener: name,
                front: Arc::clone(front),
                backoff: Backoff::default(),
                next: Instant::now(),
            });
        }
    }
}

impl Job {
    /// Shows what was stored.
    fn show(&self, folder: &Path) -> Result<(), OrderError> {
        self.front.renew(folder).map_err(OrderError::File)?;
        let shown = self.front.certificates.table();
        let domains = self.front.acme().map_or(&[][..], |acme| &acme.settings.domains);
        // Asking again at once for what is of no use would only use up what the authority allows.
        let useless =
            shown.certificates.first().is_none_or(|one| schedule::is_due(one, domains, files::now()));
        if useless { Err(OrderError::Useless) } else { Ok(()) }
    }

    /// Gets a certificate when it is time.
    async fn look(&mut self, folder: &Path) {
        let Some(acme) = self.front.acme() else { return };
        let shown = self.front.certificates.table();
        let Some(certificate) = shown.certificates.first() else { return };
        let due = schedule::is_due(certificate, &acme.settings.domains, files::now());
        if !due || Instant::now() < self.next {
            return;
        }
        let attempt = tokio::time::timeout(ATTEMPT, order::issue(folder, acme, &self.listener));
        let result = match attempt.await {
            Ok(Ok(())) => self.show(folder),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(OrderError::TooSlow),
        };
        acme.challenges.clear();
        let listener = &self.listener;
        match result {
            Ok(()) => {
                self.backoff = Backoff::default();
                tracing::info!(listener, directory = acme.settings.directory, "a certificate was issued");
            }
            Err(error) => {
                let wait = self.backoff.next(schedule::chance());
                self.next = Instant::now() + wait;
                tracing::warn!(
                    listener,
                    directory = acme.settings.directory,
                    retry_seconds = wait.as_secs(),
                    "no certificate was issued: {}",
                    error.sentence()
                );
            }
        }
    }
}
