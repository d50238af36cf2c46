//! What went well and what did not, and whether there is a reason for it.
//!
//! Owns: the rule. An error has a reason when it fell into a stretch in which a server had been stopped under load, from
//! the stop until the balancer has had time to know that it is back; and only for what no balancer can hide then. All
//! other errors are unexplained, and one is too many.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Descriptions of unexplained errors that are kept: enough to see what they have in common.
const MOST_DESCRIPTIONS: usize = 20;

/// How long after a server has come back an error may still come of its absence: two checks of 2 s each find it well.
const AFTERMATH: Duration = Duration::from_secs(4);

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// HTTP/1.1, many requests on a connection.
    Keepalive,
    /// HTTP/1.1, one request on a connection.
    Closing,
    /// Answers of 1 MiB.
    Large,
    /// Requests with 256 KiB of content.
    Upload,
    /// HTTP/1.1 over TLS, many requests on a connection.
    Tls,
    /// A full TLS handshake for each request.
    Handshake,
    /// HTTP/2 over TLS, ten streams at once.
    Http2,
    /// WebSocket messages.
    Websocket,
    /// HTTP/1.1 through a listener that passes bytes on.
    Tcp,
    /// A head that never ends: cut by its deadline.
    SlowHead,
    /// An answer of 1 MiB, taken over ten seconds and more.
    SlowReader,
}

impl Client {
    /// Whether the stop of a server may show. A small request that can be repeated is to be answered by another server,
    /// with no excuse; bytes that were passed on, and content that was sent, cannot be taken back.
    const fn shows_a_stop(self) -> bool {
        match self {
            Self::Keepalive | Self::Closing | Self::Tls | Self::Handshake | Self::Http2 | Self::SlowHead => {
                false
            }
            Self::Large | Self::Upload | Self::Websocket | Self::Tcp | Self::SlowReader => true,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keepalive => "HTTP/1.1, kept",
            Self::Closing => "HTTP/1.1, closing",
            Self::Large => "1 MiB answers",
            Self::Upload => "256 KiB uploads",
            Self::Tls => "TLS, kept",
            Self::Handshake => "TLS handshakes",
            Self::Http2 => "HTTP/2",
            Self::Websocket => "WebSocket",
            Self::Tcp => "TCP",
            Self::SlowHead => "slow heads",
            Self::SlowReader => "slow readers",
        })
    }
}

/// Figures of one kind of client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Went as it should.
    pub(super) done: u64,
    /// Failed with a reason.
    pub(super) explained: u64,
    /// Failed without one.
    pub(super) unexplained: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Client, Count>,
    stops: Vec<(Instant, Option<Instant>)>,
    descriptions: Vec<String>,
}

/// The figures of a run, shared by all of its clients.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    began: Instant,
    state: Arc<Mutex<State>>,
}

impl Tally {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, state: Arc::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something went as it should.
    pub(super) fn done(&self, client: Client) {
        self.with(|state| state.counts.entry(client).or_default().done += 1);
    }

    /// Something that began at a time failed now.
    pub(super) fn failed(&self, client: Client, since: Instant, what: &str) {
        let (now, began) = (Instant::now(), self.began);
        self.with(|state| {
            let explained = client.shows_a_stop() && overlaps(&state.stops, since, now);
            let count = state.counts.entry(client).or_default();
            if explained {
                count.explained += 1;
                return;
            }
            count.unexplained += 1;
            if state.descriptions.len() < MOST_DESCRIPTIONS {
                let at = now.duration_since(began).as_secs_f64();
                state.descriptions.push(format!("{at:.1} s, {client}: {what}"));
            }
        });
    }

    /// A server is being stopped.
    pub(super) fn stopped(&self) {
        self.with(|state| state.stops.push((Instant::now(), None)));
    }

    /// It is back.
    pub(super) fn returned(&self) {
        self.with(|state| {
            if let Some((_, end)) = state.stops.last_mut() {
                *end = Some(Instant::now() + AFTERMATH);
            }
        });
    }

    pub(super) fn stops(&self) -> usize {
        self.with(|state| state.stops.len())
    }

    pub(super) fn counts(&self) -> BTreeMap<Client, Count> {
        self.with(|state| state.counts.clone())
    }

    pub(super) fn descriptions(&self) -> Vec<String> {
        self.with(|state| state.descriptions.clone())
    }
}

/// Whether a stretch has a moment in common with one in which a server was away.
fn overlaps(stops: &[(Instant, Option<Instant>)], from: Instant, to: Instant) -> bool {
    stops.iter().any(|(stop, end)| *stop <= to && end.is_none_or(|end| from <= end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stop_that_overlaps_explains_an_error() {
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        let stops = [(at(10), Some(at(15))), (at(40), None)];
        assert!(!overlaps(&stops, at(1), at(9)));
        assert!(overlaps(&stops, at(1), at(11)));
        assert!(overlaps(&stops, at(12), at(13)));
        assert!(!overlaps(&stops, at(16), at(39)));
        assert!(overlaps(&stops, at(50), at(51)));
    }

    #[test]
    fn an_error_without_a_stop_is_unexplained_and_described() {
        let tally = Tally::new(Instant::now());
        tally.done(Client::Keepalive);
        tally.failed(Client::Keepalive, Instant::now(), "status 503");
        tally.stopped();
        tally.failed(Client::Upload, Instant::now(), "status 502");
        tally.failed(Client::Keepalive, Instant::now(), "status 502");
        let counts = tally.counts();
        assert_eq!(counts[&Client::Keepalive], Count { done: 1, explained: 0, unexplained: 2 });
        assert_eq!(counts[&Client::Upload], Count { done: 0, explained: 1, unexplained: 0 });
        assert!(tally.descriptions()[0].ends_with("HTTP/1.1, kept: status 503"));
    }
}
