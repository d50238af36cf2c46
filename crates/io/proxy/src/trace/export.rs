//! Sending spans to the collector, on the control thread.
//!
//! Owns: batches, the waits between tries, and when sending ends. Invariants: a span is waited for no longer than the
//! batch interval, a batch is tried no more often than [`Backoff`] allows; whoever stops waits at most for one answer.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use evenkeel_trace::{Backoff, Resource, Span, Verdict, encode, rejected};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Lost, Outgoing, Traces};

/// The exporters that run.
pub(crate) struct Exports {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    version: &'static str,
}

impl Exports {
    /// None yet; spans will say that they are from this version.
    pub(crate) fn new(version: &'static str) -> Self {
        Self { tasks: JoinSet::new(), stop: watch::channel(false).0, version }
    }

    /// Sends what a plan's exporter has, until nobody can give it spans any more.
    pub(crate) fn follow(&mut self, traces: &Traces) {
        while self.tasks.try_join_next().is_some() {}
        if let Some(outgoing) = traces.exporter.as_ref().and_then(|exporter| exporter.take_outgoing()) {
            let task = Task::new(outgoing, self.version, self.stop.subscribe());
            self.tasks.spawn(task.run());
        }
    }

    /// Sends what is left, as far as the collector takes it at once.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Whether the collector took the last batch, so that the log tells of changes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Bad,
}

struct Task {
    outgoing: Outgoing,
    resource: Resource,
    stop: watch::Receiver<bool>,
    health: Health,
}

impl Task {
    fn new(outgoing: Outgoing, version: &str, stop: watch::Receiver<bool>) -> Self {
        let instance = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let resource = Resource {
            service: outgoing.settings.service_name.clone(),
            version: version.to_owned(),
            instance: format!("{instance:016x}"),
        };
        Self { outgoing, resource, stop, health: Health::Good }
    }

    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            self.deliver(batch).await;
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// The next spans; none when there will be no more.
    async fn gather(&mut self) -> Vec<Span> {
        let most = usize::try_from(self.outgoing.settings.batch_size.get()).unwrap_or(usize::MAX);
        let mut batch = Vec::new();
        let mut until = None;
        while batch.len() < most {
            if self.is_stopping() {
                // What has come still goes; nobody waits for what might.
                self.outgoing.spans.close();
            }
            let room = most - batch.len();
            tokio::select! {
                biased;
                count = self.outgoing.spans.recv_many(&mut batch, room) => {
                    if count == 0 {
                        break;
                    }
                    until.get_or_insert_with(|| Instant::now() + self.outgoing.settings.batch_interval);
                }
                () = wait(until) => break,
                _ = self.stop.changed() => {}
            }
        }
        batch
    }

    /// Sends a batch until the collector takes it or it is given up.
    async fn deliver(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let message = Bytes::from(encode(&self.resource, spans));
        let mut backoff = Backoff::default();
        loop {
            let (asked, why) = match self.send(message.clone(), count).await {
                Sent::Done => return,
                Sent::Later(asked, why) => (asked, why),
            };
            self.outgoing.counts.failures.fetch_add(1, Relaxed);
            self.is_bad(&why);
            let chance = getrandom::u32().map_or(0, |number| number.to_le_bytes()[0]);
            let wait = backoff.next(asked, chance).filter(|_| !self.is_stopping());
            let Some(wait) = wait else { return self.outgoing.counts.lose(Lost::Unanswered, count) };
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    /// Sends a batch once.
    async fn send(&mut self, message: Bytes, count: u64) -> Sent {
        let deadline = self.outgoing.settings.deadline;
        let answer = match timeout(deadline, self.outgoing.collector.send(message)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Sent::Later(None, error.to_string()),
            Err(_) => return Sent::Later(None, format!("no answer within {deadline:?}")),
        };
        let counts = &self.outgoing.counts;
        match Verdict::of(answer.status, answer.retry_after.as_deref()) {
            Verdict::Taken => {
                let lost = rejected(&answer.content).map_or(0, |(lost, reason)| {
                    tracing::warn!(lost, reason, "the collector of traces took not all spans");
                    lost.min(count)
                });
                counts.lose(Lost::Refused, lost);
                counts.sent.fetch_add(count - lost, Relaxed);
                self.is_good();
            }
            Verdict::Refused => {
                counts.lose(Lost::Refused, count);
                counts.failures.fetch_add(1, Relaxed);
                self.is_bad(&format!("it answered {}", answer.status));
            }
            Verdict::Later(asked) => return Sent::Later(asked, format!("it answered {}", answer.status)),
        }
        Sent::Done
    }

    fn is_good(&mut self) {
        if self.health == Health::Bad {
            tracing::info!("the collector of traces takes spans again");
        }
        self.health = Health::Good;
    }

    fn is_bad(&mut self, why: &str) {
        if self.health == Health::Good {
            let endpoint = &self.outgoing.settings.endpoint;
            tracing::warn!(
                host = endpoint.host,
                port = endpoint.port,
                why,
                "the collector of traces does not take spans; requests go on, spans may be lost"
            );
        }
        self.health = Health::Bad;
    }
}

/// What became of a batch that was sent once.
enum Sent {
    /// Nothing is left to be done for it.
    Done,
    /// It may be sent again, no sooner than the collector asks for; why it has to be.
    Later(Option<Duration>, String),
}

/// Waits until then, or for ever.
async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
