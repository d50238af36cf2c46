//! Clients that come back to their server by a cookie.
//!
//! Owns: where the secrets are, and what a request and its answer have to do with the cookie. Leaves to others: the cookie
//! itself (`core/route`), and which server takes the request when the client's own cannot (`core/balance`). Invariants: a
//! pool without such cookies looks at nothing here; servers never see the cookie; whoever answers is whom the client comes
//! back to.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use evenkeel_balance::{Key, ServerIndex};
use evenkeel_config::balancer::Config;
use evenkeel_http1::Edits;
use evenkeel_route::{
    Left, MAX_STICKY_SECRET, MAX_STICKY_SECRETS, Renew, Scheme, Shown, StickyCookies, StickySecretError,
    StickySecrets,
};
use evenkeel_units::WallTime;

use super::{PoolState, key::Asked};
use crate::{check::Wrong, date, plan::with_causes, shared::Stuck, tls::files};

/// Largest file of secrets: twice what they may have, for comments.
const MAX_FILE_BYTES: u64 = (2 * MAX_STICKY_SECRET * MAX_STICKY_SECRETS) as u64;

/// Why the cookies of a pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StickyError {
    /// The file of secrets cannot be read.
    #[error(
        "pool `{pool}`: the secrets `{path}` cannot be read; is the file there, and may this user read it?"
    )]
    Read {
        /// The pool.
        pool: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It has none that can be used.
    #[error("pool `{pool}`: the file of secrets `{path}`")]
    Secrets {
        /// The pool.
        pool: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: StickySecretError,
    },
    /// There is no secret to begin with.
    #[error("the system gives no random bytes; is /dev/urandom there?")]
    Random(#[source] getrandom::Error),
}

/// The cookies of each pool of a configuration.
#[derive(Debug)]
pub(crate) struct PlannedCookies {
    /// What signs where no file is named; the same through reloads.
    own: Option<StickySecrets>,
    pub(crate) pools: Vec<Option<Arc<StickyCookies>>>,
}

impl PlannedCookies {
    /// Reads the secrets that `config`, which lies in `folder`, names.
    pub(crate) fn new(config: &Config, folder: &Path, before: Option<&Self>) -> Result<Self, StickyError> {
        let mut own = before.and_then(|before| before.own.clone());
        let mut pools = Vec::new();
        for pool in config.pools() {
            let Some(settings) = &pool.sticky else {
                pools.push(None);
                continue;
            };
            let name = pool.name.as_str();
            let secrets = match (&settings.secrets, &own) {
                (Some(file), _) => read(name, files::path(folder, file))?,
                (None, Some(own)) => own.clone(),
                (None, None) => own.insert(random()?).clone(),
            };
            let servers: Vec<_> = pool.servers.iter().map(|server| server.name.as_str()).collect();
            pools.push(Some(Arc::new(StickyCookies::new(settings, &secrets, name, &servers))));
        }
        Ok(Self { own, pools })
    }
}

/// The files of secrets that are of no use.
pub(crate) fn wrong_files(config: &Config, folder: &Path) -> Vec<Wrong> {
    let wrong = |pool: &evenkeel_config::balancer::Pool| {
        let path = files::path(folder, pool.sticky.as_ref()?.secrets.as_ref()?);
        let error = read(pool.name.as_str(), path.clone()).err()?;
        Some(Wrong { table: format!("pool[{}].sticky.", pool.name), path, sentence: with_causes(&error) })
    };
    config.pools().iter().filter_map(wrong).collect()
}

fn random() -> Result<StickySecrets, StickyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(StickyError::Random)?;
    Ok(StickySecrets::random(&secret))
}

fn read(pool: &str, path: PathBuf) -> Result<StickySecrets, StickyError> {
    let mut text = String::new();
    let file = std::fs::File::open(&path);
    let read = file.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text));
    let pool = pool.to_owned();
    match read {
        Err(source) => Err(StickyError::Read { pool, path, source }),
        Ok(length) if length as u64 > MAX_FILE_BYTES => {
            Err(StickyError::Secrets { pool, path, source: StickySecretError::TooMany })
        }
        Ok(_) => StickySecrets::parse(&text).map_err(|source| StickyError::Secrets { pool, path, source }),
    }
}

/// A request to a pool with cookies.
pub(crate) struct Bound {
    cookies: Arc<StickyCookies>,
    shown: Shown,
    now: WallTime,
    scheme: Scheme,
    /// The line that the client gets with the answer; empty when its cookie holds.
    line: Vec<u8>,
}

impl Bound {
    /// The line that the client gets with the answer; empty when its cookie holds.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// `server` is about to answer.
    fn goes_to(&mut self, server: ServerIndex, pool: &PoolState) {
        self.line.clear();
        let current = pool.cookies.borrow();
        let Some(current) = current.as_ref() else { return };
        // After a reload a place may be another server's.
        let same = Arc::ptr_eq(current, &self.cookies);
        let (how, since) = match self.shown {
            Shown::Server(known) if same && known.server == server.position() => {
                (Stuck::Returned, (known.renew == Renew::Yes).then_some(known.since))
            }
            Shown::Server(_) => (Stuck::Moved, Some(self.now)),
            Shown::Nobody => (Stuck::Unknown, Some(self.now)),
            Shown::Nothing => (Stuck::New, Some(self.now)),
        };
        pool.tally(server).stuck(how);
        let Some(since) = since else { return };
        current.write(server.position(), (since, self.now), self.scheme, &mut self.line);
    }

    /// `edits` and what takes the cookie out of the request; `names` and `lines` are room for both.
    pub(crate) fn edits<'a>(
        &self,
        edits: Option<Edits<'a>>,
        asked: &impl Asked,
        (names, lines): (&'a mut Vec<&'a [u8]>, &'a mut Vec<u8>),
    ) -> Option<Edits<'a>> {
        let removed =
            |edits: &Edits<'_>| edits.remove.iter().any(|name| name.eq_ignore_ascii_case(b"cookie"));
        if self.shown == Shown::Nothing || edits.as_ref().is_some_and(removed) {
            return edits;
        }
        let edits = edits.unwrap_or_default();
        names.extend_from_slice(edits.remove);
        names.push(b"cookie");
        for value in cookies(asked) {
            let before = lines.len();
            lines.extend_from_slice(b"Cookie: ");
            match self.cookies.strip(value, lines) {
                Left::Something => lines.extend_from_slice(b"\r\n"),
                Left::Nothing => lines.truncate(before),
            }
        }
        lines.extend_from_slice(edits.add);
        Some(Edits { remove: names, add: lines, ..edits })
    }
}

fn cookies(asked: &impl Asked) -> impl Iterator<Item = &[u8]> {
    asked.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie")).map(|(_, value)| value)
}

impl PoolState {
    /// Takes over the cookies of a plan.
    pub(crate) fn set_cookies(&self, cookies: Option<&Arc<StickyCookies>>) {
        *self.cookies.borrow_mut() = cookies.cloned();
    }

    /// `key` with the server that the request's cookie leads to, and what becomes of the cookie.
    pub(crate) fn bind(&self, key: Key, asked: &impl Asked, scheme: Scheme) -> (Key, Option<Box<Bound>>) {
        let Some(known) = self.cookies.borrow().as_ref().map(Arc::clone) else { return (key, None) };
        let now = date::wall_time();
        let shown = known.find(cookies(asked), now);
        let server = match shown {
            Shown::Server(known) => self.balance.borrow().indexes().nth(known.server),
            Shown::Nobody | Shown::Nothing => None,
        };
        let key = server.map_or(key, |server| key.wanting(server));
        (key, Some(Box::new(Bound { cookies: known, shown, now, scheme, line: Vec::new() })))
    }

    /// Notes that `server` is about to answer a request.
    pub(crate) fn stick(&self, bound: Option<&mut Box<Bound>>, server: ServerIndex) {
        if let Some(bound) = bound {
            bound.goes_to(server, self);
        }
    }
}
