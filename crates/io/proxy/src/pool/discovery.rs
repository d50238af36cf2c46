//! Servers that DNS names: asking for them, once for all workers.
//!
//! Owns: the lookups, their rhythm, and the last good answer. Leaves to others: what of an answer is believed
//! (`core/config`), and taking a changed pool over (`admin::control`). Invariant: an answer that names nobody, or none at
//! all, changes nothing: however dead or wrong a resolver is, a pool keeps the servers that it had.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use evenkeel_config::balancer::{Discovery, Found, Records};
use evenkeel_units::Instant;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{admin::control::Wish, clock::Clock, plan::Plan};

/// Longest that one question may take. Two attempts and another resolver fit into the shortest interval that is usual.
const QUESTION: Duration = Duration::from_secs(2);

/// Attempts at each resolver.
const ATTEMPTS: usize = 2;

/// Most targets of services that are looked up for one answer.
const MAX_TARGETS: usize = 64;

/// What is known of the servers of one pool; it stays through reloads that ask for the same.
#[derive(Debug)]
pub(crate) struct Discovered {
    /// The pool's name.
    pub(crate) pool: String,
    pub(crate) settings: Discovery,
    state: Mutex<State>,
}

/// The last good answer, and what went wrong since.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    found: Vec<Found>,
    /// When the last good answer came.
    pub(crate) answered: Option<Instant>,
    /// Since when there was no good answer, where the last lookup gave none.
    pub(crate) stale_since: Option<Instant>,
    /// What the last lookup came to, in words.
    pub(crate) result: String,
    /// Lookups without a good answer.
    pub(crate) failures: u64,
}

impl Discovered {
    /// Nothing is known yet.
    pub(crate) fn new(pool: &str, settings: Discovery) -> Self {
        Self { pool: pool.to_owned(), settings, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// The servers of the last good answer.
    pub(crate) fn found(&self) -> Vec<Found> {
        self.lock().found.clone()
    }

    /// Takes in an answer; whether it changes anything.
    fn learn(&self, now: Instant, mut found: Vec<Found>) -> bool {
        found.sort_unstable();
        found.dedup();
        let mut state = self.lock();
        let changed = state.found != found;
        state.result = format!("{} servers", found.len());
        (state.answered, state.stale_since) = (Some(now), None);
        state.found = found;
        changed
    }

    /// Takes in that there was no good answer; whether that is news.
    fn fail(&self, now: Instant, trouble: &str) -> bool {
        let mut state = self.lock();
        let news = state.stale_since.is_none();
        state.stale_since.get_or_insert(now);
        state.failures += 1;
        trouble.clone_into(&mut state.result);
        news
    }
}

/// The lookups that run; they end when this is dropped.
pub(crate) struct Discoveries {
    running: Vec<(Arc<Discovered>, JoinSet<()>)>,
    wishes: mpsc::UnboundedSender<Wish>,
}

impl Discoveries {
    /// None run yet; changes are told to `wishes`.
    pub(crate) const fn new(wishes: mpsc::UnboundedSender<Wish>) -> Self {
        Self { running: Vec::new(), wishes }
    }

    /// Looks up what this plan asks for from now on. Lookups that it asks for as before go on in their rhythm.
    pub(crate) fn follow(&mut self, plan: &Plan, clock: Clock) {
        let mut before = std::mem::take(&mut self.running);
        for discovered in plan.discovered.iter().flatten() {
            let known = before.iter().position(|(known, _)| Arc::ptr_eq(known, discovered));
            self.running.push(match known {
                Some(at) => before.swap_remove(at),
                None => {
                    let mut task = JoinSet::new();
                    task.spawn(look_up_for_ever(Arc::clone(discovered), clock, self.wishes.clone()));
                    (Arc::clone(discovered), task)
                }
            });
        }
    }
}

async fn look_up_for_ever(discovered: Arc<Discovered>, clock: Clock, wishes: mpsc::UnboundedSender<Wish>) {
    let (pool, settings) = (&discovered.pool, &discovered.settings);
    let mut after_failure = settings.least_interval;
    loop {
        let wait = match look_up(settings).await {
            Ok((found, lives)) => {
                after_failure = settings.least_interval;
                if discovered.learn(clock.now(), found) {
                    tracing::info!(pool, name = settings.name.as_str(), "DNS names other servers");
                    // Who is stopping takes no wishes any more.
                    let _ = wishes.send(Wish::Found);
                }
                lives.clamp(settings.least_interval, settings.interval)
            }
            Err(trouble) => {
                if discovered.fail(clock.now(), &trouble) {
                    tracing::warn!(
                        pool,
                        name = settings.name.as_str(),
                        "DNS names no servers, the known ones stay: {trouble}"
                    );
                }
                let wait = after_failure;
                after_failure = (after_failure * 2).min(settings.interval);
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// The servers that DNS names now and for how long that holds, or what went wrong.
async fn look_up(settings: &Discovery) -> Result<(Vec<Found>, Duration), String> {
    let resolver = resolver(settings).map_err(|error| format!("no resolver can be used: {error}"))?;
    // With a dot at its end a name is whole: no search domain is tried behind it.
    let name = format!("{}.", settings.name.as_str());
    let (found, lives) = match settings.records {
        Records::A(port) => addresses(&resolver, &name, RecordType::A, port.get()).await?,
        Records::Aaaa(port) => addresses(&resolver, &name, RecordType::AAAA, port.get()).await?,
        Records::Srv => services(&resolver, &name).await?,
    };
    let found: Vec<_> = found.into_iter().filter(|found| settings.believes(found.address)).collect();
    if found.is_empty() {
        return Err("the answer has no address that a server could have".to_owned());
    }
    Ok((found, lives))
}

fn resolver(settings: &Discovery) -> Result<TokioResolver, NetError> {
    let mut builder = if settings.resolvers.is_empty() {
        // Read each time, for the file changes when the box gets another address.
        TokioResolver::builder_tokio()?
    } else {
        let servers = settings.resolvers.iter().map(|&address| name_server(address)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = QUESTION.min(settings.interval);
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    builder.build()
}

/// A resolver at this address; that it knows of no servers is not believed before the others were asked.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), false, connections.into())
}

async fn ask(resolver: &TokioResolver, name: &str, records: RecordType) -> Result<Lookup, String> {
    resolver.lookup(name, records).await.map_err(|error| format!("{name} {records}: {error}"))
}

/// The shortest time to live of an answer's records.
fn lives(lookup: &Lookup) -> Duration {
    let shortest = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    Duration::from_secs(u64::from(shortest))
}

fn ips(lookup: &Lookup) -> impl Iterator<Item = IpAddr> + '_ {
    lookup.answers().iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    })
}

async fn addresses(
    resolver: &TokioResolver,
    name: &str,
    records: RecordType,
    port: u16,
) -> Result<(Vec<Found>, Duration), String> {
    let lookup = ask(resolver, name, records).await?;
    let found = |ip| Found { priority: 0, address: SocketAddr::new(ip, port), weight: 0 };
    Ok((ips(&lookup).map(found).collect(), lives(&lookup)))
}

/// Services with the addresses of their targets (RFC 2782). A target that cannot be looked up makes the whole answer
/// bad: half of an answer would take servers away that are only not heard of.
async fn services(resolver: &TokioResolver, name: &str) -> Result<(Vec<Found>, Duration), String> {
    let lookup = ask(resolver, name, RecordType::SRV).await?;
    let mut shortest = lives(&lookup);
    let mut found = Vec::new();
    let services = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(service) if !service.target.is_root() => Some(service),
        _ => None,
    });
    for service in services.take(MAX_TARGETS) {
        let target = service.target.to_ascii();
        let four = ask(resolver, &target, RecordType::A).await;
        let six = ask(resolver, &target, RecordType::AAAA).await;
        let answers = match (four, six) {
            (Ok(four), Ok(six)) => vec![four, six],
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => vec![one],
            (Err(trouble), Err(_)) => return Err(trouble),
        };
        for answer in &answers {
            shortest = shortest.min(lives(answer));
            found.extend(ips(answer).map(|ip| Found {
                priority: service.priority,
                address: SocketAddr::new(ip, service.port),
                weight: service.weight,
            }));
        }
    }
    Ok((found, shortest))
}
