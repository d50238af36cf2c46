//! The cookie by which a client comes back to its server.
//!
//! Owns: its value, making and recognising it, and taking it out of what servers see. Leaves to others: which server takes
//! the request when that one cannot, and where secrets come from. Invariants: only who has a secret makes a value that is
//! believed (HMAC-SHA-256, RFC 2104, its first 128 bits, compared in constant time); a value says nothing of servers to who
//! has none, not even how many there are.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use evenkeel_config::balancer::{SameSite, Scripts, Secure, Sticky};
use evenkeel_units::WallTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Scheme;

/// Bytes by which a value names its server: of 1,024 servers two have the same in one of 10^13 pools.
const TAG_BYTES: usize = 8;

/// Bytes of a time: whole seconds since 1970, until 2106.
const TIME_BYTES: usize = 4;

/// Bytes of the signature: 2^128 guesses.
const SIGNATURE_BYTES: usize = 16;

/// What is signed: the server, since when the client has it, and when the client was seen.
const SIGNED_BYTES: usize = TAG_BYTES + 2 * TIME_BYTES;

/// Bytes of a value, which has 43 characters.
const VALUE_BYTES: usize = SIGNED_BYTES + SIGNATURE_BYTES;

/// How far another box's clock may be ahead: what Kerberos allows (RFC 4120 §8.2).
const MAX_SKEW_SECONDS: u64 = 300;

/// A value is renewed when this part of the longest pause is over, so that busy clients are not told each time.
const RENEWALS_PER_IDLE: u32 = 4;

/// Most secrets: the new one, the old one, and a few that were forgotten.
pub const MAX_STICKY_SECRETS: usize = 8;

/// Shortest secret, in characters: 128 bits in hexadecimal.
pub const MIN_STICKY_SECRET: usize = 32;

/// Longest secret, in characters.
pub const MAX_STICKY_SECRET: usize = 1024;

/// Why a text has no secrets that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StickySecretError {
    /// It has none.
    #[error("has no secret; `openssl rand -hex 32` makes one")]
    None,
    /// It has too many.
    #[error("has more than {MAX_STICKY_SECRETS} secrets; remove the oldest, which stand last")]
    TooMany,
    /// One is too short or too long, or not in printable ASCII.
    #[error(
        "line {line} is no secret of {MIN_STICKY_SECRET} to {MAX_STICKY_SECRET} printable characters; `openssl rand -hex 32` makes one"
    )]
    Unfit {
        /// Its number, from 1.
        line: usize,
    },
}

/// By what values are signed: the first secret makes them, all recognise them.
#[derive(Clone)]
pub struct StickySecrets(Vec<Hmac<Sha256>>);

impl fmt::Debug for StickySecrets {
    /// Shows how many they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StickySecrets({})", self.0.len())
    }
}

impl StickySecrets {
    /// One secret that nobody else knows.
    #[must_use]
    pub fn random(secret: &[u8; 32]) -> Self {
        Self(Vec::from([keyed(secret)]))
    }

    /// Secrets from a text, one on a line; empty lines and those that begin with `#` are left out.
    ///
    /// # Errors
    /// When there are none, too many, or one that anybody could guess or that is no text.
    pub fn parse(text: &str) -> Result<Self, StickySecretError> {
        let mut secrets = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fits = (MIN_STICKY_SECRET..=MAX_STICKY_SECRET).contains(&line.len());
            if !fits || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(StickySecretError::Unfit { line: at + 1 });
            }
            secrets.push(keyed(line.as_bytes()));
        }
        match secrets.len() {
            0 => Err(StickySecretError::None),
            1..=MAX_STICKY_SECRETS => Ok(Self(secrets)),
            _ => Err(StickySecretError::TooMany),
        }
    }
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}

/// A secret as it is used for one pool.
#[derive(Clone)]
struct Signer {
    /// Has taken in the pool's name.
    hmac: Hmac<Sha256>,
    /// For each server, in the pool's order, how values name it.
    tags: Vec<[u8; TAG_BYTES]>,
    /// The places of servers, in the order of their tags.
    sorted: Vec<usize>,
}

impl Signer {
    fn new(secret: &Hmac<Sha256>, pool: &str, servers: &[&str]) -> Self {
        // Names have no NUL, so nothing else that is signed is the same text.
        let after = |what: &[u8]| {
            let mut hmac = secret.clone();
            for part in [b"evenkeel sticky ", what, b"\0", pool.as_bytes(), b"\0"] {
                hmac.update(part);
            }
            hmac
        };
        let name = after(b"server");
        let tags: Vec<_> = servers.iter().map(|server| first(name.clone().chain_update(server))).collect();
        let mut sorted: Vec<_> = (0..tags.len()).collect();
        sorted.sort_unstable_by_key(|&place| tags[place]);
        Self { hmac: after(b"value"), tags, sorted }
    }

    fn server(&self, tag: &[u8]) -> Option<usize> {
        let at = self.sorted.binary_search_by(|&place| self.tags[place][..].cmp(tag)).ok()?;
        self.sorted.get(at).copied()
    }
}

/// The first bytes of what a MAC comes to.
fn first<const N: usize>(hmac: Hmac<Sha256>) -> [u8; N] {
    let mac = hmac.finalize().into_bytes();
    let mut bytes = [0; N];
    bytes.copy_from_slice(&mac[..N]);
    bytes
}

/// The cookies of a pool.
#[derive(Clone)]
pub struct StickyCookies {
    settings: Sticky,
    signers: Vec<Signer>,
}

impl fmt::Debug for StickyCookies {
    /// Shows nothing that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyCookies").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a request shows of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A cookie that is not believed, is too old, or names a server that is no more.
    Nobody,
    /// A cookie that leads to a server.
    Server(Known),
}

/// A client that has been here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The place of its server in the pool.
    pub server: usize,
    /// Since when it has that server.
    pub since: WallTime,
    /// Whether it must be told anew, though nothing changes, for its cookie to hold.
    pub renew: Renew,
}

/// Whether a cookie is given anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renew {
    /// Yes: much of the longest pause is over, or another secret signs now.
    Yes,
    /// No.
    No,
}

impl StickyCookies {
    /// The cookies for a pool and its servers, given by name in their order.
    #[must_use]
    pub fn new(settings: &Sticky, secrets: &StickySecrets, pool: &str, servers: &[&str]) -> Self {
        let signers = secrets.0.iter().map(|secret| Signer::new(secret, pool, servers)).collect();
        Self { settings: settings.clone(), signers }
    }

    /// What the values of a request's Cookie fields show (RFC 6265 §4.2.1); of several cookies the first that leads to a
    /// server counts.
    #[must_use]
    pub fn find<'v>(&self, fields: impl Iterator<Item = &'v [u8]>, now: WallTime) -> Shown {
        let mut shown = Shown::Nothing;
        for value in fields.flat_map(pairs).filter_map(|pair| self.value(pair)) {
            match self.known(value, now) {
                Some(known) => return Shown::Server(known),
                None => shown = Shown::Nobody,
            }
        }
        shown
    }

    /// The value of a pair of our name.
    fn value<'v>(&self, pair: &'v [u8]) -> Option<&'v [u8]> {
        pair.strip_prefix(self.settings.cookie.as_bytes())?.strip_prefix(b"=")
    }

    fn known(&self, text: &[u8], now: WallTime) -> Option<Known> {
        let mut bytes = [0; VALUE_BYTES + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (signed, signature) = bytes[..length].split_at_checked(SIGNED_BYTES)?;
        if signature.len() != SIGNATURE_BYTES {
            return None;
        }
        let believes = |signer: &Signer| {
            signer.hmac.clone().chain_update(signed).verify_truncated_left(signature).is_ok()
        };
        let at = self.signers.iter().position(believes)?;
        let (tag, times) = signed.split_at(TAG_BYTES);
        let (since, seen) = times.split_at(TIME_BYTES);
        let server = self.signers[at].server(tag)?;
        let (since, seen) = (time(since), time(seen));
        let old = |max: Option<Duration>, from| max.is_some_and(|max| age(from, now) >= max);
        if is_ahead(since, now) || is_ahead(seen, now) {
            return None;
        }
        if old(self.settings.max_life, since) || old(self.settings.max_idle, seen) {
            return None;
        }
        let due = self.settings.max_idle.map(|idle| idle / RENEWALS_PER_IDLE);
        let renew = if at > 0 || old(due, seen) { Renew::Yes } else { Renew::No };
        Some(Known { server, since, renew })
    }

    /// Writes a Set-Cookie line, with its end, for a client that has the server at the place `server` since `since`.
    ///
    /// Nothing is written for a place that the pool does not have.
    pub fn write(
        &self,
        server: usize,
        (since, now): (WallTime, WallTime),
        scheme: Scheme,
        out: &mut Vec<u8>,
    ) {
        let Some(value) = self.made(server, since, now) else { return };
        let settings = &self.settings;
        let mut line = format!("Set-Cookie: {}={value}; Path={}", settings.cookie, settings.path);
        if let Some(domain) = &settings.domain {
            line.push_str("; Domain=");
            line.push_str(domain.as_str());
        }
        let left = settings.max_life.map(|life| life.saturating_sub(age(since, now)));
        if let Some(left) = left.into_iter().chain(settings.max_idle).min() {
            line.push_str(&format!("; Max-Age={}", left.as_secs()));
        }
        let secure = match (settings.secure, scheme) {
            (Secure::Always, _) | (Secure::Auto, Scheme::Https) => true,
            (Secure::Never, _) | (Secure::Auto, Scheme::Http) => false,
        };
        line.push_str(if secure { "; Secure" } else { "" });
        line.push_str(match settings.scripts {
            Scripts::Excluded => "; HttpOnly",
            Scripts::Allowed => "",
        });
        line.push_str(match settings.same_site {
            SameSite::Lax => "; SameSite=Lax\r\n",
            SameSite::Strict => "; SameSite=Strict\r\n",
            SameSite::None => "; SameSite=None\r\n",
        });
        out.extend_from_slice(line.as_bytes());
    }

    fn made(&self, server: usize, since: WallTime, now: WallTime) -> Option<String> {
        let signer = self.signers.first()?;
        let mut bytes = [0; VALUE_BYTES];
        bytes[..TAG_BYTES].copy_from_slice(signer.tags.get(server)?);
        bytes[TAG_BYTES..][..TIME_BYTES].copy_from_slice(&seconds(since).to_be_bytes());
        bytes[TAG_BYTES + TIME_BYTES..][..TIME_BYTES].copy_from_slice(&seconds(now).to_be_bytes());
        let signature = first::<SIGNATURE_BYTES>(signer.hmac.clone().chain_update(&bytes[..SIGNED_BYTES]));
        bytes[SIGNED_BYTES..].copy_from_slice(&signature);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Writes a Cookie field's value without our cookie; whether others are left.
    pub fn strip(&self, value: &[u8], out: &mut Vec<u8>) -> Left {
        let mut left = Left::Nothing;
        for pair in pairs(value).filter(|pair| !pair.is_empty() && self.value(pair).is_none()) {
            if left == Left::Something {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(pair);
            left = Left::Something;
        }
        left
    }
}

/// Whether other cookies are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// There are.
    Something,
    /// There are none.
    Nothing,
}

fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
}

fn seconds(time: WallTime) -> u32 {
    u32::try_from(time.unix_seconds()).unwrap_or(u32::MAX)
}

fn time(bytes: &[u8]) -> WallTime {
    let seconds = bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    WallTime::from_unix_seconds(seconds)
}

fn age(from: WallTime, now: WallTime) -> Duration {
    Duration::from_secs(now.unix_seconds().saturating_sub(from.unix_seconds()))
}

/// Whether a time lies further in the future than clocks that are set differ.
const fn is_ahead(time: WallTime, now: WallTime) -> bool {
    time.unix_seconds() > now.unix_seconds() + MAX_SKEW_SECONDS
}
