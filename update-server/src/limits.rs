//! Every limit of the server in one place. What is beyond one is refused with a sentence that names it.

use std::time::Duration;

use evenkeel_units::ByteCount;

/// Connections at once: 4,000 held requests, and room for bundles, operators and pages.
pub const CONNECTIONS: usize = 4500;

/// Requests held open at once; further devices are asked to come again.
pub const HELD: usize = 4000;

/// Longest time a request is held open: below the 120 s after which common NAT devices forget a connection.
pub const HOLD: Duration = Duration::from_secs(60);

/// What a device waits that may not hold its request: half a held request.
pub const COME_AGAIN: Duration = Duration::from_secs(30);

/// Longest time to send a request's head: a modem at its worst, and some.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// Longest head of a request: ours have 600 bytes.
pub const HEAD_BYTES: usize = 16 << 10;

/// Longest time to send a small body.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Longest message of a device or an operator: a report with 50 findings of 1,000 characters.
pub const MESSAGE: ByteCount = ByteCount::kib(64);

/// Longest metadata file that is taken: the targets metadata of TUF's own limit in `core/trust`.
pub const METADATA: ByteCount = evenkeel_trust::limits::TARGETS;

/// Longest bundle: a root image of 2 GiB that does not compress, doubled.
pub const BUNDLE: ByteCount = ByteCount::mib(4096);

/// Bundles that are received at once.
pub const UPLOADS: usize = 4;

/// Longest time in which not a byte of a bundle moves, in either direction.
pub const STALL: Duration = Duration::from_secs(60);

/// Bytes of a bundle that are read from disk at once.
pub const BLOCK: usize = 128 << 10;

/// How often the clock looks whether rollouts or metadata need something.
pub const TICK: Duration = Duration::from_secs(5);

/// Longest time that open requests may still take once the server was told to end.
pub const FAREWELL: Duration = Duration::from_secs(10);
