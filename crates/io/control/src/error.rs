//! What can go wrong at a control socket, in sentences for the operator.

use std::{io, path::PathBuf, time::Duration};

/// Why a control socket did not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("control socket `{}`: cannot be made; check that its folder exists and may be written", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody answers at the socket.
    #[error("control socket `{}`: another daemon answers there; stop it, or choose another socket", .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The path is no place for a socket.
    #[error(
        "control socket `{}`: something that is not a socket stands there; remove it or choose another path", .path.display())]
    NotSocket {
        /// Where.
        path: PathBuf,
    },
    /// Nobody answers at the socket.
    #[error(
        "control socket `{}`: cannot be reached; is the daemon running, and are you its user or root?", .path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("control connection broke off; look into the daemon's log and try again")]
    Broken(#[from] io::Error),
    /// The peer closed the connection before a whole line.
    #[error("control connection was closed before its line was complete; look into the daemon's log")]
    Closed,
    /// The peer sent a longer line than there may be.
    #[error("control message is longer than {most} bytes; is it what you meant to send?")]
    TooLong {
        /// The limit, in bytes.
        most: usize,
    },
    /// The peer was too slow.
    #[error("no whole control message within {waited:?}; look into the daemon's log and try again")]
    Deadline {
        /// How long was waited.
        waited: Duration,
    },
    /// The peer sent what is not a message.
    #[error("control message is not understood; are command and daemon of the same release?")]
    NotUnderstood(#[from] serde_json::Error),
}
