//! The file name of a boot entry, which carries its boot counter.

use alloc::string::String;
use core::{fmt, str::FromStr};

use evenkeel_units::Version;

/// Where the next release's kernel image stands on the EFI system partition until it is complete.
///
/// The loader looks at names that end in `.efi` only (UAPI Boot Loader Specification, Type #2), so no
/// start of the box can come upon half a file.
pub const STAGED_NAME: &str = "evenkeel-staged.tmp";

const PREFIX: &str = "evenkeel_";
const SUFFIX: &str = ".efi";

/// A boot counter: starts left and starts done (UAPI Boot Loader Specification, "Boot counting").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tries {
    /// Starts that the loader still grants; at 0 the entry is bad and comes last.
    pub left: u32,
    /// Starts that the loader has made.
    pub done: u32,
}

impl Tries {
    /// The counter of an entry that was never started.
    #[must_use]
    pub const fn fresh(left: u32) -> Self {
        Self { left, done: 0 }
    }

    /// The counter after one more start.
    #[must_use]
    pub const fn after_start(self) -> Self {
        Self { left: self.left.saturating_sub(1), done: self.done.saturating_add(1) }
    }

    /// The counter of an entry that is not to be started again.
    #[must_use]
    pub const fn condemned(self) -> Self {
        Self { left: 0, done: self.done }
    }
}

/// The name of a boot entry: `evenkeel_1.4.0+3-1.efi`, or `evenkeel_1.4.0.efi` once it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// The release that the entry starts.
    pub version: Version,
    /// Its counter; none when it is kept for good.
    pub tries: Option<Tries>,
}

impl EntryName {
    /// The entry of a release that is kept for good.
    #[must_use]
    pub const fn kept(version: Version) -> Self {
        Self { version, tries: None }
    }

    /// The entry of a release that may be tried `tries` times.
    #[must_use]
    pub const fn trial(version: Version, tries: u32) -> Self {
        Self { version, tries: Some(Tries::fresh(tries)) }
    }

    /// Whether the loader puts the entry behind all others, because its starts are used up.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self.tries, Some(Tries { left: 0, .. }))
    }
}

impl fmt::Display for EntryName {
    /// Writes the form of systemd's Automatic Boot Assessment: `-DONE` only once there was a start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.version)?;
        match self.tries {
            None => {}
            Some(Tries { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Tries { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(SUFFIX)
    }
}

/// Why a file name is not that of a boot entry of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a boot entry; expected a name such as `evenkeel_1.4.0+3-1.efi`")]
pub struct NameError {
    got: String,
}

impl FromStr for EntryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        parse(text).ok_or_else(|| NameError { got: text.chars().take(80).collect() })
    }
}

fn parse(text: &str) -> Option<EntryName> {
    let stem = text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (version, counter) = match stem.split_once('+') {
        None => (stem, None),
        Some((version, counter)) => (version, Some(counter)),
    };
    let tries = counter.map(parse_tries);
    if matches!(tries, Some(None)) {
        return None;
    }
    Some(EntryName { version: version.parse().ok()?, tries: tries.flatten() })
}

fn parse_tries(text: &str) -> Option<Tries> {
    let (left, done) = text.split_once('-').map_or((text, None), |(left, done)| (left, Some(done)));
    Some(Tries { left: number(left)?, done: done.map_or(Some(0), number)? })
}

/// A decimal number without sign; leading zeros are read, as systemd-boot reads and keeps them.
fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const VERSION: Version = Version::new(1, 4, 0);

    #[test]
    fn names_are_those_of_the_boot_loader_specification() {
        for (text, tries) in [
            ("evenkeel_1.4.0.efi", None),
            ("evenkeel_1.4.0+3.efi", Some(Tries { left: 3, done: 0 })),
            ("evenkeel_1.4.0+2-1.efi", Some(Tries { left: 2, done: 1 })),
            ("evenkeel_1.4.0+0-3.efi", Some(Tries { left: 0, done: 3 })),
        ] {
            let name = EntryName { version: VERSION, tries };
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
        }
    }

    #[test]
    fn what_is_not_an_entry_of_ours_is_refused() {
        for text in [
            "",
            "evenkeel_.efi",
            "evenkeel_1.4.efi",
            "evenkeel_1.4.0",
            "evenkeel_1.4.0+.efi",
            "evenkeel_1.4.0+3-.efi",
            "evenkeel_1.4.0+-1.efi",
            "evenkeel_1.4.0++3.efi",
            "evenkeel_1.4.0+3-1-1.efi",
            "evenkeel_1.4.0+99999999999.efi",
            "other_1.4.0.efi",
            STAGED_NAME,
        ] {
            assert!(text.parse::<EntryName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_start_uses_up_one_try_and_never_goes_below_none() {
        assert_eq!(Tries::fresh(3).after_start(), Tries { left: 2, done: 1 });
        assert_eq!(Tries { left: 0, done: 3 }.after_start(), Tries { left: 0, done: 4 });
        assert_eq!(Tries { left: 2, done: 1 }.condemned(), Tries { left: 0, done: 1 });
    }
}
