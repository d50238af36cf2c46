//! Who has the lowest rank, kept up to date.
//!
//! Owns: a tree of winners over all servers. Invariant: the root is right after each `set`, which costs a comparison
//! for each doubling of the pool, 10 for 1,024 servers; asking costs nothing.

use alloc::{vec, vec::Vec};

use crate::lane::Rank;

/// The ranks of all servers and who wins.
#[derive(Debug, Clone)]
pub(crate) struct Tournament {
    ranks: Vec<Rank>,
    /// A complete binary tree: the children of `n` are `2n` and `2n + 1`, the root is 1, the last half are the
    /// servers themselves; each node names the winner below it.
    winners: Vec<u16>,
}

impl Tournament {
    /// A tournament of `count` servers of which none may win yet.
    pub(crate) fn new(count: usize) -> Self {
        let leaves = count.next_power_of_two();
        let ranks = vec![Rank::NEVER; leaves];
        let leaf = |node: usize| u16::try_from(node.saturating_sub(leaves)).unwrap_or(u16::MAX);
        let mut tree = Self { ranks, winners: (0..2 * leaves).map(leaf).collect() };
        (1..leaves).rev().for_each(|node| tree.winners[node] = tree.better(node));
        tree
    }

    fn better(&self, node: usize) -> u16 {
        let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
        if self.ranks[usize::from(right)] < self.ranks[usize::from(left)] { right } else { left }
    }

    /// Gives a server a new rank.
    pub(crate) fn set(&mut self, position: usize, rank: Rank) {
        self.ranks[position] = rank;
        let mut node = (self.ranks.len() + position) / 2;
        while node > 0 {
            self.winners[node] = self.better(node);
            node /= 2;
        }
    }

    /// The server with the lowest rank, the first of several; `None` when none may win.
    pub(crate) fn winner(&self) -> Option<usize> {
        let winner = usize::from(*self.winners.get(1)?);
        (self.ranks[winner] != Rank::NEVER).then_some(winner)
    }

    /// The server with the lowest rank of those that `fits` lets through, by looking at all.
    pub(crate) fn winner_among(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let ranks = self.ranks.iter().enumerate();
        let some = ranks.filter(|&(position, &rank)| rank != Rank::NEVER && fits(position));
        some.min_by_key(|&(_, &rank)| rank).map(|(position, _)| position)
    }
}
