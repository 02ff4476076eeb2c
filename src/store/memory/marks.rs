//! The table of records of operations that have not ended, or without an answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kept::KeyHashes;
use crate::clock::Timestamp;
use crate::idempotency::{LeaseToken, Record, RecordKey, State, TokenSource};
use crate::store::StoreError;

/// What a record takes with its place in the table.
pub(super) const MARK_BYTES: u64 = 256;

const SHARDS: usize = 64;

/// Records of which none is ever evicted: each stands for an operation that may have been
/// executed, and must not be again.
#[derive(Debug)]
pub(super) struct Marks {
    shards: Box<[Mutex<Shard>]>,
    records: AtomicUsize,
    /// Tokens that nobody outside knows.
    settling: TokenSource,
}

type Shard = HashMap<RecordKey, Record, KeyHashes>;

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            records: AtomicUsize::new(0),
            settling: TokenSource::new(u64::MAX),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &RecordKey, now: Timestamp) -> Option<Record> {
        self.shard(key).get(key).filter(|mark| !mark.is_expired(now)).cloned()
    }

    /// Inserts a record unless one that counts stands there; where none does, `may` is asked under
    /// the table's lock whether to.
    pub(super) fn insert(
        &self,
        key: &RecordKey,
        next: &Record,
        now: Timestamp,
        may: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        match self.shard(key).entry(*key) {
            Entry::Occupied(mut mark) if mark.get().is_expired(now) => {
                mark.insert(next.clone());
                Ok(true)
            }
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(vacant) => {
                let may = may()?;
                if may {
                    vacant.insert(next.clone());
                    self.records.fetch_add(1, Ordering::Relaxed);
                }
                Ok(may)
            }
        }
    }

    /// Replaces or removes the record that shows the token; false if there is none.
    pub(super) fn replace(&self, key: &RecordKey, token: LeaseToken, next: Option<Record>) -> bool {
        let mut shard = self.shard(key);
        let Entry::Occupied(mut mark) = shard.entry(*key) else { return false };
        if mark.get().token != token {
            return false;
        }
        match next {
            Some(next) => {
                mark.insert(next);
            }
            None => {
                mark.remove();
                self.records.fetch_sub(1, Ordering::Relaxed);
            }
        }
        true
    }

    /// Makes the record that shows the token one in flight that nobody else can change, and
    /// returns its new token.
    pub(super) fn begin_settling(&self, key: &RecordKey, token: LeaseToken) -> Option<LeaseToken> {
        let mut shard = self.shard(key);
        let mark = shard.get_mut(key).filter(|mark| mark.token == token)?;
        mark.token = self.settling.next();
        mark.state = State::InFlight { lease_until: Timestamp::MAX };
        Some(mark.token)
    }

    /// Drops what no longer counts.
    pub(super) fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, mark| !mark.is_expired(now));
            self.records.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    fn shard(&self, key: &RecordKey) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(key.as_bytes()[31]) % SHARDS])
    }
}

/// A panic elsewhere leaves a map that is whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
