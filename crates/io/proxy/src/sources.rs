//! How many connections each source has at a listener.
//!
//! Owns: the counts, one table for all workers of a listener, and what is done with who has too many. Leaves to others: who
//! is counted and how many are too many (`core/config`). Invariants: the table is touched when a connection comes and when
//! it goes, never by a request; it has an entry only for sources that have a connection, so `max_clients` bounds its
//! memory; each connection that was counted is taken off once.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use evenkeel_config::{
    Network,
    balancer::{Listener, Mode, PerSource, SourceConnections},
};

use crate::{
    access_log::Event,
    client::Client,
    http1::answer::{self, Own},
    listening::Settings,
};

/// Parts of the table, each with a lock of its own: with 8 workers that come at once two meet in a fifth of the cases, and
/// then wait for 50 ns.
const SHARDS: usize = 64;

/// Clients of a worker that are told at once that they are too many; further ones are cut off without a word. Telling takes
/// up to 2 s of a client that does not read, in which it holds a connection after all.
pub(crate) const MAX_TOLD: usize = 64;

const TOO_MANY: &str = "your address has too many connections here";

/// The limit of a listener.
#[derive(Debug)]
pub(crate) struct SourceLimit {
    most: u32,
    exempt: Vec<Network>,
    sources: Arc<Sources>,
}

impl SourceLimit {
    /// The limit that a listener has, with the counts that it had before; `None` for none.
    pub(crate) fn of(listener: &Listener, max_clients: NonZeroU32, before: Option<&Self>) -> Option<Self> {
        let told = &listener.per_source;
        let most = match (listener.mode, told.connections) {
            (Mode::Udp, _) | (_, SourceConnections::Unlimited) => return None,
            (Mode::Http | Mode::Tcp, SourceConnections::HalfOfClients) => max_clients.get().div_ceil(2),
            (Mode::Http | Mode::Tcp, SourceConnections::Most(most)) => most.get(),
        };
        let known = before.map(|before| &before.sources).filter(|sources| sources.is_for(told));
        let sources = known.map_or_else(|| Arc::new(Sources::new(told)), Arc::clone);
        let exempt = told.exempt.iter().chain(&listener.forward.trusted).copied().collect();
        Some(Self { most, exempt, sources })
    }

    /// A seat for a connection from `address`.
    pub(crate) fn seat(&self, address: IpAddr) -> Seated {
        if self.exempt.iter().any(|network| network.contains(address)) {
            return Seated::Uncounted;
        }
        match self.sources.enter(address, self.most) {
            Room::Some => Seated::Counted(Arc::clone(&self.sources)),
            Room::None => Seated::No,
        }
    }
}

/// Whether a connection is within its source's limit.
pub(crate) enum Seated {
    /// Yes; whoever got it must leave this table with the same address.
    Counted(Arc<Sources>),
    /// Nobody counts it.
    Uncounted,
    /// No.
    No,
}

/// Whether a source may have another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

/// Connections by source.
#[derive(Debug)]
pub(crate) struct Sources {
    shards: Box<[Mutex<HashMap<IpAddr, u32>>]>,
    hasher: RandomState,
    prefixes: (u8, u8),
}

impl Sources {
    fn new(told: &PerSource) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), prefixes: (told.ipv4_prefix, told.ipv6_prefix) }
    }

    fn is_for(&self, told: &PerSource) -> bool {
        self.prefixes == (told.ipv4_prefix, told.ipv6_prefix)
    }

    /// The first address of a source.
    fn source(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefixes.0)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefixes.1)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    fn shard(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let at = usize::try_from(self.hasher.hash_one(source) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, address: IpAddr, most: u32) -> Room {
        let source = self.source(address);
        let mut shard = self.shard(source);
        let count = shard.entry(source).or_default();
        if *count >= most {
            return Room::None;
        }
        *count += 1;
        Room::Some
    }

    /// A connection from `address` that had entered is over.
    pub(crate) fn leave(&self, address: IpAddr) {
        let source = self.source(address);
        let mut shard = self.shard(source);
        if let Some(count) = shard.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shard.remove(&source);
            }
        }
    }
}

/// Sends away a client whose source has too many connections.
pub(crate) fn refuse(client: Client, settings: &Settings) {
    client.listening.tally().source_refused.up();
    tracing::debug!(listener = client.listening.name(), client = %client.address, TOO_MANY);
    let worker = std::rc::Rc::clone(&client.worker);
    // A handshake only to say no would cost more than the connection.
    let speaks_plainly = settings.mode == Mode::Http && settings.tls.is_none();
    if !speaks_plainly || worker.told.get() >= MAX_TOLD {
        client.socket.reset_on_close();
        return;
    }
    worker.told.set(worker.told.get() + 1);
    tokio::task::spawn_local(async move {
        let own = Own { status: 429, reason: TOO_MANY, head_only: false, request: None };
        let id = answer::send(&client, own).await;
        client.log(&Event::refused(&id, None, 429, TOO_MANY, Duration::ZERO));
        worker.told.set(worker.told.get() - 1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(ipv4: u8, ipv6: u8) -> Sources {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Sources { shards, hasher: RandomState::new(), prefixes: (ipv4, ipv6) }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_an_address_or_all_that_share_its_prefix() {
        for ((ipv4, ipv6), one, other, same) in [
            ((32, 64), "192.0.2.1", "192.0.2.2", false),
            ((24, 64), "192.0.2.1", "192.0.2.254", true),
            ((24, 64), "192.0.2.1", "192.0.3.1", false),
            ((32, 64), "2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ((32, 64), "2001:db8::1", "2001:db8:0:1::1", false),
            ((32, 48), "2001:db8::1", "2001:db8:0:ffff::1", true),
            ((32, 128), "2001:db8::1", "2001:db8::2", false),
            ((32, 64), "192.0.2.1", "::ffff:192.0.2.1", true),
        ] {
            let table = sources(ipv4, ipv6);
            assert_eq!(table.enter(ip(one), 1), Room::Some);
            assert_eq!(table.enter(ip(other), 1) == Room::None, same, "{one} {other}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_source_whose_connections_have_gone() {
        let table = sources(32, 64);
        let held =
            |table: &Sources| table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>();
        for n in 0..10_000u32 {
            assert_eq!(table.enter(Ipv4Addr::from_bits(n).into(), 2), Room::Some);
        }
        assert_eq!(held(&table), 10_000);
        assert_eq!(table.enter(ip("0.0.0.1"), 2), Room::Some);
        assert_eq!(table.enter(ip("0.0.0.1"), 2), Room::None);
        table.leave(ip("0.0.0.1"));
        assert_eq!(table.enter(ip("0.0.0.1"), 2), Room::Some);
        table.leave(ip("0.0.0.1"));
        (0..10_000u32).for_each(|n| table.leave(Ipv4Addr::from_bits(n).into()));
        assert_eq!(held(&table), 0);
        table.leave(ip("0.0.0.1"));
        assert_eq!(held(&table), 0);
    }
}
