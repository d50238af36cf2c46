//! Staged rollouts: fleet, policy and now become a plan, with the reason for every device that waits.
//!
//! Owns: waves, the failure budget, the state of a rollout and what it does next. Leaves to others: devices,
//! storage and clocks; the server records the events of a [`Plan`] and decides nothing itself.
//!
//! Invariant (I6): devices that failed and devices under way are together never more than the failure budget,
//! so that even if every one of them failed, the budget would not be exceeded.
#![no_std]

extern crate alloc;

mod fleet;
mod plan;
mod rollout;
mod wave;

pub use fleet::{Device, Fleet, Machine, REACHABLE_FOR, REPORT_GRACE};
pub use plan::{Plan, Turn, Wait, plan};
pub use rollout::{
    Applied, BeginError, Event, FailureBudget, Halt, Limits, Member, Phase, Policy, Rollout, RolloutId,
    RolloutIdError,
};
pub use wave::{Wave, WaveError};
