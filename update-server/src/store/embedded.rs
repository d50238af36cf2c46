//! The embedded store: the journal is the truth, sled an index that is rebuilt from it.
//!
//! A commit is acknowledged once the journal is synced; the index follows and may lag or be lost. It remembers
//! up to which frame it is complete, in the same atomic write as that frame's changes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    Batch, Change, Entry, Store, StoreError, Table,
    journal::{Journal, Position},
};

/// The key under which the index remembers its position. No table has the number 0.
const POSITION: &[u8] = &[0];

/// A journal below this is never rewritten: it is read in less than a second.
const REWRITE_FROM: u64 = 16 << 20;

/// A longer journal is rewritten once it is this many times what it holds.
const REWRITE_RATIO: u64 = 4;

/// Changes that go into one frame of a rewritten journal: a few MiB at 1 KiB each.
const REWRITE_CHANGES: usize = 4096;

/// A store in a folder of its own.
pub struct Embedded {
    journal: Journal,
    index: sled::Db,
    index_path: PathBuf,
    _lock: File,
}

impl Embedded {
    /// Opens the store in `folder`, made if there is none. Recovery is the only way to open it.
    ///
    /// # Errors
    /// When the folder is in use or cannot be used, or the journal is damaged.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let lock = lock(folder)?;
        let index_path = folder.join("index");
        let index = open_index(&index_path)?;
        let failed = |source| StoreError::Index { path: index_path.display().to_string(), source };
        let mut position = read_position(&index).map_err(failed)?;
        let mut pending = Vec::new();
        let mut found = position == Position::default();
        let journal = Journal::open(&folder.join("journal"), |batch, behind| {
            pending.push((batch, behind));
            if behind == position {
                pending.clear();
                found = true;
            }
        })?;
        if !found {
            tracing::warn!("the index does not belong to the journal; rebuilding it");
            index.clear().map_err(failed)?;
            position = Position::default();
            pending.clear();
            Journal::open(&folder.join("journal"), |batch, behind| pending.push((batch, behind)))?;
        }
        for (batch, behind) in &pending {
            apply(&index, batch, *behind).map_err(failed)?;
            position = *behind;
        }
        tracing::debug!(offset = position.offset, replayed = pending.len(), "store open");
        let mut store = Self { journal, index, index_path, _lock: lock };
        store.rewrite_if_worthwhile()?;
        Ok(store)
    }

    fn failed(&self, source: sled::Error) -> StoreError {
        StoreError::Index { path: self.index_path.display().to_string(), source }
    }

    fn rewrite_if_worthwhile(&mut self) -> Result<(), StoreError> {
        let length = self.journal.end().offset;
        if length < REWRITE_FROM {
            return Ok(());
        }
        let mut changes = Vec::new();
        let mut live = 0;
        for entry in self.index.iter() {
            let (key, value) = entry.map_err(|source| self.failed(source))?;
            live += (key.len() + value.len()) as u64;
            if let Some((table, key)) = split_key(&key) {
                changes.push(Change { table, key: key.to_vec(), value: Some(value.to_vec()) });
            }
        }
        if length < live * REWRITE_RATIO {
            return Ok(());
        }
        let frames = changes.chunks(REWRITE_CHANGES).map(|changes| Batch { changes: changes.to_vec() });
        self.journal.rewrite(frames)?;
        let end = self.journal.end();
        tracing::info!(before = length, after = end.offset, "journal rewritten");
        apply(&self.index, &Batch::default(), end).map_err(|source| self.failed(source))
    }
}

impl Store for Embedded {
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let behind = self.journal.append(batch)?;
        apply(&self.index, batch, behind).map_err(|source| self.failed(source))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let entries = self.index.scan_prefix([&[table as u8], prefix].concat());
        let entry = |(key, value): (sled::IVec, sled::IVec)| (key[1..].to_vec(), value.to_vec());
        entries.map(|found| found.map(entry).map_err(|source| self.failed(source))).collect()
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.display().to_string();
    let failed = |source| StoreError::Folder { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Opens sled; an index that does not open is thrown away, for the journal has all of it.
fn open_index(path: &Path) -> Result<sled::Db, StoreError> {
    let open = || sled::Config::new().path(path).cache_capacity(64 << 20).open();
    open().or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "the index does not open; rebuilding it");
        let thrown_away = |source| StoreError::Folder { path: path.display().to_string(), source };
        fs::remove_dir_all(path).map_err(thrown_away)?;
        open().map_err(|source| StoreError::Index { path: path.display().to_string(), source })
    })
}

fn read_position(index: &sled::Db) -> sled::Result<Position> {
    let bytes = index.get(POSITION)?;
    let position = bytes.as_deref().and_then(|bytes| {
        let (offset, checksum) = bytes.split_first_chunk::<8>()?;
        Some(Position { offset: u64::from_le_bytes(*offset), checksum: checksum.try_into().ok()? })
    });
    Ok(position.unwrap_or_default())
}

fn apply(index: &sled::Db, batch: &Batch, behind: Position) -> sled::Result<()> {
    let mut changes = sled::Batch::default();
    for Change { table, key, value } in &batch.changes {
        let key = [&[*table as u8], key.as_slice()].concat();
        match value {
            Some(value) => changes.insert(key, value.as_slice()),
            None => changes.remove(key),
        }
    }
    let position = [behind.offset.to_le_bytes().as_slice(), &behind.checksum].concat();
    changes.insert(POSITION, position);
    index.apply_batch(changes)
}

fn split_key(key: &[u8]) -> Option<(Table, &[u8])> {
    let (number, key) = key.split_first()?;
    let tables = [Table::Device, Table::Token, Table::Report, Table::Rollout, Table::Member];
    tables.into_iter().find(|table| *table as u8 == *number).map(|table| (table, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(n: u16) -> Batch {
        let mut batch = Batch::default();
        batch.put(Table::Device, n.to_be_bytes().to_vec(), vec![7; 50]);
        batch
    }

    fn keys(store: &Embedded) -> Vec<u16> {
        let entries = store.scan(Table::Device, &[]).unwrap();
        entries.into_iter().map(|(key, _)| u16::from_be_bytes(key.try_into().unwrap())).collect()
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(folder.path()).unwrap();
        (0..20).for_each(|n| store.commit(&put(n)).unwrap());
        let mut gone = Batch::default();
        gone.remove(Table::Device, 3_u16.to_be_bytes().to_vec());
        store.commit(&gone).unwrap();
        drop(store);
        let expected: Vec<_> = (0..20).filter(|n| *n != 3).collect();
        assert_eq!(keys(&Embedded::open(folder.path()).unwrap()), expected);
    }

    /// I7: the index may vanish or be garbage at any time.
    #[test]
    fn i7_a_lost_or_damaged_index_is_rebuilt_from_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(folder.path()).unwrap();
        (0..20).for_each(|n| store.commit(&put(n)).unwrap());
        drop(store);
        fs::remove_dir_all(folder.path().join("index")).unwrap();
        let store = Embedded::open(folder.path()).unwrap();
        assert_eq!(keys(&store), (0..20).collect::<Vec<_>>());
        drop(store);
        for file in ["conf", "db"] {
            fs::write(folder.path().join("index").join(file), b"garbage").unwrap();
        }
        assert_eq!(keys(&Embedded::open(folder.path()).unwrap()), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn an_index_of_another_journal_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(folder.path()).unwrap();
        (0..20).for_each(|n| store.commit(&put(n)).unwrap());
        drop(store);
        fs::remove_file(folder.path().join("journal")).unwrap();
        assert_eq!(keys(&Embedded::open(folder.path()).unwrap()), Vec::<u16>::new());
    }

    #[test]
    fn one_folder_serves_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let _store = Embedded::open(folder.path()).unwrap();
        assert!(matches!(Embedded::open(folder.path()), Err(StoreError::Locked { .. })));
    }

    #[test]
    fn a_journal_that_holds_little_is_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(folder.path()).unwrap();
        let mut large = Batch::default();
        large.put(Table::Device, vec![0, 1], vec![7; 3 << 20]);
        (0..8).for_each(|_| store.commit(&large).unwrap());
        drop(store);
        let mut store = Embedded::open(folder.path()).unwrap();
        assert!(fs::metadata(folder.path().join("journal")).unwrap().len() < 4 << 20);
        store.commit(&put(2)).unwrap();
        drop(store);
        assert_eq!(keys(&Embedded::open(folder.path()).unwrap()), [1, 2]);
    }
}
