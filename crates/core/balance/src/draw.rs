//! Drawing a server by weight, in constant time.
//!
//! Owns: the alias table (Walker 1977, in the form of Vose 1991). Invariant: each server that may be drawn is drawn
//! as often as its part of the weight, to within one in 2^32; making the table anew allocates nothing.

use alloc::vec::Vec;

use crate::random::{self, Random};

/// One cell of the table: a server, the part of the cell that is its own, and who has the rest.
#[derive(Debug, Clone, Copy)]
struct Cell {
    own: u16,
    other: u16,
    /// In 2^32nds.
    part: u64,
}

/// A table to draw from.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    cells: Vec<Cell>,
    small: Vec<(u16, u64)>,
    large: Vec<(u16, u64)>,
}

const WHOLE: u64 = 1 << 32;

impl Draw {
    /// A table for up to `count` servers from which nobody can be drawn yet.
    pub(crate) fn new(count: usize) -> Self {
        let (cells, small, large) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        Self { cells, small, large }
    }

    /// Lets those be drawn whom `weights` names, each with a weight that is not 0.
    pub(crate) fn set(&mut self, weights: impl Iterator<Item = (usize, u32)> + Clone) {
        let count = weights.clone().count() as u128;
        let total: u128 = weights.clone().map(|(_, weight)| u128::from(weight)).sum::<u128>().max(1);
        self.cells.clear();
        self.small.clear();
        self.large.clear();
        for (position, weight) in weights {
            let scaled = u128::from(weight) * count * u128::from(WHOLE) / total;
            let entry =
                (u16::try_from(position).unwrap_or(u16::MAX), u64::try_from(scaled).unwrap_or(u64::MAX));
            if entry.1 < WHOLE { self.small.push(entry) } else { self.large.push(entry) }
        }
        while let (Some(&(own, part)), Some(&(other, more))) = (self.small.last(), self.large.last()) {
            self.small.pop();
            self.large.pop();
            self.cells.push(Cell { own, other, part });
            let left = more - (WHOLE - part);
            if left < WHOLE { self.small.push((other, left)) } else { self.large.push((other, left)) }
        }
        // What is left fills its cell but for rounding.
        for (own, _) in self.small.drain(..).chain(self.large.drain(..)) {
            self.cells.push(Cell { own, other: own, part: WHOLE });
        }
    }

    /// One server, by weight; `None` when there is none.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<usize> {
        let cell = self.cells.get(random::below(random.next(), self.cells.len() as u64) as usize)?;
        let own = random.next() % WHOLE < cell.part;
        Some(usize::from(if own { cell.own } else { cell.other }))
    }

    /// How many there are to draw from.
    pub(crate) const fn len(&self) -> usize {
        self.cells.len()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn each_is_drawn_by_its_weight_and_nobody_else() {
        let weights = [(0, 1), (2, 7), (3, 1000), (7, 250)];
        let mut draw = Draw::new(8);
        draw.set([(1usize, 5u32), (6, 9)].into_iter());
        draw.set(weights.into_iter());
        let mut random = Random::new(7);
        let mut counts = [0u32; 8];
        const DRAWS: u32 = 400_000;
        (0..DRAWS).for_each(|_| counts[draw.draw(&mut random).unwrap()] += 1);
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        for (position, &count) in counts.iter().enumerate() {
            let weight = weights.iter().find(|(at, _)| *at == position).map_or(0, |(_, weight)| *weight);
            let expected = f64::from(weight) / f64::from(total) * f64::from(DRAWS);
            // Four standard deviations of a binomial distribution, at most its Poisson limit.
            let allowed = 4.0 * expected.sqrt();
            assert!((f64::from(count) - expected).abs() <= allowed, "{position}: {count} not {expected}");
        }
    }

    #[test]
    fn nobody_is_drawn_where_nobody_may_be() {
        let draw = Draw::new(4);
        assert_eq!(draw.draw(&mut Random::new(1)), None);
        let nobody: Vec<(usize, u32)> = Vec::new();
        let mut draw = Draw::new(4);
        draw.set(nobody.into_iter());
        assert_eq!((draw.draw(&mut Random::new(1)), draw.len()), (None, 0));
    }
}
