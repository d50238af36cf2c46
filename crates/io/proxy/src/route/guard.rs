//! Who may use a route: names and passwords (RFC 7617).
//!
//! A password's hash is slow by design, 50 ms or more, so it is computed on one thread for all workers, with a bounded
//! queue before it, and what it found good is remembered for a while under a keyed hash. Invariants: a worker never computes
//! a slow hash; how long a refusal takes does not tell whether the user exists; nothing here holds a password longer than
//! its check takes.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use evenkeel_config::balancer::route::{BasicAuth, MAX_USERS, PasswordHash, is_user};
use evenkeel_route::Credentials;
use evenkeel_units::{Digest, Hasher, Instant};
use sha_crypt::PasswordVerifier as _;
use tokio::sync::oneshot;

/// How long a good password is remembered on a worker: a user who is taken from the file by a reload is out at once, for
/// a reload forgets all.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Most that are remembered on a worker for each route, 40 bytes each.
const MAX_REMEMBERED: usize = 4096;

/// Checks that may wait: at 50 ms each the last one waits 3 s, as long as a person does.
const QUEUE: usize = 64;

/// Largest file of users: [`MAX_USERS`] lines of 64 bytes of name and 128 of hash.
const MAX_FILE_BYTES: u64 = MAX_USERS as u64 * 200;

/// What is checked against when there is no such user: nobody's password, at the usual cost.
const NOBODY: &str = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// Users of a route.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) realm: String,
    users: HashMap<Vec<u8>, PasswordHash>,
    secret: [u8; 32],
    verifier: Verifier,
}

/// Why the users of a file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot be read; is it there, and may this user read it?")]
    Read(#[source] io::Error),
    /// It is too large.
    #[error("is larger than {MAX_FILE_BYTES} bytes, or has more than {MAX_USERS} users")]
    TooLarge,
    /// A line is not `user:hash`.
    #[error("line {line} is not `user:hash` with a hash of bcrypt or SHA-crypt; `htpasswd -B` writes such")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
}

/// What a login came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Granted,
    Refused,
    /// Too many wait to be checked.
    Busy,
}

impl Guard {
    /// The users of a configuration and of the file that it names.
    pub(crate) fn new(told: &BasicAuth, secret: [u8; 32], verifier: Verifier) -> Result<Self, UsersError> {
        Ok(Self { realm: told.realm.clone(), users: users(told)?, secret, verifier })
    }

    /// Whether somebody may pass, by what is remembered or by checking.
    pub(crate) async fn login(&self, known: &Remembered, credentials: &Credentials, now: Instant) -> Login {
        let user = self.users.get(credentials.user());
        let hash = user.map_or(NOBODY, PasswordHash::as_str);
        let key = self.key(hash, credentials);
        if user.is_some() && known.has(&key, now) {
            return Login::Granted;
        }
        let (reply, replied) = oneshot::channel();
        let check = Check { password: credentials.password().to_vec(), hash: hash.to_owned(), reply };
        match self.verifier.0.try_send(check) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Login::Busy,
        }
        let right = replied.await.unwrap_or(false);
        if right && user.is_some() {
            known.add(key, now);
            return Login::Granted;
        }
        Login::Refused
    }

    /// What a good login is remembered by; with the hash in it, so that a new password ends it.
    fn key(&self, hash: &str, credentials: &Credentials) -> Digest {
        let mut hasher = Hasher::new();
        for part in [&self.secret[..], hash.as_bytes(), b"\0", credentials.as_bytes()] {
            hasher.update(part);
        }
        hasher.finish()
    }
}

/// The users of a configuration and of the file that it names.
///
/// # Errors
/// Why those of the file cannot be taken.
pub(super) fn users(told: &BasicAuth) -> Result<HashMap<Vec<u8>, PasswordHash>, UsersError> {
    let own = told.users.iter().map(|(name, hash)| (name.clone().into_bytes(), hash.clone()));
    let mut users = own.collect();
    if let Some(path) = &told.file {
        read_users(path.as_str(), &mut users)?;
    }
    Ok(users)
}

fn read_users(path: &str, users: &mut HashMap<Vec<u8>, PasswordHash>) -> Result<(), UsersError> {
    let mut text = String::new();
    let limit = MAX_FILE_BYTES + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text));
    if read.map_err(UsersError::Read)? as u64 > MAX_FILE_BYTES {
        return Err(UsersError::TooLarge);
    }
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.trim_end().split_once(':').filter(|(name, _)| is_user(name));
        let pair = pair.and_then(|(name, hash)| Some((name, PasswordHash::parse(hash)?)));
        let (name, hash) = pair.ok_or(UsersError::Line { line: index + 1 })?;
        users.insert(name.as_bytes().to_vec(), hash);
    }
    if users.len() > MAX_USERS { Err(UsersError::TooLarge) } else { Ok(()) }
}

/// Good logins of one route on one worker.
#[derive(Debug, Default)]
pub(crate) struct Remembered(RefCell<HashMap<Digest, Instant>>);

impl Remembered {
    fn has(&self, key: &Digest, now: Instant) -> bool {
        self.0.borrow().get(key).is_some_and(|&until| now < until)
    }

    fn add(&self, key: Digest, now: Instant) {
        let mut known = self.0.borrow_mut();
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, until| now < *until);
        }
        if known.len() < MAX_REMEMBERED {
            known.insert(key, now + REMEMBERED);
        }
    }
}

/// A password to be checked.
struct Check {
    password: Vec<u8>,
    hash: String,
    reply: oneshot::Sender<bool>,
}

/// A way to the thread that computes slow hashes; it ends with the last copy.
#[derive(Debug, Clone)]
pub(crate) struct Verifier(SyncSender<Check>);

impl Verifier {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system grants none.
    pub(crate) fn start() -> io::Result<Self> {
        let (checks, incoming) = sync_channel(QUEUE);
        std::thread::Builder::new().name("passwords".into()).spawn(move || verify_all(&incoming))?;
        Ok(Self(checks))
    }
}

fn verify_all(incoming: &Receiver<Check>) {
    while let Ok(Check { password, hash, reply }) = incoming.recv() {
        // Who asked may have gone; then nothing is computed for nobody.
        if !reply.is_closed() {
            let _ = reply.send(is_right(&password, &hash));
        }
    }
}

/// Whether a password has this hash; both libraries compare in constant time.
fn is_right(password: &[u8], hash: &str) -> bool {
    if hash.starts_with("$2") {
        bcrypt::verify(password, hash).unwrap_or(false)
    } else {
        sha_crypt::ShaCrypt::default().verify_password(password, hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_checked_against_each_kind_of_hash() {
        let sha = [
            "$6$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAucjEsL95TW5MDF/7KcC3bcG5NoxZbmB6Lh82fxg8soAZ0",
            "$5$saltstring$sOFRiuqOzKEQCZAIFmMrCbPuMEMUPOi/BmBpBwWMgW3",
        ];
        for hash in sha {
            assert!(PasswordHash::parse(hash).is_some(), "{hash}");
            assert!(is_right(b"open sesame", hash) && !is_right(b"open sesam", hash), "{hash}");
        }
        let hash = bcrypt::hash_with_result("open sesame", 4).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let text = hash.format_for_version(version);
            assert!(PasswordHash::parse(&text).is_some());
            assert!(is_right(b"open sesame", &text) && !is_right(b"open", &text), "{text}");
        }
        assert!(!is_right(b"", NOBODY));
    }
}
