//! The table of records of operations that have not ended, or without an answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::idempotency::{LeaseToken, Record, RecordKey, State, TokenSource};
use crate::store::StoreError;
use crate::store::kept::KeyHashes;

/// What a record takes with its place in the table.
pub(super) const MARK_BYTES: u64 = 384;

const SHARDS: usize = 64;

/// Records of which none is ever evicted: each stands for an operation that may have been
/// executed, and must not be again.
#[derive(Debug)]
pub(super) struct Marks {
    shards: Box<[Mutex<Shard>]>,
    records: AtomicUsize,
    /// Records that may still get an answer.
    open: AtomicUsize,
    /// When the first of the records no longer counts, or earlier; in milliseconds.
    next_expiry: AtomicU64,
    /// Tokens that nobody outside knows.
    settling: TokenSource,
}

/// How much is in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Records.
    pub(super) records: usize,
    /// Those among them that may still get an answer.
    pub(super) open: usize,
}

impl Load {
    /// The same with one record more.
    pub(super) const fn and_one(self) -> Self {
        Self { records: self.records + 1, open: self.open + 1 }
    }
}

type Shard = HashMap<RecordKey, Record, KeyHashes>;

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            records: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            next_expiry: AtomicU64::new(u64::MAX),
            settling: TokenSource::new(u64::MAX),
        }
    }

    /// How much is in the table.
    pub(super) fn load(&self) -> Load {
        Load {
            records: self.records.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
        }
    }

    pub(super) fn get(&self, key: &RecordKey, now: Timestamp) -> Option<Record> {
        self.shard(key).get(key).filter(|mark| !mark.is_expired(now)).cloned()
    }

    /// Inserts a record unless one that counts stands there; where none does, `may` is asked under
    /// the table's lock whether to, given how much is in the table with this one.
    pub(super) fn insert(
        &self,
        key: &RecordKey,
        next: &Record,
        now: Timestamp,
        may: impl FnOnce(Load) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        match self.shard(key).entry(*key) {
            Entry::Occupied(mut mark) if mark.get().is_expired(now) => {
                self.recount(Some(mark.get()), Some(next));
                mark.insert(next.clone());
                Ok(true)
            }
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(vacant) => {
                // Counted before it is asked, so that a rush cannot exceed a limit.
                self.recount(None, Some(next));
                let may = may(self.load());
                if may == Ok(true) {
                    vacant.insert(next.clone());
                } else {
                    self.recount(Some(next), None);
                }
                may
            }
        }
    }

    /// Replaces or removes the record that shows the token; false if there is none.
    pub(super) fn replace(&self, key: &RecordKey, token: LeaseToken, next: Option<Record>) -> bool {
        let mut shard = self.shard(key);
        let Entry::Occupied(mut mark) = shard.entry(*key) else { return false };
        // What has ended can be forgotten, and not be written over.
        if mark.get().token != token || (next.is_some() && !is_open(mark.get())) {
            return false;
        }
        self.recount(Some(mark.get()), next.as_ref());
        match next {
            Some(next) => {
                mark.insert(next);
            }
            None => {
                mark.remove();
            }
        }
        true
    }

    /// A token that nobody outside knows.
    pub(super) fn settling_token(&self) -> LeaseToken {
        self.settling.next()
    }

    /// Makes the record that shows the token one in flight that nobody else can change, and
    /// returns its new token.
    pub(super) fn begin_settling(&self, key: &RecordKey, token: LeaseToken) -> Option<LeaseToken> {
        let mut shard = self.shard(key);
        let mark = shard.get_mut(key).filter(|mark| mark.token == token && is_open(mark))?;
        let state = State::InFlight { lease_until: Timestamp::MAX };
        let next = Record { token: self.settling_token(), state, ..mark.clone() };
        self.recount(Some(mark), Some(&next));
        *mark = next;
        Some(mark.token)
    }

    /// Shows every record, one part of the table after the other.
    pub(super) fn each(&self, mut show: impl FnMut(&RecordKey, &Record)) {
        for shard in &self.shards {
            lock(shard).iter().for_each(|(key, mark)| show(key, mark));
        }
    }

    /// Drops what no longer counts, if there is anything.
    pub(super) fn sweep_if_due(&self, now: Timestamp) {
        if now.as_millis() > self.next_expiry.load(Ordering::Relaxed) {
            self.sweep(now);
        }
    }

    /// Drops what no longer counts.
    pub(super) fn sweep(&self, now: Timestamp) {
        self.next_expiry.store(u64::MAX, Ordering::Relaxed);
        for shard in &self.shards {
            lock(shard).retain(|_, mark| {
                let expired = mark.is_expired(now);
                if expired {
                    self.recount(Some(mark), None);
                } else {
                    self.note_expiry(mark);
                }
                !expired
            });
        }
    }

    fn note_expiry(&self, record: &Record) {
        let expires_at = match record.state {
            State::InFlight { lease_until } => lease_until.max(record.expires_at),
            State::Completed { .. } | State::Unreplayable | State::Indeterminate => {
                record.expires_at
            }
        };
        self.next_expiry.fetch_min(expires_at.as_millis(), Ordering::Relaxed);
    }

    /// Counts that one record has taken the place of another.
    fn recount(&self, before: Option<&Record>, after: Option<&Record>) {
        if let Some(after) = after {
            self.note_expiry(after);
        }
        for (count, before, after) in [
            (&self.records, before.is_some(), after.is_some()),
            (&self.open, before.is_some_and(is_open), after.is_some_and(is_open)),
        ] {
            match (before, after) {
                (false, true) => _ = count.fetch_add(1, Ordering::Relaxed),
                (true, false) => _ = count.fetch_sub(1, Ordering::Relaxed),
                (false, false) | (true, true) => {}
            }
        }
    }

    fn shard(&self, key: &RecordKey) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(key.as_bytes()[31]) % SHARDS])
    }
}

/// Whether a record may still get an answer.
fn is_open(record: &Record) -> bool {
    match record.state {
        State::InFlight { .. } | State::Indeterminate => true,
        State::Completed { .. } | State::Unreplayable => false,
    }
}

/// A panic elsewhere leaves a map that is whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
