//! Properties of the loader's choice: whatever stands on the partition, a kept release is never lost.

use evenkeel_boot::{Entries, EntryName, Tries};
use evenkeel_units::Version;
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = EntryName> {
    let tries = proptest::option::of((0..4_u32, 0..4_u32).prop_map(|(left, done)| Tries { left, done }));
    (0..4_u16, tries).prop_map(|(minor, tries)| EntryName { version: Version::new(1, minor, 0), tries })
}

proptest! {
    #[test]
    fn every_name_reads_back_what_it_wrote(entry in entry()) {
        prop_assert_eq!(entry.to_string().parse(), Ok(entry));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<EntryName>();
    }

    /// I3, I4: trials run out, and then the newest kept release starts, for ever.
    #[test]
    fn i4_trials_that_nobody_blesses_run_out(entries in proptest::collection::vec(entry(), 0..6)) {
        let newest_kept = entries.iter().filter(|e| e.tries.is_none()).map(|e| e.version).max();
        let mut now: Entries = entries.iter().copied().collect();
        let tries: u32 = entries.iter().filter_map(|e| e.tries).map(|t| t.left).sum();
        for _ in 0..=tries {
            if let Some(change) = now.select().and_then(|selection| selection.count) {
                now = now.with(change);
            }
        }
        if let Some(version) = newest_kept {
            prop_assert_eq!(now.select().map(|s| s.start), Some(EntryName::kept(version)));
        }
    }

    /// I1: whatever is edited, the running release's entry keeps a name that starts.
    #[test]
    fn i1_no_edit_takes_the_running_release_away(entries in proptest::collection::vec(entry(), 0..6)) {
        let running = Version::new(1, 9, 0);
        let all: Entries = entries.into_iter().chain([EntryName::kept(running)]).collect();
        let freed = all.free_inactive(running).fold(all.clone(), |now, change| now.with(change));
        prop_assert_eq!(freed.as_slice(), &[EntryName::kept(running)][..]);
        prop_assert_eq!(all.condemn(running), None);
    }
}
