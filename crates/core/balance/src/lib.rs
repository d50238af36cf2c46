//! Which server answers next, and which one is left out for a while.
//!
//! Owns: the policies, passive ejection, the count of active checks, slow start, drain, limits (told and learned), hedging, the queue,
//! requests that wait for their clients, the retry budget and the ledger of source ports, all for one worker. Leaves to
//! others: connecting, asking, waiting and telling the
//! time: `now` and random numbers are arguments (I10). Invariant: a cause on our own side (no source port,
//! no descriptor) never changes a server's health; no state has no way out.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod budget;
mod change;
mod check;
mod choice;
mod draw;
mod ewma;
mod hedge;
mod key;
mod lane;
mod layout;
mod learned;
mod maglev;
mod outcome;
mod pool;
mod ports;
mod queue;
mod random;
mod server;
mod stalled;
mod standby;
mod tournament;
mod tried;

pub use budget::{RETRY_FLOOR_PER_SECOND, RetryBudget};
pub use change::{Change, MAX_CHANGES};
pub use check::{Checker, Probed, Verdict, next_check};
pub use key::{Key, KeyHash};
pub use layout::Layout;
pub use maglev::Maglev;
pub use outcome::{Failure, LocalCause, Outcome};
pub use pool::{FAIL_OPEN_BELOW, Opening, Pick, Pool, Retry, Worker};
pub use ports::{Left, PortBook, Ports, roomiest};
pub use queue::{Queue, Ticket};
pub use server::{RAMP_START, ServerStatus, Standing, Taken};
pub use stalled::{CUT_AFTER, GIVES_WAY_AFTER, Place, Seat, Stalled, Way};
pub use tried::{ServerIndex, Tried};
