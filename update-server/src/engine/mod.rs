//! What the server knows and does, without HTTP: devices, enrolment tokens, rollouts.
//!
//! Owns: the rules, and keeping memory and storage alike: every change is committed before memory shows it, so
//! nothing is answered that a crash could take back (I7). Leaves to others: HTTP, clocks and entropy, which
//! arrive as arguments; what to start next, which the planner of `core/rollout` alone decides.

mod device;
mod error;
mod rollout;
mod view;

use std::collections::BTreeMap;

use evenkeel_protocol::{Orders, ReleaseSummary};
use evenkeel_rollout::{Member, Rollout, RolloutId};
use evenkeel_units::{DeviceId, Digest, WallTime};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

pub use device::{ENROLMENT_VALIDITY, REPORTS_KEPT};
pub use error::EngineError;

use self::device::{DeviceRecord, TokenRecord};
use crate::{
    nonces::NonceFile,
    store::{Batch, Store, Table},
};

/// The server's knowledge. One at a time may change it.
pub struct Engine {
    store: Box<dyn Store>,
    devices: BTreeMap<DeviceId, DeviceRecord>,
    tokens: BTreeMap<Digest, TokenRecord>,
    rollouts: BTreeMap<RolloutId, Rollout>,
    releases: Vec<ReleaseSummary>,
    nonces: NonceFile,
    listening_since: WallTime,
    orders: BTreeMap<DeviceId, watch::Sender<Orders>>,
}

impl Engine {
    /// Reads back everything that was acknowledged.
    ///
    /// # Errors
    /// When storage cannot be read or holds what this version does not understand.
    pub fn open(store: Box<dyn Store>, nonces: NonceFile, now: WallTime) -> Result<Self, EngineError> {
        let mut engine = Self {
            devices: BTreeMap::new(),
            tokens: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            releases: Vec::new(),
            nonces,
            listening_since: now,
            orders: BTreeMap::new(),
            store,
        };
        for (_, value) in engine.store.scan(Table::Device, &[])? {
            let record: DeviceRecord = from_stored(&value)?;
            engine.devices.insert(record.public_key.device(), record);
        }
        for (key, value) in engine.store.scan(Table::Token, &[])? {
            let digest: [u8; 32] = key.try_into().map_err(|_| EngineError::Stored("a token's key".into()))?;
            engine.tokens.insert(Digest::from_bytes(digest), from_stored(&value)?);
        }
        for (_, value) in engine.store.scan(Table::Rollout, &[])? {
            let mut rollout: Rollout = from_stored(&value)?;
            for (key, value) in engine.store.scan(Table::Member, &rollout_key(rollout.id))? {
                let device = std::str::from_utf8(&key[4..]).ok().and_then(|text| text.parse().ok());
                let device = device.ok_or_else(|| EngineError::Stored("a member's key".into()))?;
                rollout.members.insert(device, from_stored::<Member>(&value)?);
            }
            engine.rollouts.insert(rollout.id, rollout);
        }
        Ok(engine)
    }

    /// Takes note of the releases that may be rolled out, newest first.
    pub fn set_releases(&mut self, releases: Vec<ReleaseSummary>) {
        self.releases = releases;
        self.tell_orders();
    }

    /// The published releases, newest first.
    #[must_use]
    pub fn releases(&self) -> &[ReleaseSummary] {
        &self.releases
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), EngineError> {
        if batch.is_empty() { Ok(()) } else { Ok(self.store.commit(batch)?) }
    }
}

fn device_key(device: DeviceId) -> Vec<u8> {
    device.to_string().into_bytes()
}

fn rollout_key(rollout: RolloutId) -> Vec<u8> {
    rollout.0.to_be_bytes().to_vec()
}

fn member_key(rollout: RolloutId, device: DeviceId) -> Vec<u8> {
    [rollout_key(rollout), device_key(device)].concat()
}

fn report_key(device: DeviceId, number: u64) -> Vec<u8> {
    [device_key(device), number.to_be_bytes().to_vec()].concat()
}

fn to_stored(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|error| EngineError::Stored(error.to_string()))
}

fn from_stored<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Stored(error.to_string()))
}
