//! The two files that the machine's record alternates between.
//!
//! Owns: that the newest whole record is never the one being overwritten. The files keep the room that they
//! were made with, so that a data partition which fills up later cannot stop the box from remembering.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use evenkeel_units::ByteCount;
use evenkeel_update::{Copies, RECORD_LIMIT, Record, encode, newest_of};
use nix::fcntl::posix_fallocate;

use crate::{Error, Storage};

const NAMES: [&str; 2] = ["state-a", "state-b"];

/// Room that each file is given when it is made: a record with all its reports takes some 20 KiB.
const ROOM: ByteCount = ByteCount::kib(64);

/// The machine's memory on the data partition.
#[derive(Debug)]
pub struct StateFiles {
    files: [Storage; 2],
    sequence: u64,
    next: usize,
}

impl StateFiles {
    /// Opens the files in `directory`, makes those that are missing, and reads the newest whole record.
    ///
    /// # Errors
    /// When the system refuses. A file with anything else in it is no error: it holds no record.
    pub fn open(directory: &Path) -> Result<(Self, Option<Record>), Error> {
        let [first, second] = NAMES.map(|name| open_with_room(&directory.join(name)));
        let files = [first?, second?];
        flush_directory(directory)?;
        let copies = [content(&files[0])?, content(&files[1])?];
        let Copies { newest, next } = newest_of([&copies[0], &copies[1]]);
        let (sequence, record) = newest.map_or((0, None), |(sequence, record)| (sequence, Some(record)));
        Ok((Self { files, sequence, next }, record))
    }

    /// Replaces the record, durably. After a failure the record before is still whole, and this may be repeated.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save(&mut self, record: &Record) -> Result<(), Error> {
        let file = &self.files[self.next];
        file.write_at(&encode(self.sequence + 1, record), 0)?;
        file.flush()?;
        self.sequence += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn open_with_room(path: &Path) -> Result<Storage, Error> {
    let storage = Storage::create(path)?;
    if storage.size() < ROOM {
        let refuse = |errno: nix::Error| Error::write(path, errno.into());
        let length = i64::try_from(ROOM.0).unwrap_or(i64::MAX);
        posix_fallocate(
            File::options().write(true).open(path).map_err(|e| Error::write(path, e))?,
            0,
            length,
        )
        .map_err(refuse)?;
        storage.flush()?;
        return Storage::create(path);
    }
    Ok(storage)
}

fn content(storage: &Storage) -> Result<Vec<u8>, Error> {
    let length = usize::try_from(storage.size().min(RECORD_LIMIT).0).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    storage.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn flush_directory(directory: &Path) -> Result<(), Error> {
    let path: PathBuf = directory.into();
    File::open(directory).and_then(|file| file.sync_all()).map_err(|source| Error::Write { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evenkeel_units::Version;

    use super::*;

    fn record(patch: u16) -> Record {
        Record::new(Version::new(1, 0, patch))
    }

    #[test]
    fn i3_a_torn_write_of_the_record_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, found) = StateFiles::open(directory.path()).unwrap();
        assert_eq!(found, None);
        for patch in 1..=3 {
            state.save(&record(patch)).unwrap();
        }
        assert_eq!(StateFiles::open(directory.path()).unwrap().1, Some(record(3)));
        // Records 1 and 3 went to the first file, record 2 to the second.
        let newest = directory.path().join(NAMES[0]);
        let mut torn = fs::read(&newest).unwrap();
        torn[90] ^= 1;
        fs::write(&newest, torn).unwrap();
        let (mut state, found) = StateFiles::open(directory.path()).unwrap();
        assert_eq!(found, Some(record(2)));
        state.save(&record(4)).unwrap();
        assert_eq!(StateFiles::open(directory.path()).unwrap().1, Some(record(4)));
    }

    #[test]
    fn files_with_anything_else_in_them_hold_no_record() {
        let directory = tempfile::tempdir().unwrap();
        for name in NAMES {
            fs::write(directory.path().join(name), "nonsense\n").unwrap();
        }
        assert_eq!(StateFiles::open(directory.path()).unwrap().1, None);
    }
}
