//! The table of claims that this process holds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::drawer::Drawer;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey};
use crate::store::kept::KeyHashes;

/// A claim, and where it stands on disk.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) record: Record,
    pub(super) drawer: Arc<Drawer>,
    /// The bytes that it takes there.
    pub(super) bytes: u64,
}

/// Claims that this process holds.
///
/// A claim is in the table from before it is written until after what ends it was written, so that
/// one on disk which is not in the table is that of a process which is gone.
#[derive(Debug, Default)]
pub(super) struct Claims(RwLock<Table>);

type Table = HashMap<RecordKey, Claim, KeyHashes>;

impl Claims {
    /// The claim, if it counts.
    pub(super) fn get(&self, key: &RecordKey, now: Timestamp) -> Option<Record> {
        let table = self.read();
        table.get(key).map(|claim| &claim.record).filter(|record| !record.is_expired(now)).cloned()
    }

    /// The claim, whether it counts or not.
    pub(super) fn find(&self, key: &RecordKey) -> Option<Claim> {
        self.read().get(key).cloned()
    }

    pub(super) fn insert(&self, key: RecordKey, claim: Claim) {
        self.write().insert(key, claim);
    }

    pub(super) fn remove(&self, key: &RecordKey) {
        self.write().remove(key);
    }

    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// Drops what no longer counts.
    pub(super) fn sweep(&self, now: Timestamp) {
        self.write().retain(|_, claim| !claim.record.is_expired(now));
    }

    /// A panic elsewhere leaves a map that is whole.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
