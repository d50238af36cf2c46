//! Every limit of this crate, with its arithmetic, and how long new metadata lives.
//!
//! A file's limit holds while it is read, not after: a server that never stops sending is cut off (TUF
//! 1.0.33 §5.3.3, §5.4.1, §5.5.1, §5.6.1; the attack is called endless data).

use core::time::Duration;

use evenkeel_units::ByteCount;

/// Longest root metadata: 64 keys and 64 signatures of about 300 bytes each are 38 KiB; 512 KiB leaves room
/// for the RSA keys of other repositories.
pub const ROOT: ByteCount = ByteCount::kib(512);

/// Longest timestamp metadata: it lists one file, about 600 bytes; 16 KiB is python-tuf's limit too.
pub const TIMESTAMP: ByteCount = ByteCount::kib(16);

/// Longest snapshot metadata: about 150 bytes a listed file, so 2 MiB are 14,000 delegated roles.
pub const SNAPSHOT: ByteCount = ByteCount::mib(2);

/// Longest targets metadata: about 500 bytes a release, so 5 MiB are 10,000 releases.
pub const TARGETS: ByteCount = ByteCount::mib(5);

/// Most root rotations that one refresh follows (TUF 1.0.33 §5.3.3, `Y`): a yearly rotation for 256 years.
pub const ROOT_ROTATIONS: u32 = 256;

/// Most signatures on one file: 64 operators are more than any threshold that people can gather.
///
/// At 34 µs a check this bounds the work that a forged file can cause at 2.2 ms.
pub const SIGNATURES: usize = 64;

/// How long new root metadata lives: one ceremony a year.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// How long new targets metadata lives: a quarter, so that a fleet without releases still hears from its operator.
pub const TARGETS_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// How long new snapshot metadata lives: a week, and the server signs it anew each day.
pub const SNAPSHOT_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// How long a new timestamp lives: a day, which is the longest that anyone can freeze a box unnoticed.
pub const TIMESTAMP_LIFETIME: Duration = Duration::from_secs(86_400);
