//! One JSON object a line, bounded in length and time.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::Error;

/// Longest message, in bytes.
///
/// The longest configuration has 8 MiB; as JSON each of its line ends and quotes takes a byte more. Twice
/// its length is enough for any that people write.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// Longest that the peer may take to read an answer: it is a local process that waits for it.
const WRITE: Duration = Duration::from_secs(10);

/// A connection that speaks in lines.
#[derive(Debug)]
pub(crate) struct Lines(BufReader<UnixStream>);

impl Lines {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next line's message, `None` when the peer has ended between two lines.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self, wait: Duration) -> Result<Option<T>, Error> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let mut bounded = (&mut self.0).take(limit);
        let read = timeout(wait, bounded.read_until(b'\n', &mut line)).await;
        read.map_err(|_| Error::Deadline { waited: wait })??;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
            Some(_) if line.len() > MAX_LINE_BYTES => Err(Error::TooLong { most: MAX_LINE_BYTES }),
            Some(_) => Err(Error::Closed),
        }
    }

    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), Error> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        if line.len() > MAX_LINE_BYTES {
            return Err(Error::TooLong { most: MAX_LINE_BYTES });
        }
        let written = timeout(WRITE, self.0.get_mut().write_all(&line)).await;
        Ok(written.map_err(|_| Error::Deadline { waited: WRITE })??)
    }
}
