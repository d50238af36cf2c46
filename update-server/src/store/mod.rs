//! Storage: what the server knows, as keys and values in tables.
//!
//! Owns: the trait that the rest of the server writes through, and its embedded form, a journal with a sled
//! index. Leaves to others: what the values mean.
//!
//! Invariant (I7): a commit that returned is there after kill -9 and loss of power, whole; one that did not
//! return is there whole or not at all.

mod embedded;
mod journal;

pub use embedded::Embedded;
pub use journal::JournalError;
pub(crate) use journal::sync_folder_of;

/// What a key belongs to. The numbers are on disk: they are only added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// Devices, by identity.
    Device = 1,
    /// Enrolment tokens, by the SHA-256 of the token.
    Token = 2,
    /// Reports, by device and their number, in the order of their arrival.
    Report = 3,
    /// Rollouts without their members, by number.
    Rollout = 4,
    /// Members of rollouts, by rollout and device.
    Member = 5,
}

/// One change: a value put, or with none, taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Changes that become durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
}

impl Batch {
    /// Puts a value.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { table, key, value: Some(value) });
    }

    /// Takes a value away.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push(Change { table, key, value: None });
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Why storage failed. All of these are the machine's fault, none the client's.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index.
    #[error(
        "the index {path} failed; stop the server and remove that folder, it is rebuilt from the journal"
    )]
    Index {
        /// Its folder.
        path: String,
        /// What sled says.
        source: sled::Error,
    },
    /// The folder itself.
    #[error("{path} cannot be used as the data directory")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another server has it.
    #[error("{path} is in use by another update server; stop that one, or give this one its own --data-dir")]
    Locked {
        /// The folder.
        path: String,
    },
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Somewhere to keep things.
pub trait Store: Send {
    /// Makes all of `batch` durable, or nothing of it.
    ///
    /// # Errors
    /// When it is not known to be durable. The caller then acknowledges nothing.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// The entries of a table whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// When they cannot be read.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;
}
