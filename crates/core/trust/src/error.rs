//! Why metadata is not accepted.
//!
//! Every message names the file, the value and the remedy. None of them changes what is trusted.

use alloc::string::String;

use evenkeel_units::{ByteCount, Digest, WallTime};

use crate::{KeyId, RoleName};

/// Why metadata was refused; whoever asked keeps what was trusted before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bytes are not JSON that all readers understand alike.
    #[error("{role} metadata is not acceptable JSON: {reason}; the operator has to publish it again")]
    Json {
        /// The role whose metadata it should be.
        role: RoleName,
        /// What is wrong, and where.
        reason: String,
    },
    /// A field is missing or holds what it may not.
    #[error("{role} metadata: `{field}` is {got}; expected {expected}")]
    Field {
        /// The role whose metadata it should be.
        role: RoleName,
        /// The path of the field, such as `signed.version`.
        field: String,
        /// What stands there.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// More bytes than the role may have (endless data).
    #[error(
        "{role} metadata is longer than {limit}; the server or something before it sends what is not metadata"
    )]
    TooLong {
        /// The role that was asked for.
        role: RoleName,
        /// The most that would have been read.
        limit: ByteCount,
    },
    /// A key is listed under an identity that is not its own.
    #[error(
        "{role} metadata lists a key as {listed}, but its identity is {computed}; make the file again with the right key"
    )]
    KeyId {
        /// The role whose metadata it is.
        role: RoleName,
        /// The identity it is listed under.
        listed: KeyId,
        /// SHA-256 of the canonical key object.
        computed: KeyId,
    },
    /// Too few of the trusted keys signed (arbitrary software, compromise below the threshold).
    #[error(
        "{role} metadata version {version} has {valid} valid signatures of {delegator} version {delegator_version}'s \
         {role} keys, and {threshold} are needed; sign it with further {role} keys, or it is forged or damaged"
    )]
    Threshold {
        /// The role whose metadata it is.
        role: RoleName,
        /// The version that the metadata claims.
        version: u64,
        /// Distinct trusted keys with a valid signature.
        valid: usize,
        /// Distinct trusted keys that have to sign.
        threshold: usize,
        /// The role that names the keys.
        delegator: RoleName,
        /// The version of the metadata that names the keys.
        delegator_version: u64,
    },
    /// A version below one that was seen (rollback).
    #[error(
        "{what} is version {got}, but version {trusted} was seen before; the server offers old files: point it at the newest, or find out who replays them"
    )]
    Rollback {
        /// The file, such as `timestamp.json`.
        what: String,
        /// The version that is offered.
        got: u64,
        /// The version that was trusted before.
        trusted: u64,
    },
    /// A root that is not the next one.
    #[error(
        "root metadata is version {got}; expected version {expected}, since roots follow each other one by one"
    )]
    RootVersion {
        /// The version that is offered.
        got: u64,
        /// The only acceptable one.
        expected: u64,
    },
    /// A file is not the one that its list names (mix-and-match, or damage on the way).
    #[error(
        "{file} is {got}, but {list} lists {listed}; files of different times are mixed or one is damaged: fetch again, then publish again"
    )]
    Mismatch {
        /// The file, such as `snapshot.json`.
        file: String,
        /// The file that lists it.
        list: RoleName,
        /// What was found.
        got: Found,
        /// What is listed.
        listed: Found,
    },
    /// A snapshot no longer lists a file that it listed (rollback by omission).
    #[error(
        "snapshot metadata version {version} no longer lists {file}, which an earlier one did; publish a snapshot that lists it"
    )]
    Dropped {
        /// The version of the new snapshot.
        version: u64,
        /// The file that is gone.
        file: String,
    },
    /// The time until which the metadata may be used has passed (freeze).
    #[error("{role} metadata version {version} expired at {expired}, and it is {now} now; {remedy}, and check this machine's clock", remedy = role.renewal())]
    Expired {
        /// The role whose metadata it is.
        role: RoleName,
        /// Its version.
        version: u64,
        /// When it expired.
        expired: WallTime,
        /// The start of the refresh.
        now: WallTime,
    },
    /// The server has no such file.
    #[error("the server has no {file}; publish a release there, or check its address")]
    Missing {
        /// The name that was asked for.
        file: String,
    },
    /// No target of this name is listed.
    #[error("targets metadata version {version} lists no {name}; publish it, or check the name")]
    NoTarget {
        /// The version of the metadata.
        version: u64,
        /// The name that was asked for.
        name: String,
    },
    /// Something to be signed has text that canonical JSON writers disagree about.
    #[error("{role} metadata would hold text that is not printable ASCII; use plain letters in names")]
    NotPlain {
        /// The role that was to be signed.
        role: RoleName,
    },
}

/// What was found of a file, or is listed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its version.
    Version(u64),
    /// Its length.
    Length(ByteCount),
    /// Its SHA-256.
    Sha256(Digest),
    /// Nothing at all.
    Nothing,
}

impl core::fmt::Display for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::Length(length) => write!(f, "{} bytes long", length.0),
            Self::Sha256(digest) => write!(f, "SHA-256 {digest}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}
