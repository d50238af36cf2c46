//! The command's half.

use std::{path::Path, time::Duration};

use serde::Serialize;
use tokio::{net::UnixStream, time::timeout};

use crate::{Answer, Error, line::Lines};

/// Longest wait for a place in the daemon's accept queue.
const CONNECT: Duration = Duration::from_secs(5);

/// Sends one request to the daemon at `path` and waits up to `wait` for its answer.
///
/// # Errors
/// When nobody answers there, or not in time, or not in words that are understood.
pub async fn call<T: Serialize>(path: &Path, request: &T, wait: Duration) -> Result<Answer, Error> {
    let connected = timeout(CONNECT, UnixStream::connect(path)).await;
    let stream = connected
        .map_err(|_| Error::Deadline { waited: CONNECT })?
        .map_err(|source| Error::Connect { path: path.to_owned(), source })?;
    let mut lines = Lines::new(stream);
    lines.send(request).await?;
    lines.receive(wait).await?.ok_or(Error::Closed)
}
