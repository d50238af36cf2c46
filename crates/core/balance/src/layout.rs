//! What all workers share of a pool: its configuration, and what follows from that alone.
//!
//! Owns: the table of a pool that hashes, and the rank of each server by priority and zone. Invariant: nothing in it
//! changes; a reload makes a new one.

use alloc::{sync::Arc, vec::Vec};

use evenkeel_config::balancer;

use crate::Maglev;

/// A pool's configuration, made ready for any number of workers.
#[derive(Debug)]
pub struct Layout {
    pub(crate) settings: balancer::Pool,
    pub(crate) table: Option<Maglev>,
    /// For each server its rank: 0 is taken first.
    pub(crate) ranks: Vec<u8>,
    pub(crate) last_rank: u8,
}

impl Layout {
    /// Works out what follows from `settings`.
    #[must_use]
    pub fn new(settings: &balancer::Pool) -> Arc<Self> {
        let table = match settings.policy {
            balancer::Policy::ConsistentHash(_) => {
                let server = |server: &'_ balancer::Server| u32::from(server.weight.as_u16());
                Some(Maglev::new(settings.servers.iter().map(|told| (told.name.as_str(), server(told)))))
            }
            balancer::Policy::RoundRobin
            | balancer::Policy::LeastLoaded
            | balancer::Policy::PeakEwma
            | balancer::Policy::PowerOfTwo => None,
        };
        let ranks = ranks(settings);
        let last_rank = ranks.iter().copied().max().unwrap_or(0);
        Arc::new(Self { settings: settings.clone(), table, ranks, last_rank })
    }

    /// The configuration.
    #[must_use]
    pub const fn settings(&self) -> &balancer::Pool {
        &self.settings
    }
}

/// Ranks without gaps: by priority, and within one by whether a server stands in the zone that the pool prefers.
fn ranks(settings: &balancer::Pool) -> Vec<u8> {
    let far = |server: &balancer::Server| settings.zone.is_some() && server.zone != settings.zone;
    let place = |server: &balancer::Server| (server.priority, far(server));
    let mut places: Vec<_> = settings.servers.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    let rank = |server| places.binary_search(&place(server)).unwrap_or(0);
    settings.servers.iter().map(|server| u8::try_from(rank(server)).unwrap_or(u8::MAX)).collect()
}
