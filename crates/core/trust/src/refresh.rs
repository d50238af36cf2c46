//! The order in which a client fetches metadata (TUF 1.0.33 §5.3 to §5.6), without fetching any.
//!
//! Owns: which file comes next, how long it may be, what an absent file means, and [`Current`], the proof
//! that the end was reached. Leaves to others: moving the bytes. A refused file changes nothing: the same
//! request stands, and whoever fetches may ask elsewhere or give up.

use alloc::{format, string::String};

use evenkeel_units::{ByteCount, WallTime};

use crate::{
    FileMeta, RoleName, TargetName, Targets, TrustError, TrustedSet, Verified, VerifiedTarget, limits,
};

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name below the server's metadata folder, such as `3.root.json`.
    pub name: String,
    /// The most bytes it may have: read no more than one byte beyond, and hand over what came.
    pub limit: ByteCount,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Fetch this file, then call [`Refresh::on_bytes`] or [`Refresh::on_missing`].
    Fetch(Request),
    /// Everything is accepted: call [`Refresh::finish`].
    Done,
}

/// One refresh of the trusted metadata, against one time.
#[derive(Debug, Clone)]
pub struct Refresh {
    trusted: TrustedSet,
    now: WallTime,
    rotations: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Role(RoleName),
    Done,
}

impl Refresh {
    /// Starts from what is trusted; `now` stays the same throughout (TUF 1.0.33 §5.1).
    #[must_use]
    pub const fn start(trusted: TrustedSet, now: WallTime) -> Self {
        Self { trusted, now, rotations: 0, stage: Stage::Role(RoleName::Root) }
    }

    /// What to do next.
    #[must_use]
    pub fn step(&self) -> Step {
        let Stage::Role(role) = self.stage else { return Step::Done };
        Step::Fetch(match role {
            // §5.3.2, §5.3.3
            RoleName::Root => {
                let name = format!("{}.root.json", self.trusted.root().header.version + 1);
                Request { name, limit: limits::ROOT }
            }
            // §5.4.1
            RoleName::Timestamp => Request { name: role.file(), limit: limits::TIMESTAMP },
            // §5.5.1, §5.6.1
            RoleName::Snapshot | RoleName::Targets => self.listed_request(role),
        })
    }

    fn listed_request(&self, role: RoleName) -> Request {
        let meta = self.listed(role);
        let version = meta.map(|meta| meta.version).filter(|_| self.trusted.root().consistent_snapshot);
        let name = version.map_or_else(|| role.file(), |version| format!("{version}.{}", role.file()));
        let length = meta.and_then(|meta| meta.length).unwrap_or(role.limit());
        Request { name, limit: length.min(role.limit()) }
    }

    /// What the list above `role` says about its file.
    fn listed(&self, role: RoleName) -> Option<FileMeta> {
        match role {
            RoleName::Root | RoleName::Timestamp => None,
            RoleName::Snapshot => self.trusted.timestamp().map(|timestamp| timestamp.snapshot),
            RoleName::Targets => self.trusted.snapshot().and_then(|snapshot| snapshot.targets().ok()),
        }
    }

    /// Takes the bytes of the file that [`Refresh::step`] asked for. A caller may store
    /// [`Refresh::trusted`] after each.
    ///
    /// # Errors
    /// The file is not acceptable and changed nothing, or the root that the chain ends with is expired.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let (Stage::Role(role), Step::Fetch(request)) = (self.stage, self.step()) else { return Ok(()) };
        if bytes.len() as u64 > request.limit.0 {
            return Err(TrustError::TooLong { role, limit: request.limit });
        }
        match role {
            RoleName::Root => {
                self.trusted.update_root(bytes)?;
                self.rotations += 1;
                // §5.3.3: beyond the limit the chain ends here for this time.
                if self.rotations >= limits::ROOT_ROTATIONS { self.leave_root() } else { Ok(()) }
            }
            RoleName::Timestamp => {
                self.trusted.update_timestamp(bytes, self.now)?;
                self.enter(RoleName::Snapshot);
                Ok(())
            }
            RoleName::Snapshot => {
                self.trusted.update_snapshot(bytes, self.now)?;
                self.enter(RoleName::Targets);
                Ok(())
            }
            RoleName::Targets => {
                self.trusted.update_targets(bytes, self.now)?;
                self.stage = Stage::Done;
                Ok(())
            }
        }
    }

    /// Takes the news that the server has no such file. For a root that is the end of the chain.
    ///
    /// # Errors
    /// The file has to exist, or the trusted root is expired.
    pub fn on_missing(&mut self) -> Result<(), TrustError> {
        match (self.stage, self.step()) {
            (Stage::Role(RoleName::Root), Step::Fetch(_)) => self.leave_root(),
            (_, Step::Fetch(Request { name, .. })) => Err(TrustError::Missing { file: name }),
            (_, Step::Done) => Ok(()),
        }
    }

    /// §5.3.10: the newest root must not be expired; those on the way to it may be.
    fn leave_root(&mut self) -> Result<(), TrustError> {
        self.trusted.root().check_unexpired(self.now)?;
        self.stage = Stage::Role(RoleName::Timestamp);
        Ok(())
    }

    /// Goes on to a listed role, and past it if the file that is listed is already here (§5.5, §5.6).
    fn enter(&mut self, role: RoleName) {
        self.stage = Stage::Role(role);
        let here = match role {
            RoleName::Root | RoleName::Timestamp => None,
            RoleName::Snapshot => self.trusted.snapshot().map(|file| file.bytes().to_vec()),
            RoleName::Targets => self.trusted.targets().map(|file| file.bytes().to_vec()),
        };
        // Judged like bytes from the server; what is refused is simply not the listed one, and gets fetched.
        let _ = here.map(|bytes| self.on_bytes(&bytes));
    }

    /// What is trusted by now: to be stored whenever it changed, also after an error.
    #[must_use]
    pub const fn trusted(&self) -> &TrustedSet {
        &self.trusted
    }

    /// The end of a refresh that is [`Step::Done`]; before that there is none.
    #[must_use]
    pub fn finish(self) -> Option<Current> {
        match self.stage {
            Stage::Done => Some(Current { trusted: self.trusted, as_of: self.now }),
            Stage::Role(_) => None,
        }
    }
}

/// The proof that a refresh reached its end: the whole chain is accepted, and nothing of it was expired at
/// one time. Only [`Refresh::finish`] makes it.
#[derive(Debug, Clone)]
pub struct Current {
    trusted: TrustedSet,
    as_of: WallTime,
}

impl Current {
    /// What is trusted: to be stored, and to start the next refresh from.
    #[must_use]
    pub const fn trusted(&self) -> &TrustedSet {
        &self.trusted
    }

    /// The time at which nothing was expired.
    #[must_use]
    pub const fn as_of(&self) -> WallTime {
        self.as_of
    }

    /// The newest targets.
    ///
    /// # Panics
    /// Never: a finished refresh has accepted targets.
    #[must_use]
    pub const fn targets(&self) -> &Verified<Targets> {
        self.trusted.targets().expect("a finished refresh has accepted targets")
    }

    /// The target called `name` (TUF 1.0.33 §5.7).
    ///
    /// # Errors
    /// None is listed under this name.
    pub fn target(&self, name: &TargetName) -> Result<VerifiedTarget, TrustError> {
        self.targets().target(name)
    }
}
