//! Computes a hash tree as a stream.

use alloc::{boxed::Box, vec::Vec};

use evenkeel_units::{ByteCount, Digest};

use super::{BLOCK, HASHES, Shape, Superblock, VerityError, hash};

/// Takes the blocks of an image in order and gives the blocks of its tree, each as soon as it is full, with
/// its offset in the verity image.
///
/// Writing and checking are the same: whoever checks compares what is given with what is there.
pub struct TreeBuilder {
    superblock: Superblock,
    taken: u64,
    /// From the leaves up.
    levels: Vec<Level>,
    /// The hash of the top block, once that was given.
    root: Option<Digest>,
}

struct Level {
    /// The block being filled, counted from the superblock.
    at: u64,
    filled: u64,
    block: Box<[u8; BLOCK]>,
}

impl TreeBuilder {
    /// A builder for the image that `superblock` describes.
    #[must_use]
    pub fn new(superblock: Superblock) -> Self {
        let shape = Shape::of(superblock.data_blocks());
        let level = |at: &u64| Level { at: *at, filled: 0, block: Box::new([0; BLOCK]) };
        let levels = shape.first[..shape.levels].iter().map(level).collect();
        Self { superblock, taken: 0, levels, root: None }
    }

    /// Takes the next block of the image; `give` gets each tree block that is full now.
    ///
    /// # Errors
    /// The image has had all its blocks.
    pub fn push(
        &mut self,
        block: &[u8; BLOCK],
        give: &mut impl FnMut(ByteCount, &[u8; BLOCK]),
    ) -> Result<(), VerityError> {
        self.taken += 1;
        let expected = self.superblock.data_blocks();
        if self.taken > expected {
            return Err(VerityError::Blocks { got: self.taken, expected });
        }
        self.add(0, hash(self.superblock.salt(), block), give);
        Ok(())
    }

    /// Puts a hash into a level, and the hash of every block that fills into the level above.
    fn add(&mut self, mut level: usize, mut digest: Digest, give: &mut impl FnMut(ByteCount, &[u8; BLOCK])) {
        while let Some(current) = self.levels.get_mut(level) {
            let at = usize::try_from(current.filled).unwrap_or(0) * 32;
            current.block[at..at + 32].copy_from_slice(digest.as_bytes());
            current.filled += 1;
            if current.filled < HASHES {
                return;
            }
            digest = self.give_block(level, give);
            level += 1;
        }
        self.root = Some(digest);
    }

    /// Gives a level's block and begins the next one; says the hash of what was given.
    fn give_block(&mut self, level: usize, give: &mut impl FnMut(ByteCount, &[u8; BLOCK])) -> Digest {
        let current = &mut self.levels[level];
        let digest = hash(self.superblock.salt(), &current.block);
        give(ByteCount(current.at * BLOCK as u64), &current.block);
        current.at += 1;
        current.filled = 0;
        current.block.fill(0);
        digest
    }

    /// Gives every block that is not full yet, then the superblock, and says the root hash.
    ///
    /// # Errors
    /// The image has not had all its blocks.
    ///
    /// # Panics
    /// Never: an image of two blocks or more has a top block.
    pub fn finish(mut self, give: &mut impl FnMut(ByteCount, &[u8; BLOCK])) -> Result<Digest, VerityError> {
        let (got, expected) = (self.taken, self.superblock.data_blocks());
        if got != expected {
            return Err(VerityError::Blocks { got, expected });
        }
        for level in 0..self.levels.len() {
            if self.levels[level].filled > 0 {
                let digest = self.give_block(level, give);
                self.add(level + 1, digest, give);
            }
        }
        give(ByteCount(0), &self.superblock.to_block());
        Ok(self.root.expect("the top block was given"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verity::{Salt, root_hash_of};

    /// The whole verity image of an image whose block N is filled with N, and its root hash.
    fn tree(blocks: u64) -> (Vec<u8>, Digest) {
        let salt = Salt::new(&[5; 32]).expect("short enough");
        let superblock = Superblock::new(ByteCount(blocks * BLOCK as u64), salt).expect("a good length");
        let mut image = alloc::vec![0xEE; usize::try_from(superblock.tree_length().0).expect("small")];
        let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
            let at = usize::try_from(offset.0).expect("small");
            image[at..at + BLOCK].copy_from_slice(block);
        };
        let mut builder = TreeBuilder::new(superblock);
        for number in 0..blocks {
            builder.push(&[number.to_le_bytes()[0]; BLOCK], &mut give).expect("in range");
        }
        let root = builder.finish(&mut give).expect("complete");
        (image, root)
    }

    #[test]
    fn the_top_block_behind_the_superblock_gives_the_root_hash() {
        for blocks in [2, 127, 128, 129, 256, 16_384, 16_385] {
            let (image, root) = tree(blocks);
            let superblock = Superblock::parse(&image).expect("a superblock");
            let top = image[BLOCK..].first_chunk().expect("a top block");
            assert_eq!(root_hash_of(&superblock, top), root, "{blocks} blocks");
            assert_eq!(superblock.data_blocks(), blocks);
        }
    }

    #[test]
    fn a_changed_block_changes_the_root_hash() {
        let (_, root) = tree(300);
        assert_ne!(tree(301).1, root);
    }

    #[test]
    fn too_few_and_too_many_blocks_are_refused() {
        let salt = Salt::new(&[]).expect("short enough");
        let superblock = Superblock::new(ByteCount(2 * BLOCK as u64), salt).expect("a good length");
        let mut builder = TreeBuilder::new(superblock.clone());
        let give = &mut |_: ByteCount, _: &[u8; BLOCK]| {};
        assert_eq!(builder.push(&[0; BLOCK], give), Ok(()));
        assert_eq!(builder.push(&[0; BLOCK], give), Ok(()));
        assert!(builder.push(&[0; BLOCK], give).is_err());
        let mut builder = TreeBuilder::new(superblock);
        assert_eq!(builder.push(&[0; BLOCK], give), Ok(()));
        assert!(builder.finish(give).is_err());
    }
}
