//! A few handshakes at a time.
//!
//! Owns: how much a worker computes for new clients before it looks after the others again. Leaves to others: the
//! handshakes. Invariants: between two looks of the runtime at its sockets at most [`PER_ROUND`] messages of handshakes
//! are worked off, in the order in which they came; nobody waits for a client that says nothing.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Semaphore;

/// Messages of handshakes worked off in one round.
///
/// The dearest, a client's first, costs about 150 µs with ECDSA and 1 ms with RSA: 8 of them delay the requests of others
/// by 1 to 8 ms, where a thousand clients that come back at once would delay them by a second.
const PER_ROUND: usize = 8;

/// Lets handshakes in, a few in each round.
#[derive(Debug)]
pub(crate) struct Turnstile {
    places: Semaphore,
    taken: Cell<usize>,
    /// Whether somebody gives places back at the end of the round.
    is_turning: Cell<bool>,
}

impl Turnstile {
    /// One with room for a round.
    pub(crate) fn new() -> Rc<Self> {
        let places = Semaphore::new(PER_ROUND);
        Rc::new(Self { places, taken: Cell::new(0), is_turning: Cell::new(false) })
    }

    /// Waits for a place in this round or a later one.
    pub(crate) async fn pass(self: &Rc<Self>) {
        let place = self.places.acquire().await.expect("the turnstile is never closed");
        place.forget();
        self.taken.set(self.taken.get() + 1);
        if !self.is_turning.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).turn());
        }
    }

    /// Gives the places of each round back at its end, until there was a round in which nobody came.
    async fn turn(self: Rc<Self>) {
        while self.taken.get() > 0 {
            // Goes on only after the runtime has looked at its sockets, and who is ready there has had a turn.
            tokio::task::yield_now().await;
            self.places.add_permits(self.taken.replace(0));
            tokio::task::yield_now().await;
        }
        self.is_turning.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_round_lets_a_few_in_and_the_others_follow_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let turnstile = Turnstile::new();
            let passed = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..5 * PER_ROUND)
                .map(|at| {
                    let (turnstile, passed) = (Rc::clone(&turnstile), Rc::clone(&passed));
                    tokio::task::spawn_local(async move {
                        turnstile.pass().await;
                        passed.borrow_mut().push(at);
                    })
                })
                .collect();
            let mut before = 0;
            while before < tasks.len() {
                tokio::task::yield_now().await;
                let now = passed.borrow().len();
                assert!(now - before <= PER_ROUND, "{before} and then {now}");
                before = now;
            }
            assert!(passed.borrow().is_sorted());
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}
