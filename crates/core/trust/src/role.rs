//! The four top-level roles as values: what metadata says, once it is read.
//!
//! Owns: the fields of TUF 1.0.33 §4.3 to §4.6 and their ranges. Leaves to others: whether anyone signed it
//! (`envelope`) and whether it is new enough (`trusted`).

mod files;
mod root;

use alloc::{borrow::ToOwned, format, string::String};
use core::fmt;

use evenkeel_units::{ByteCount, WallTime};

pub use files::{FileMeta, Snapshot, TargetFile, Targets, Timestamp};
pub use root::{RoleKeys, Root};

use crate::{Object, TrustError, Value, fields::Fields, limits};

/// A top-level role (TUF 1.0.33 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Names the keys of all roles.
    Root,
    /// Names the newest snapshot; short-lived.
    Timestamp,
    /// Names the version of every targets file.
    Snapshot,
    /// Names the files that may be installed.
    Targets,
}

impl RoleName {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// The role's name in metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }

    /// The name of its metadata file, without version: `root.json`.
    #[must_use]
    pub fn file(self) -> String {
        self.as_str().to_owned() + ".json"
    }

    /// The most bytes that its metadata may have.
    #[must_use]
    pub const fn limit(self) -> ByteCount {
        match self {
            Self::Root => limits::ROOT,
            Self::Timestamp => limits::TIMESTAMP,
            Self::Snapshot => limits::SNAPSHOT,
            Self::Targets => limits::TARGETS,
        }
    }

    /// What to do about expired metadata of this role.
    pub(crate) const fn renewal(self) -> &'static str {
        match self {
            Self::Root | Self::Targets => "sign a new version with the operator's key and publish it",
            Self::Timestamp | Self::Snapshot => "see that the update server runs, which signs it anew",
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all metadata has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version of this metadata file, from 1.
    pub version: u64,
    /// Until when it may be used.
    pub expires: WallTime,
}

/// One of the four roles' contents. Nobody outside this crate implements it.
pub trait Role: body::Body + Clone + fmt::Debug {
    /// Which role it is.
    const NAME: RoleName;

    /// Its version and expiry.
    fn header(&self) -> Header;
}

/// Seals [`Role`].
pub(crate) mod body {
    use crate::{Object, TrustError, fields::Fields};

    /// How a role's own fields are read and written.
    pub trait Body: Sized {
        #[doc(hidden)]
        fn read(header: super::Header, signed: &Fields<'_>) -> Result<Self, TrustError>;

        #[doc(hidden)]
        fn write(&self, signed: &mut Object);
    }
}

/// Reads the `signed` object of a role's metadata.
pub(crate) fn read<T: Role>(signed: &Value) -> Result<T, TrustError> {
    let fields = Fields::of(T::NAME, "signed", signed)?;
    if fields.text("_type")? != T::NAME.as_str() {
        return Err(fields.refuse("_type", "the name of the role that was asked for"));
    }
    if !is_supported(fields.text("spec_version")?) {
        return Err(fields.refuse("spec_version", "a version 1 of the TUF specification"));
    }
    let header = Header {
        version: fields.number("version", 1, "a whole number from 1")?,
        expires: fields.parsed("expires", "a time such as `2026-12-18T23:59:00Z`")?,
    };
    T::read(header, &fields)
}

/// `1.0` and `1.0.N`: what clients of this specification understand (TUF 1.0.33 §4.2.1 and the §7 rules).
fn is_supported(spec_version: &str) -> bool {
    let mut parts = spec_version.split('.');
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.next() == Some("1")
        && parts.next().is_some_and(numeric)
        && parts.next().is_none_or(numeric)
        && parts.next().is_none()
}

/// Writes the `signed` object of a role's metadata.
pub(crate) fn write<T: Role>(role: &T) -> Object {
    let header = role.header();
    let mut signed = Object::from([
        ("_type".into(), T::NAME.as_str().into()),
        ("spec_version".into(), "1.0.33".into()),
        ("version".into(), number(header.version)),
        ("expires".into(), Value::Text(format!("{}", header.expires))),
    ]);
    role.write(&mut signed);
    signed
}

/// A count as JSON; held at the largest that canonical JSON is read with.
fn number(count: u64) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_1_of_the_specification_are_read_and_no_others() {
        for (text, supported) in [
            ("1.0.33", true),
            ("1.0", true),
            ("1.1.0", true),
            ("2.0.0", false),
            ("1", false),
            ("1.0.x", false),
            ("1.0.0.0", false),
            ("", false),
            ("1.", false),
        ] {
            assert_eq!(is_supported(text), supported, "{text}");
        }
    }
}
