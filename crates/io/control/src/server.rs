//! The daemons' half.
//!
//! Invariant: the socket exists under its name only while it listens, and from the first moment only its
//! owner can connect.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{net::UnixListener, sync::Semaphore};

use crate::{Answer, Error, line::Lines};

/// Longest that a peer may take to send a request: it is a local process that has it ready.
const REQUEST: Duration = Duration::from_secs(10);

/// Most connections that [`Server::serve`] works on at once: an operator, a gate, a status page, and spare.
const MAX_CONNECTIONS: usize = 16;

/// Pause after a failed accept, which is a lack of descriptors and passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening control socket; removed from the file system when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket, so that a successor's is never removed.
    identity: (u64, u64),
}

impl Server {
    /// Listens at `path`; takes the place of a socket at which nobody answers. Needs a tokio runtime.
    ///
    /// # Errors
    /// When somebody answers there, something else stands there, or the folder cannot be written.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        refuse_occupied(path)?;
        let bind = |source| Error::Bind { path: path.to_owned(), source };
        // Made under another name and renamed last: nobody can connect before the mode is set.
        let mut making = path.as_os_str().to_owned();
        making.push("~");
        let making = PathBuf::from(making);
        let listener = listen(&making).map_err(bind)?;
        fs::rename(&making, path).map_err(bind)?;
        let identity = identity(path).map_err(bind)?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// The next connection.
    ///
    /// # Errors
    /// Of accept(2), such as a lack of descriptors; trying again later may help.
    pub async fn accept(&self) -> io::Result<Connection> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Connection(Lines::new(stream)))
    }

    /// Answers requests by `answer` for ever, each connection in a task of its own.
    ///
    /// What is not a request is refused in a sentence; a peer that is too slow is dropped.
    pub async fn serve<R, F>(&self, answer: impl Fn(R) -> F + Send + Sync + 'static)
    where
        R: DeserializeOwned + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let answer = Arc::new(answer);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok(mut connection) = self.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                // A broken connection is its peer's to report.
                let _ = connection.answer_all(&*answer).await;
                drop(permit);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // When it cannot be removed, the next daemon takes its place all the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A peer's connection.
#[derive(Debug)]
pub struct Connection(Lines);

impl Connection {
    /// The next request, `None` when the peer is done.
    ///
    /// # Errors
    /// When it is too long, too slow, cut short or not understood.
    pub async fn receive<R: DeserializeOwned>(&mut self) -> Result<Option<R>, Error> {
        self.0.receive(REQUEST).await
    }

    /// Answers the request received last.
    ///
    /// # Errors
    /// When the peer does not take it.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), Error> {
        self.0.send(answer).await
    }

    /// Answers request after request until the peer is done.
    async fn answer_all<R, F>(&mut self, answer: &impl Fn(R) -> F) -> Result<(), Error>
    where
        R: DeserializeOwned,
        F: Future<Output = Answer>,
    {
        loop {
            match self.receive().await {
                Ok(Some(request)) => self.answer(&answer(request).await).await?,
                Ok(None) => return Ok(()),
                Err(Error::NotUnderstood(why)) => {
                    self.answer(&Answer::refused(format!("control message is not understood: {why}")))
                        .await?;
                }
                Err(error) => {
                    self.answer(&Answer::refused(&error)).await?;
                    return Err(error);
                }
            }
        }
    }
}

/// Refuses a path at which somebody answers, or which is something else than a socket.
fn refuse_occupied(path: &Path) -> Result<(), Error> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Error::NotSocket { path: path.to_owned() });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(Error::InUse { path: path.to_owned() }),
        Err(_) => Ok(()),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
