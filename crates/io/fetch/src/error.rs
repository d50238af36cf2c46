//! Why a transfer did not come to its end.

use std::time::Duration;

use evenkeel_trust::TrustError;
use evenkeel_units::ByteCount;

/// Why a transfer did not come to its end: the address, what came, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error("cannot reach {url}; check the address, the network and whether the server runs")]
    Connect {
        /// What was asked for.
        url: String,
        /// Why.
        source: hyper_util::client::legacy::Error,
    },
    /// The other side stopped answering.
    #[error("{url}: nothing came for {} s while waiting for {what}; it is tried again", waited.as_secs())]
    Stalled {
        /// What was asked for.
        url: String,
        /// The part of the answer that did not come.
        what: &'static str,
        /// The deadline.
        waited: Duration,
    },
    /// The connection ended in the middle.
    #[error("{url}: the transfer broke off after {got}; it is taken up there again")]
    Truncated {
        /// What was asked for.
        url: String,
        /// What had come by then.
        got: ByteCount,
    },
    /// More came than was allowed.
    #[error(
        "{url}: the answer is longer than {limit}, its limit; the server or something before it is not ours"
    )]
    TooLong {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: ByteCount,
    },
    /// The server answered, and refused.
    #[error("{url}: status {status}: {message}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the server said about it, cut to 300 characters.
        message: String,
    },
    /// The server answered with something else than what was asked for.
    #[error("{url}: the answer is not what was asked for: {reason}; check that this is an update server")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The metadata is not to be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The bundle is not what the signed metadata says.
    #[error("{url}: {reason}; publish the release again if this stays")]
    Bundle {
        /// The bundle.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Whether the same request may well succeed later, without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // What is published and what has expired are in the operator's hand and may be put right any time.
            Self::Connect { .. }
            | Self::Stalled { .. }
            | Self::Truncated { .. }
            | Self::Status { .. }
            | Self::Trust(TrustError::Expired { .. } | TrustError::Missing { .. }) => true,
            Self::TooLong { .. } | Self::Answer { .. } | Self::Trust(_) | Self::Bundle { .. } => false,
        }
    }
}

/// An error and all that caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
