//! A disk as a value, with power that can fail at any write.
//!
//! What was written and not flushed may be there after a loss of power, or not, or in part, and in any
//! combination: that is all that a real disk with a cache promises. Renaming happens or does not.

use std::collections::BTreeMap;

use evenkeel_boot::{Change, Entries, EntryName};
use evenkeel_units::Slot;

use crate::random::Random;

/// What is written or not at once: a sector.
const SECTOR: usize = 512;

/// Power failed; what comes next is the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut;

/// One place for bytes, as the disk has it and as it will be once flushed.
#[derive(Debug, Clone, Default)]
struct Place {
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl Place {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.pending.push((offset, bytes.to_vec()));
    }

    fn flush(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.pending) {
            put(&mut self.durable, offset, &bytes);
        }
    }

    /// Each unflushed write is there, or not, or some of its sectors are.
    fn lose_power(&mut self, random: &mut Random) {
        for (offset, bytes) in std::mem::take(&mut self.pending) {
            let kept = match random.below(3) {
                0 => continue,
                1 => bytes.len(),
                _ => (usize::try_from(random.next()).unwrap_or(0) % (bytes.len() / SECTOR + 1)) * SECTOR,
            };
            put(&mut self.durable, offset, &bytes[..kept]);
        }
    }
}

fn put(place: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if place.len() < end {
        place.resize(end, 0);
    }
    place[offset..end].copy_from_slice(bytes);
}

/// Where bytes can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceName {
    /// A slot's root image.
    Root(Slot),
    /// A slot's hash tree.
    Verity(Slot),
    /// The kernel image that becomes an entry.
    Staged,
    /// One of the two copies of the machine's record.
    State(usize),
}

/// A box's storage.
#[derive(Debug, Clone)]
pub struct Disk {
    places: BTreeMap<PlaceName, Place>,
    entries: BTreeMap<EntryName, Vec<u8>>,
    random: Random,
    /// Operations until power fails; none when it does not.
    fuse: Option<u64>,
}

impl Disk {
    /// An empty disk, whose losses follow from `random`.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { places: BTreeMap::new(), entries: BTreeMap::new(), random, fuse: None }
    }

    /// Lets power fail at the operation after `operations` more; none when it is to stay.
    pub const fn set_fuse(&mut self, operations: Option<u64>) {
        self.fuse = operations;
    }

    /// Whether power fails at this operation.
    fn burn(&mut self) -> Result<(), PowerCut> {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => Err(PowerCut),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// What power leaves behind.
    pub fn lose_power(&mut self) {
        self.fuse = None;
        for place in self.places.values_mut() {
            place.lose_power(&mut self.random);
        }
    }

    /// Writes bytes, which are durable only after [`Disk::flush`].
    ///
    /// # Errors
    /// When power fails.
    pub fn write(&mut self, name: PlaceName, offset: usize, bytes: &[u8]) -> Result<(), PowerCut> {
        // The write under way when power fails may be there in part, like those before it.
        self.places.entry(name).or_default().write(offset, bytes);
        self.burn()
    }

    /// Makes what was written to a place durable.
    ///
    /// # Errors
    /// When power fails: then any part of it may be.
    pub fn flush(&mut self, name: PlaceName) -> Result<(), PowerCut> {
        self.burn()?;
        self.places.entry(name).or_default().flush();
        Ok(())
    }

    /// Spoils a byte of a place, as a disk does that is failing.
    pub fn spoil(&mut self, name: PlaceName) {
        let chance = usize::try_from(self.random.next() >> 1).unwrap_or(0);
        let place = self.places.entry(name).or_default();
        let length = place.durable.len().max(1);
        if let Some(byte) = place.durable.get_mut(chance % length) {
            *byte = !*byte;
        }
    }

    /// The durable bytes of a place.
    #[must_use]
    pub fn read(&self, name: PlaceName) -> &[u8] {
        self.places.get(&name).map_or(&[], |place| &place.durable)
    }

    /// The boot entries.
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.entries.keys().copied().collect()
    }

    /// The kernel image of an entry.
    #[must_use]
    pub fn kernel(&self, entry: EntryName) -> Option<&[u8]> {
        self.entries.get(&entry).map(Vec::as_slice)
    }

    /// Changes an entry, durably.
    ///
    /// # Errors
    /// When power fails, before or after it happened.
    pub fn change(&mut self, change: Change) -> Result<(), PowerCut> {
        self.happens_or_not(|disk| match change {
            Change::Rename { from, to } => {
                if let Some(kernel) = disk.entries.remove(&from) {
                    disk.entries.insert(to, kernel);
                }
            }
            Change::Remove(entry) => drop(disk.entries.remove(&entry)),
        })
    }

    /// Gives the staged kernel image its name, durably.
    ///
    /// # Errors
    /// When power fails, before or after it happened.
    pub fn install(&mut self, entry: EntryName) -> Result<(), PowerCut> {
        self.happens_or_not(|disk| {
            if let Some(staged) = disk.places.remove(&PlaceName::Staged) {
                disk.entries.insert(entry, staged.durable);
            }
        })
    }

    fn happens_or_not(&mut self, happen: impl FnOnce(&mut Self)) -> Result<(), PowerCut> {
        let fate = self.burn();
        if fate.is_ok() || self.random.chance(500) {
            happen(self);
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_survives_and_what_was_not_may_be_lost_or_torn() {
        let place = PlaceName::Root(Slot::A);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = Disk::new(Random::of(seed));
            disk.write(place, 0, &[1; 2048]).unwrap();
            disk.flush(place).unwrap();
            disk.set_fuse(Some(0));
            assert_eq!(disk.write(place, 0, &[2; 2048]), Err(PowerCut));
            disk.lose_power();
            let new = disk.read(place).iter().filter(|byte| **byte == 2).count();
            assert_eq!(disk.read(place).len(), 2048);
            assert!(disk.read(place).is_sorted_by(|a, b| a >= b), "a prefix of whole sectors");
            seen.insert(new);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 512, 1024, 1536, 2048]);
    }
}
