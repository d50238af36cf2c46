//! Orders of an operator about one server: drain it, resume it, another weight.
//!
//! Owns: finding the server, and how long an order lasts. Leaves to others: what workers make of it (`pool`). Invariants:
//! an order holds for every request that begins after it was answered, at all workers, and disturbs none that is under
//! way; it lasts through reloads, a drain until the server is resumed, a weight until the file gives the server another
//! one; a restart forgets orders, for the file is what a box is.

use std::sync::Arc;

use evenkeel_config::Weight;
use serde::Serialize;

use crate::{
    plan::Plan,
    shared::{PoolShared, ServerShared},
};

/// What is to be done with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerOrder {
    /// Let it finish what it has, and give it nothing more.
    Drain,
    /// Take it into service again, slowly.
    Resume,
    /// Give it this share; `None` for the file's.
    Weight(Option<Weight>),
}

/// Why an order cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    /// No such pool.
    #[error("pool `{pool}` does not exist; expected one of: {known}")]
    Pool {
        /// What was asked for.
        pool: String,
        /// Those that exist.
        known: String,
    },
    /// No such server.
    #[error("pool `{pool}` has no server `{server}`; expected one of: {known}")]
    Server {
        /// The pool.
        pool: String,
        /// What was asked for.
        server: String,
        /// Those that exist.
        known: String,
    },
    /// The weight is none.
    #[error("weight is `{got}`; expected a whole number from 1 to 256; to give a server nothing, drain it")]
    Weight {
        /// What was asked for.
        got: u64,
    },
}

/// What an order led to.
#[derive(Debug, Serialize)]
pub(crate) struct Followed {
    /// Requests, connections or sessions that are still under way at the server.
    active: u64,
    weight: u16,
    draining: bool,
}

/// A weight as it is asked for over the control socket.
///
/// # Errors
/// When it is none.
pub(crate) fn weight(asked: Option<u64>) -> Result<Option<Weight>, OrderError> {
    let weight = |got| Weight::new(got).ok_or(OrderError::Weight { got });
    asked.map(weight).transpose()
}

/// Follows an order.
///
/// # Errors
/// When pool or server do not exist; nothing changed then.
pub(crate) fn follow(
    plan: &Plan,
    pool: &str,
    server: &str,
    order: ServerOrder,
) -> Result<Followed, OrderError> {
    let at = plan.pools.iter().position(|known| known.name == pool).ok_or_else(|| OrderError::Pool {
        pool: pool.to_owned(),
        known: names(plan.pools.iter().map(|pool| pool.name.as_str())),
    })?;
    let found = &plan.pools[at];
    let position = found.servers.iter().position(|known| known.name == server);
    let position = position.ok_or_else(|| OrderError::Server {
        pool: pool.to_owned(),
        server: server.to_owned(),
        known: names(found.servers.iter().map(|server| server.name.as_str())),
    })?;
    found.order(position, order);
    tracing::info!(pool, server, ?order, "an operator's order");
    let known = &found.servers[position];
    let told = plan.config.pools()[at].servers[position].weight;
    Ok(Followed {
        active: known.sum(|tally| &tally.active),
        weight: known.ordered_weight().unwrap_or(told).as_u16(),
        draining: known.is_draining(),
    })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Forgets the weights that were ordered for servers to which the new file gives another one than the old.
pub(crate) fn settle(before: &Plan, plan: &Plan) {
    for (told, pool) in plan.config.pools().iter().zip(&plan.pools) {
        for (position, server) in pool.servers.iter().enumerate() {
            let weight = configured_weight(before, server);
            if weight.is_some_and(|weight| weight != told.servers[position].weight) {
                forget_weight(pool, position);
            }
        }
    }
}

fn forget_weight(pool: &PoolShared, position: usize) {
    if pool.servers[position].ordered_weight().is_some() {
        pool.order(position, ServerOrder::Weight(None));
    }
}

fn configured_weight(plan: &Plan, server: &Arc<ServerShared>) -> Option<Weight> {
    plan.config.pools().iter().zip(&plan.pools).find_map(|(told, pool)| {
        let position = pool.servers.iter().position(|known| Arc::ptr_eq(known, server))?;
        Some(told.servers[position].weight)
    })
}
