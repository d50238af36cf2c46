//! The boot entries of a box as a value: the loader's choice among them, and the edits that are allowed.

use alloc::vec::Vec;
use core::cmp::Reverse;

use evenkeel_units::Version;

use crate::{EntryName, Tries};

/// The entries on the EFI system partition, in the order in which the loader prefers them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries(Vec<EntryName>);

/// One change of the directory of entries: one call of the system, so one write that happens or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Give an entry another name; its bytes stay.
    Rename {
        /// The name that it has.
        from: EntryName,
        /// The name that it gets.
        to: EntryName,
    },
    /// Remove an entry.
    Remove(EntryName),
}

/// What the loader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The entry that it starts, by the name that it has while it starts.
    pub start: EntryName,
    /// The renaming by which it counts the start, before it starts.
    pub count: Option<Change>,
}

impl Entries {
    /// The entries among the file names of a directory; names that are not ours are left out.
    #[must_use]
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The entries, in the order in which the loader prefers them.
    #[must_use]
    pub fn as_slice(&self) -> &[EntryName] {
        &self.0
    }

    /// What systemd-boot starts, or nothing when there is no entry.
    ///
    /// The first entry in order: bad ones last, then the newest version (systemd 257, `boot_entry_compare`:
    /// used-up counters, then version, then more tries left, then fewer done). Its counter is
    /// counted down by renaming before it starts, also when it is used up already.
    #[must_use]
    pub fn select(&self) -> Option<Selection> {
        let &from = self.0.first()?;
        let Some(tries) = from.tries else { return Some(Selection { start: from, count: None }) };
        let to = EntryName { version: from.version, tries: Some(tries.after_start()) };
        Some(Selection { start: to, count: Some(Change::Rename { from, to }) })
    }

    /// The entry of a release.
    #[must_use]
    pub fn of(&self, version: Version) -> Option<EntryName> {
        self.0.iter().find(|entry| entry.version == version).copied()
    }

    /// Keeps a release for good: its counter is removed. Nothing to do when it has none.
    ///
    /// It names the running release's own entry; it is the one edit that may, and it keeps the bytes (I1).
    #[must_use]
    pub fn bless(&self, version: Version) -> Option<Change> {
        let from = self.of(version).filter(|entry| entry.tries.is_some())?;
        Some(Change::Rename { from, to: EntryName::kept(version) })
    }

    /// Makes a trial the loader's last choice: its tries are used up. Nothing to do when they are.
    ///
    /// An entry that is kept for good is left alone: it may be the only one that starts.
    #[must_use]
    pub fn condemn(&self, version: Version) -> Option<Change> {
        let from = self.of(version)?;
        let tries = from.tries.filter(|tries| tries.left > 0)?;
        Some(Change::Rename { from, to: EntryName { version, tries: Some(Tries::condemned(tries)) } })
    }

    /// Removes what does not belong to the running release, so that the other slot can be written:
    /// from then on no start of the box can come upon a slot half written (I3).
    pub fn free_inactive(&self, running: Version) -> impl Iterator<Item = Change> {
        self.0.iter().filter(move |entry| entry.version != running).copied().map(Change::Remove)
    }

    /// The entries after a change.
    #[must_use]
    pub fn with(&self, change: Change) -> Self {
        let (gone, new) = match change {
            Change::Rename { from, to } => (from, self.0.contains(&from).then_some(to)),
            Change::Remove(entry) => (entry, None),
        };
        self.0.iter().copied().filter(|&entry| entry != gone && Some(entry) != new).chain(new).collect()
    }

    /// The entries after one more has come, by the renaming of [`crate::STAGED_NAME`].
    #[must_use]
    pub fn with_entry(&self, entry: EntryName) -> Self {
        self.0.iter().copied().filter(|&other| other != entry).chain([entry]).collect()
    }
}

impl FromIterator<EntryName> for Entries {
    fn from_iter<I: IntoIterator<Item = EntryName>>(names: I) -> Self {
        let mut entries: Vec<_> = names.into_iter().collect();
        entries.sort_by_key(|entry| (entry.is_bad(), Reverse(entry.version), order_of_tries(entry.tries)));
        Self(entries)
    }
}

/// Among entries of one version: kept for good first, then more tries left, then fewer done.
fn order_of_tries(tries: Option<Tries>) -> (bool, Reverse<u32>, u32) {
    tries.map_or((false, Reverse(0), 0), |tries| (true, Reverse(tries.left), tries.done))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    fn entries(names: &[&str]) -> Entries {
        Entries::from_names(names.iter().copied())
    }

    #[test]
    fn the_loader_prefers_what_is_not_bad_then_the_newest() {
        for (names, start) in [
            (vec!["evenkeel_1.9.0.efi", "evenkeel_1.10.0.efi"], "evenkeel_1.10.0.efi"),
            (vec!["evenkeel_1.0.0.efi", "evenkeel_1.1.0+3.efi"], "evenkeel_1.1.0+2-1.efi"),
            (vec!["evenkeel_1.0.0.efi", "evenkeel_1.1.0+1-2.efi"], "evenkeel_1.1.0+0-3.efi"),
            (vec!["evenkeel_1.0.0.efi", "evenkeel_1.1.0+0-3.efi"], "evenkeel_1.0.0.efi"),
            (vec!["evenkeel_1.1.0+0-3.efi"], "evenkeel_1.1.0+0-4.efi"),
            (
                vec!["evenkeel_1.1.0+1-2.efi", "evenkeel_1.1.0+2-1.efi", "readme.txt"],
                "evenkeel_1.1.0+1-2.efi",
            ),
        ] {
            let chosen = entries(&names).select().map(|selection| selection.start.to_string());
            assert_eq!(chosen.as_deref(), Some(start), "{names:?}");
        }
        assert_eq!(entries(&["readme.txt"]).select(), None);
    }

    #[test]
    fn a_kept_entry_is_started_without_renaming() {
        assert_eq!(entries(&["evenkeel_1.0.0.efi"]).select().map(|selection| selection.count), Some(None));
    }

    #[test]
    fn blessing_and_condemning_are_one_renaming_and_may_be_repeated() {
        let trial = entries(&["evenkeel_1.0.0.efi", "evenkeel_1.1.0+2-1.efi"]);
        let version = Version::new(1, 1, 0);
        for (edit, name) in [
            (Entries::bless as fn(&Entries, Version) -> Option<Change>, "evenkeel_1.1.0.efi"),
            (Entries::condemn, "evenkeel_1.1.0+0-1.efi"),
        ] {
            let after = trial.with(edit(&trial, version).expect("a trial has a counter"));
            assert_eq!(after.of(version).map(|entry| entry.to_string()).as_deref(), Some(name));
            assert_eq!(edit(&after, version), None, "{name}");
        }
    }

    #[test]
    fn a_kept_entry_cannot_be_condemned() {
        assert_eq!(entries(&["evenkeel_1.0.0.efi"]).condemn(Version::new(1, 0, 0)), None);
    }

    #[test]
    fn i1_freeing_the_inactive_slot_leaves_the_running_entry() {
        let all = entries(&["evenkeel_1.0.0.efi", "evenkeel_1.1.0.efi", "evenkeel_1.2.0+0-3.efi"]);
        let running = Version::new(1, 1, 0);
        let left = all.free_inactive(running).fold(all.clone(), |entries, change| entries.with(change));
        assert_eq!(left, entries(&["evenkeel_1.1.0.efi"]));
    }
}
