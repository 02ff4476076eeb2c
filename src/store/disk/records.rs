//! The records on disk, and what of them is in memory.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fjall::{Database, PersistMode, Readable as _};
use tokio::runtime::Handle;

use super::claims::Claims;
use super::drawer::{Drawer, Drawers, Span};
use super::folder::{DiskOpenError, Folder};
use super::order::is_completed;
use super::progress::Progress;
use super::times::{Note, Times};
use super::trouble::{Trouble, io_error, words};
use super::{DiskOptions, Durability};
use crate::clock::Clock;
use crate::idempotency::{Record, RecordKey};
use crate::store::kept::{Behind, Entry, Kept};
use crate::store::{StoreError, envelope};
use crate::telemetry::Metrics;

/// All that the writer and those who read share.
pub(super) struct Records {
    pub(super) database: Database,
    pub(super) drawers: Drawers,
    pub(super) claims: Claims,
    /// Answers that are on disk, too.
    pub(super) kept: Kept,
    /// How often an answer was removed. A reader that has found an answer puts it into the cache
    /// only if none was since, under the lock: what was forgotten must not come back.
    pub(super) removals: Mutex<u64>,
    /// What all drawers took on disk when it was last added up.
    room: AtomicU64,
    /// Drawers that wait to be deleted.
    ended: Mutex<Vec<Arc<Drawer>>>,
    pub(super) trouble: Trouble,
    /// What the writer has done.
    pub(super) writing: Progress,
    /// What was read.
    pub(super) reading: Progress,
    pub(super) times: Times,
    folder: Folder,
    pub(super) options: DiskOptions,
    pub(super) metrics: Arc<Metrics>,
}

impl Records {
    pub(super) fn new(
        (folder, note): (Folder, Option<Note>),
        database: Database,
        clock: Clock,
        options: DiskOptions,
        metrics: Arc<Metrics>,
    ) -> fjall::Result<Self> {
        let drawers = Drawers::open(&folder.records(), &database)?;
        let kept = Kept::new(options.bytes_max, Behind::Store, clock.clone(), Arc::clone(&metrics));
        let times = Times::new(clock, note, drawers.longest(), Arc::clone(&metrics));
        let records = Self {
            database,
            drawers,
            claims: Claims::default(),
            kept,
            removals: Mutex::default(),
            room: AtomicU64::new(0),
            ended: Mutex::default(),
            trouble: Trouble::default(),
            writing: Progress::default(),
            reading: Progress::default(),
            times,
            folder,
            options,
            metrics,
        };
        records.measure();
        Ok(records)
    }

    /// What is known without the disk: a claim of this process, or an answer in the cache.
    pub(super) async fn at_hand(&self, key: &RecordKey) -> Option<Record> {
        let now = self.times.now();
        // The table first: an answer enters the cache before its claim leaves the table.
        match self.claims.get(key, now) {
            Some(claim) => Some(claim),
            None => self.kept.get(key, now).await,
        }
    }

    /// The record on disk; an answer enters the cache. It may wait for the disk.
    pub(super) fn read(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let removals = *lock(&self.removals);
        // All drawers at one moment, and the list of them after that: whatever a record moves to
        // between is in it.
        let snapshot = self.database.snapshot();
        for drawer in self.drawers.all().iter() {
            let Some(sealed) = self.unfailing(snapshot.get(&drawer.keyspace, key.as_bytes()))?
            else {
                continue;
            };
            let record = self.open(key, &sealed.into())?;
            if record.is_expired(self.times.now()) {
                return Ok(None);
            }
            if is_completed(&record) {
                let guard = lock(&self.removals);
                if *guard == removals && !self.kept.has(key, record.token) {
                    // A copy of its own: what was read may be part of something larger.
                    Handle::current().block_on(self.kept.insert(key, Entry::of(&record)));
                }
            }
            return Ok(Some(record));
        }
        Ok(None)
    }

    /// The record on disk, whether it counts or not, and where it stands; for the writer.
    pub(super) fn find(&self, key: &RecordKey) -> Result<Option<Standing>, StoreError> {
        for drawer in self.drawers.all().iter() {
            if let Some(sealed) = self.unfailing(drawer.keyspace.get(key.as_bytes()))? {
                let bytes = Drawer::weigh(&sealed);
                let record = self.open(key, &sealed.into())?;
                return Ok(Some(Standing { record, drawer: Arc::clone(drawer), bytes }));
            }
        }
        Ok(None)
    }

    /// The drawer for a span, which is made if it is not there.
    pub(super) fn drawer(&self, span: Span) -> Result<Arc<Drawer>, StoreError> {
        let drawer = self.drawers.get(span, &self.database);
        drawer.map_err(|error| StoreError::Unavailable(words(&error)))
    }

    fn open(&self, key: &RecordKey, sealed: &Bytes) -> Result<Record, StoreError> {
        let record = envelope::open(key, sealed);
        let record = record.map_err(|error| self.corrupt(key, error.to_string()))?;
        Ok(self.times.reading().read(record))
    }

    /// The record, for who only looks: that it can't be read is not counted each time.
    pub(super) fn open_quietly(&self, key: &RecordKey, sealed: &Bytes) -> Option<Record> {
        envelope::open(key, sealed).ok().map(|record| self.times.reading().read(record))
    }

    fn corrupt(&self, key: &RecordKey, reason: String) -> StoreError {
        self.metrics.corrupt_records.increment();
        tracing::warn!(?key, reason, "a record can't be read");
        StoreError::Corrupt(reason)
    }

    /// Takes an answer of the engine below; what it can't read is not absent.
    pub(super) fn unfailing<T>(&self, read: fjall::Result<T>) -> Result<T, StoreError> {
        read.map_err(|error| {
            let reason = words(&error);
            if io_error(&error).is_some() {
                return StoreError::Unavailable(reason);
            }
            self.metrics.corrupt_records.increment();
            StoreError::Corrupt(reason)
        })
    }

    /// Removes an answer from the cache, for good.
    pub(super) async fn uncache(&self, key: &RecordKey) {
        *lock(&self.removals) += 1;
        self.kept.remove(key).await;
    }

    /// Adds up what all drawers take.
    pub(super) fn measure(&self) {
        let room = self.drawers.all().iter().map(|drawer| drawer.room()).sum();
        self.room.store(room, Ordering::Relaxed);
    }

    /// Counts what has been written since.
    pub(super) fn wrote(&self, bytes: u64) {
        self.room.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed) < self.options.disk_bytes_max
    }

    /// Sets aside the drawers in which nothing counts any more.
    pub(super) fn set_aside(&self) {
        if let Some(now) = self.times.sweep(self.drawers.longest()) {
            lock(&self.ended).extend(self.drawers.take_ended(now));
        }
    }

    /// Writes down what time it is.
    pub(super) fn note(&self, note: Note) -> Result<(), DiskOpenError> {
        self.folder.note(note)
    }

    /// Deletes what was set aside, and asks the engine below how it is. It waits for the disk.
    pub(super) fn clean(&self) -> Result<(), StoreError> {
        let mut ended = lock(&self.ended);
        while let Some(drawer) = ended.last() {
            let deleted = self.database.delete_keyspace(drawer.keyspace.clone());
            deleted.map_err(|error| StoreError::Unavailable(words(&error)))?;
            ended.pop();
        }
        drop(ended);
        if let Some(note) = self.times.due() {
            self.note(note).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        self.persist(match self.options.durability {
            // Nothing is left to hand over; it only says how it is.
            Durability::Claim => PersistMode::Buffer,
            Durability::Answer | Durability::None => PersistMode::SyncData,
        })
    }

    /// Hands all that was written to the disk.
    pub(super) fn persist(&self, mode: PersistMode) -> Result<(), StoreError> {
        self.trouble.check()?;
        if let Err(error) = self.database.persist(mode) {
            self.trouble.set(words(&error));
        }
        self.trouble.check()
    }
}

/// A record on disk, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) record: Record,
    pub(super) drawer: Arc<Drawer>,
    /// The bytes that it takes there.
    pub(super) bytes: u64,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves a value that is whole.
pub(super) fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
