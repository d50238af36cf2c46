//! What the machine remembers across restarts, and its form on the disk.
//!
//! Owns: the record and its encoding, so that a torn or stale copy is never taken for the newest. Leaves to
//! others: the two files that it alternates between (`evenkeel-disk`).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use evenkeel_protocol::{Assignment, Report, RolloutId, Sentence};
use evenkeel_units::{ByteCount, Digest, Slot, Version};
use serde::{Deserialize, Serialize};

use crate::Baseline;

/// Room for one encoded record: 64 reports and 64 refusals with sentences of at most 1,000 characters of 4
/// bytes, 512 KiB at the very worst and some 10 KiB in practice; also what each state file is given in advance.
pub const RECORD_LIMIT: ByteCount = ByteCount::kib(768);

/// Most reports that wait for the server: the steps of six updates.
pub(crate) const OUTBOX_LIMIT: usize = 64;

/// Most releases that are remembered as refused, as the check-in allows.
pub(crate) const REFUSED_LIMIT: usize = evenkeel_protocol::CheckIn::REFUSED_LIMIT;

/// Most findings that a rollback keeps, and reports.
pub(crate) const EVIDENCE_LIMIT: usize = 8;

/// All that the machine remembers. A release of Evenkeel reads the records of the one before and after it:
/// fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The newest release that was ever kept here.
    pub(crate) highest: Version,
    /// Releases that were rolled back here, and are not tried again before an operator says so.
    #[serde(default)]
    pub(crate) refused: Vec<Refusal>,
    /// The assignment that was last done with, well or badly.
    #[serde(default)]
    pub(crate) finished: Option<RolloutId>,
    /// The number of the last report.
    #[serde(default)]
    pub(crate) sequence: u64,
    /// Reports that the server may not have yet.
    #[serde(default)]
    pub(crate) outbox: Vec<Report>,
    /// Where the update stands.
    #[serde(default)]
    pub(crate) phase: Phase,
}

/// A release that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The release.
    pub version: Version,
    /// Why it was rolled back.
    pub reason: Sentence,
}

/// Where the update stands, as far as a restart must know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The other slot is being written.
    Staging(Staging),
    /// The other slot is complete; its boot entry is or will be written.
    Trial(Trial),
    /// The trial did not pass; its entry is or will be condemned.
    Failed {
        /// The trial that failed.
        trial: Trial,
        /// Why, in one sentence.
        reason: Sentence,
        /// What was measured.
        evidence: Vec<Sentence>,
    },
}

/// How far the other slot is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staging {
    pub(crate) assignment: Assignment,
    pub(crate) slot: Slot,
    /// The digest of the bundle's head, which stands for the order and the bytes of all chunks.
    pub(crate) head: Digest,
    /// Chunks that are written and flushed, counted from the first.
    pub(crate) chunks: u32,
    /// Their bytes.
    pub(crate) bytes: ByteCount,
}

/// A release that has to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The assignment; none when the box found itself on trial without knowing why.
    pub(crate) assignment: Option<Assignment>,
    pub(crate) version: Version,
    pub(crate) slot: Slot,
    pub(crate) root_hash: Digest,
    pub(crate) head: Option<Digest>,
    pub(crate) bytes: ByteCount,
    pub(crate) chunks: u32,
    pub(crate) baseline: Option<Baseline>,
    /// Restarts into it that were asked for.
    pub(crate) restarts: u32,
}

impl Trial {
    pub(crate) fn rollout(&self) -> Option<RolloutId> {
        self.assignment.as_ref().map(|assignment| assignment.rollout)
    }
}

impl Record {
    /// The record of a box that has only ever run `version`.
    #[must_use]
    pub const fn new(version: Version) -> Self {
        Self {
            highest: version,
            refused: Vec::new(),
            finished: None,
            sequence: 0,
            outbox: Vec::new(),
            phase: Phase::Idle,
        }
    }

    /// Remembers a release as refused, once, and forgets the oldest when there are too many.
    pub(crate) fn refuse(&mut self, version: Version, reason: Sentence) {
        self.refused.retain(|refusal| refusal.version != version);
        self.refused.push(Refusal { version, reason });
        let over = self.refused.len().saturating_sub(REFUSED_LIMIT);
        self.refused.drain(..over);
    }
}

const MAGIC: &str = "evenkeel-state-1";

/// One copy of the record: `evenkeel-state-1 SEQUENCE LENGTH SHA256`, a line feed, then the record as JSON.
///
/// The digest covers sequence and record, so a copy is whole and of its time, or it is not read at all.
/// What follows in the file after LENGTH bytes is left over from longer records and means nothing.
#[must_use]
pub fn encode(sequence: u64, record: &Record) -> Vec<u8> {
    // Strings, numbers and maps with string keys only: nothing in a record that JSON cannot hold.
    let body = serde_json::to_string(record).unwrap_or_default();
    let digest = checksum(sequence, body.as_bytes());
    format!("{MAGIC} {sequence} {} {digest}\n{body}", body.len()).into_bytes()
}

/// The sequence and the record of one copy, if it is whole.
#[must_use]
pub fn decode(copy: &[u8]) -> Option<(u64, Record)> {
    let line_end = copy.iter().take(200).position(|&byte| byte == b'\n')?;
    let header = core::str::from_utf8(&copy[..line_end]).ok()?;
    let mut words = header.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
    let sequence = words.next()?.parse().ok()?;
    let length: usize = words.next()?.parse().ok()?;
    let digest: Digest = words.next()?.parse().ok()?;
    let body = copy.get(line_end + 1..)?.get(..length)?;
    let whole = words.next().is_none() && checksum(sequence, body) == digest;
    whole.then(|| serde_json::from_slice(body).ok().map(|record| (sequence, record))).flatten()
}

fn checksum(sequence: u64, body: &[u8]) -> Digest {
    let mut hasher = evenkeel_units::Hasher::new();
    hasher.update(sequence.to_string().as_bytes());
    hasher.update(b"\n");
    hasher.update(body);
    hasher.finish()
}

/// What two copies tell: the newest whole record, and which copy (0 or 1) the next one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// The newest record and its sequence; none when neither copy is whole.
    pub newest: Option<(u64, Record)>,
    /// The copy to write next: never the one that holds the newest record.
    pub next: usize,
}

/// Reads two copies, of which at most one is being replaced at any time.
#[must_use]
pub fn newest_of(copies: [&[u8]; 2]) -> Copies {
    match copies.map(decode) {
        [Some(first), Some(second)] if second.0 > first.0 => Copies { newest: Some(second), next: 0 },
        [Some(first), _] => Copies { newest: Some(first), next: 1 },
        [None, second] => Copies { newest: second, next: 0 },
    }
}

/// A text as the sentences of a report.
pub(crate) fn sentences(texts: &[String]) -> Vec<Sentence> {
    texts.iter().take(EVIDENCE_LIMIT).map(|text| Sentence::new(text)).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn record(patch: u16) -> Record {
        Record::new(Version::new(1, 0, patch))
    }

    #[test]
    fn the_newest_whole_copy_wins_and_the_other_is_written_next() {
        let (older, newer) = (encode(7, &record(1)), encode(8, &record(2)));
        let broken = &newer[..newer.len() - 1];
        for (copies, newest, next) in [
            ([&older[..], &newer[..]], Some((8, record(2))), 0),
            ([&newer[..], &older[..]], Some((8, record(2))), 1),
            ([&older[..], broken], Some((7, record(1))), 1),
            ([broken, &older[..]], Some((7, record(1))), 0),
            ([broken, b""], None, 0),
        ] {
            assert_eq!(newest_of(copies), Copies { newest, next });
        }
    }

    #[test]
    fn what_a_longer_record_left_behind_is_not_read() {
        let copy = [&encode(1, &record(1))[..], b"left over"].concat();
        assert_eq!(decode(&copy), Some((1, record(1))));
    }

    #[test]
    fn any_flipped_bit_makes_a_copy_invalid() {
        let copy = encode(41, &record(3));
        for bit in 0..copy.len() * 8 {
            let mut flipped = copy.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn the_oldest_refusal_is_forgotten_and_none_is_listed_twice() {
        let mut record = record(0);
        for patch in (0..70).chain([69]) {
            record.refuse(Version::new(2, 0, patch), Sentence::default());
        }
        let versions: Vec<_> = record.refused.iter().map(|refusal| refusal.version).collect();
        assert_eq!(versions, (6..70).map(|patch| Version::new(2, 0, patch)).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let with_magic = [MAGIC.as_bytes(), b" ", &bytes].concat();
            prop_assert_eq!(decode(&with_magic), None);
        }
    }

    #[test]
    fn a_full_record_fits_its_file() {
        let mut record = record(0);
        let longest = Sentence::new(&"\u{1F6A2}".repeat(1000));
        for patch in 0..64 {
            record.refuse(Version::new(2, 0, patch), longest.clone());
        }
        let step = evenkeel_protocol::Step::RolledBack { reason: longest, evidence: vec![] };
        let at = evenkeel_units::WallTime::from_unix_seconds(0);
        let report = Report { sequence: 0, at, rollout: None, release: Version::new(2, 0, 0), step };
        record.outbox = vec![report; OUTBOX_LIMIT];
        assert!((encode(u64::MAX, &record).len() as u64) < RECORD_LIMIT.0);
    }
}
