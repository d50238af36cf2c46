//! The journal: an append-only file of checksummed frames, synced before anything is acknowledged.
//!
//! Owns: the file's form, its recovery after kill -9 and loss of power, and its rewriting. Leaves to others:
//! what is looked up where.
//!
//! A frame is `EKF1`, the payload's length (4 bytes, little endian), the checksum of the frame before (16 bytes),
//! its own checksum (16 bytes: the first half of SHA-256 over the one before and the payload), and the payload:
//! one batch. Frames are chained, so none can be lost or exchanged unnoticed.
//!
//! Only the last frame may be torn, for none is written before the one ahead of it is synced. So a bad frame
//! with nothing valid behind it is cut off, it was never acknowledged; one with a valid frame behind it is
//! damage, and the server refuses to start rather than to forget.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use evenkeel_units::Hasher;

use super::{Batch, Change, Table};

const MAGIC: &[u8; 4] = b"EKF1";
const HEADER: usize = 4 + 4 + 16 + 16;

/// Longest payload of a frame: every member of a rollout to 10,000 devices at 1 KiB each, six times over.
const PAYLOAD_LIMIT: usize = 64 << 20;

/// The half SHA-256 that ends the chain so far.
pub(super) type Checksum = [u8; 16];

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {path} cannot be {action}; free space or mend the disk, then restart the server")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Acknowledged data is damaged.
    #[error(
        "the journal {path} is damaged at byte {offset}, with valid data behind it; restore the data directory from a copy"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// An earlier write failed in a way that leaves the file's state unknown.
    #[error("the journal {path} could not be synced before; restart the server once the disk is well")]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// A batch that no frame can hold.
    #[error("{got} bytes are more than the journal takes at once (64 MiB); split the request")]
    TooLong {
        /// Its length.
        got: usize,
    },
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    end: Position,
    poisoned: bool,
}

/// A point between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) checksum: Checksum,
}

impl Journal {
    /// Opens the journal at `path`, made if there is none, and gives each of its batches to `visit` with the
    /// position behind it.
    pub(super) fn open(path: &Path, mut visit: impl FnMut(Batch, Position)) -> Result<Self, JournalError> {
        let failed = |action| move |source| JournalError::Io { path: path.to_path_buf(), action, source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = file.map_err(failed("opened"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let mut end = Position::default();
        while let Some((batch, next)) = read_frame(&bytes, end) {
            visit(batch, next);
            end = next;
        }
        let tail = &bytes[usize::try_from(end.offset).unwrap_or(usize::MAX).min(bytes.len())..];
        if has_frame_behind(tail) {
            return Err(JournalError::Damaged { path: path.to_path_buf(), offset: end.offset });
        }
        if !tail.is_empty() {
            tracing::warn!(path = %path.display(), offset = end.offset, bytes = tail.len(), "cut off a torn write");
            file.set_len(end.offset).map_err(failed("cut"))?;
        }
        file.sync_all().map_err(failed("synced"))?;
        sync_folder_of(path).map_err(failed("synced"))?;
        Ok(Self { path: path.to_path_buf(), file, end, poisoned: false })
    }

    /// Where the next frame will begin.
    pub(super) const fn end(&self) -> Position {
        self.end
    }

    /// Appends a batch and syncs it.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Position, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned { path: self.path.clone() });
        }
        let (frame, next) = write_frame(batch, self.end)?;
        if let Err(source) = self.file.write_all(&frame) {
            // Part of the frame may be there. Take it back, so that the next one follows the last whole one.
            self.poisoned = self.file.set_len(self.end.offset).and_then(|()| self.file.sync_all()).is_err();
            return Err(JournalError::Io { path: self.path.clone(), action: "written", source });
        }
        if let Err(source) = self.file.sync_data() {
            // After a failed sync nobody knows what is on disk, and a second one may report success wrongly.
            self.poisoned = true;
            return Err(JournalError::Io { path: self.path.clone(), action: "synced", source });
        }
        self.end = next;
        Ok(next)
    }

    /// Replaces the journal by one that holds just `batches`: written aside, synced, then renamed over it.
    pub(super) fn rewrite(&mut self, batches: impl Iterator<Item = Batch>) -> Result<(), JournalError> {
        let new_path = self.path.with_extension("new");
        let failed = |action| {
            let path = new_path.clone();
            move |source| JournalError::Io { path, action, source }
        };
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&new_path);
        let mut file = file.map_err(failed("opened"))?;
        let mut end = Position::default();
        for batch in batches {
            let (frame, next) = write_frame(&batch, end)?;
            file.write_all(&frame).map_err(failed("written"))?;
            end = next;
        }
        file.sync_all().map_err(failed("synced"))?;
        std::fs::rename(&new_path, &self.path).map_err(failed("renamed"))?;
        sync_folder_of(&self.path).map_err(failed("synced"))?;
        let mut file =
            OpenOptions::new().read(true).append(true).open(&self.path).map_err(failed("opened"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("read"))?;
        (self.file, self.end) = (file, end);
        Ok(())
    }
}

/// Makes a rename or a new file in the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn checksum(previous: &Checksum, payload: &[u8]) -> Checksum {
    let mut hasher = Hasher::new();
    hasher.update(previous);
    hasher.update(payload);
    let mut half = Checksum::default();
    half.copy_from_slice(&hasher.finish().as_bytes()[..16]);
    half
}

fn write_frame(batch: &Batch, end: Position) -> Result<(Vec<u8>, Position), JournalError> {
    let payload = encode(batch);
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_LIMIT);
    let length = length.ok_or(JournalError::TooLong { got: payload.len() })?;
    let own = checksum(&end.checksum, &payload);
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(MAGIC);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&end.checksum);
    frame.extend_from_slice(&own);
    frame.extend_from_slice(&payload);
    let next = Position { offset: end.offset + frame.len() as u64, checksum: own };
    Ok((frame, next))
}

/// The frame at `at`, if it is whole, right, and follows the one before.
fn read_frame(bytes: &[u8], at: Position) -> Option<(Batch, Position)> {
    let rest = bytes.get(usize::try_from(at.offset).ok()?..)?;
    let (previous, own, payload) = split_frame(rest)?;
    if previous != at.checksum || checksum(&previous, payload) != own {
        return None;
    }
    let next = Position { offset: at.offset + (HEADER + payload.len()) as u64, checksum: own };
    Some((decode(payload)?, next))
}

fn split_frame(bytes: &[u8]) -> Option<(Checksum, Checksum, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (previous, rest) = rest.split_first_chunk::<16>()?;
    let (own, rest) = rest.split_first_chunk::<16>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..length).filter(|_| magic == MAGIC && length <= PAYLOAD_LIMIT)?;
    Some((*previous, *own, payload))
}

/// Whether a whole frame stands anywhere in `tail`: proof that what comes before it had been synced.
fn has_frame_behind(tail: &[u8]) -> bool {
    let is_frame = |bytes| {
        split_frame(bytes).is_some_and(|(previous, own, payload)| checksum(&previous, payload) == own)
    };
    (1..tail.len()).any(|at| tail[at..].starts_with(MAGIC) && is_frame(&tail[at..]))
}

fn encode(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    let mut piece = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    for Change { table, key, value } in &batch.changes {
        piece(&[*table as u8, u8::from(value.is_some())]);
        piece(key);
        piece(value.as_deref().unwrap_or_default());
    }
    out
}

fn decode(mut payload: &[u8]) -> Option<Batch> {
    let mut piece = || {
        let (length, rest) = payload.split_first_chunk::<8>()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        payload = rest;
        Some(bytes.to_vec())
    };
    let mut batch = Batch::default();
    while let Some(kind) = piece() {
        let (&[table, put], key, value) = (<&[u8; 2]>::try_from(kind.as_slice()).ok()?, piece()?, piece()?);
        let table = table_of(table)?;
        batch.changes.push(Change { table, key, value: (put == 1).then_some(value) });
    }
    payload.is_empty().then_some(batch)
}

fn table_of(number: u8) -> Option<Table> {
    [Table::Device, Table::Token, Table::Report, Table::Rollout, Table::Member]
        .into_iter()
        .find(|table| *table as u8 == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: u8) -> Batch {
        let mut batch = Batch::default();
        batch.put(Table::Device, vec![n], vec![n; 20]);
        batch.remove(Table::Token, vec![n, 1]);
        batch
    }

    fn read(path: &Path) -> Result<Vec<Batch>, JournalError> {
        let mut batches = Vec::new();
        Journal::open(path, |batch, _| batches.push(batch)).map(|_| batches)
    }

    fn written(count: u8) -> (tempfile::TempDir, PathBuf, Vec<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, |_, _| ()).unwrap();
        let ends = (0..count).map(|n| journal.append(&batch(n)).unwrap().offset).collect();
        (folder, path, ends)
    }

    #[test]
    fn a_journal_reads_back_what_it_wrote() {
        let (_folder, path, _) = written(3);
        assert_eq!(read(&path).unwrap(), [batch(0), batch(1), batch(2)]);
    }

    /// I7: a write cut short anywhere loses itself alone.
    #[test]
    fn i7_a_journal_cut_anywhere_keeps_every_whole_frame_before_the_cut() {
        let (_folder, path, ends) = written(3);
        let bytes = std::fs::read(&path).unwrap();
        // Every third byte meets each field of the header and the payload; each cut costs several syncs.
        for cut in (0..bytes.len()).step_by(3) {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|&&end| end <= cut as u64).count();
            let mut kept = Vec::new();
            let mut journal = Journal::open(&path, |batch, _| kept.push(batch)).unwrap();
            assert_eq!(kept.len(), whole, "cut at {cut}");
            if cut % 5 == 0 {
                journal.append(&batch(9)).unwrap();
                assert_eq!(read(&path).unwrap().len(), whole + 1, "appended after a cut at {cut}");
            }
        }
    }

    /// I7: blocks of the last write that never reached the disk read as zeros.
    #[test]
    fn i7_a_last_frame_with_a_hole_is_cut_off() {
        let (_folder, path, ends) = written(3);
        let bytes = std::fs::read(&path).unwrap();
        let start = usize::try_from(ends[1]).unwrap();
        for (from, to) in [(start, start + 20), (start, bytes.len()), (start + 42, bytes.len())] {
            let mut torn = bytes.clone();
            torn[from..to].fill(0);
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(read(&path).unwrap().len(), 2, "{from}..{to}");
        }
    }

    #[test]
    fn damage_before_the_last_frame_is_refused_and_never_forgotten() {
        let (_folder, path, ends) = written(3);
        let bytes = std::fs::read(&path).unwrap();
        for at in (0..usize::try_from(ends[1]).unwrap()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            std::fs::write(&path, &damaged).unwrap();
            assert!(matches!(read(&path), Err(JournalError::Damaged { .. })), "byte {at}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged, "the file is left as it is");
        }
    }

    #[test]
    fn a_rewritten_journal_holds_the_new_batches_and_goes_on() {
        let (_folder, path, _) = written(3);
        let mut journal = Journal::open(&path, |_, _| ()).unwrap();
        journal.rewrite([batch(7)].into_iter()).unwrap();
        journal.append(&batch(8)).unwrap();
        assert_eq!(read(&path).unwrap(), [batch(7), batch(8)]);
    }
}
