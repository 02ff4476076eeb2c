//! Records in this process's memory: ended ones in a cache of limited size, all others in a
//! table of their own, from which nothing is ever evicted.

mod list;
mod marks;

use std::sync::Arc;
use std::time::Duration;

use self::marks::{Load, MARK_BYTES, Marks};
use super::kept::{Behind, Entry, Kept, RECORD_BYTES};
use super::{Expected, Listed, Page, Store, StoreError, StoreFuture, Swap, Usage};
use crate::clock::{Clock, Timestamp};
use crate::idempotency::{LeaseToken, Record, RecordKey, State};
use crate::telemetry::Metrics;

/// How many records are looked at before others have their turn.
const LISTED_AT_ONCE: usize = 256;

/// How a [`MemoryStore`] is limited.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// The most bytes that ended records take, with what each takes besides its own.
    pub bytes_max: u64,
    /// What happens when there is no room for another.
    pub when_full: WhenFull,
    /// The largest answer that is kept: under [`WhenFull::Refuse`], so much room is set aside for
    /// each operation that runs.
    pub answer_bytes_max: u64,
    /// The most records of operations that have not ended, or without an answer.
    pub marks_max: usize,
}

/// What happens when there is no room for another record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenFull {
    /// The record that was not asked for the longest is dropped, and counted as a broken promise
    /// if its window has not ended.
    #[default]
    Evict,
    /// Requests that would need a record are refused.
    Refuse,
}

/// Records in this process's memory.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    options: MemoryOptions,
    kept: Kept,
    marks: Marks,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(options: MemoryOptions, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let capacity = match options.when_full {
            WhenFull::Evict => options.bytes_max,
            // The store refuses before the cache would evict.
            WhenFull::Refuse => u64::MAX,
        };
        let kept = Kept::new(capacity, Behind::Nothing, clock.clone(), metrics);
        let marks = Marks::new();
        Self { clock, options, kept, marks }
    }

    async fn find(&self, key: &RecordKey) -> Option<Record> {
        let now = self.clock.now();
        // The table first: a record enters the cache before it leaves the table.
        match self.marks.get(key, now) {
            Some(mark) => Some(mark),
            None => self.kept.get(key, now).await,
        }
    }

    /// Writes a record where there is none that counts.
    async fn insert(&self, key: &RecordKey, next: Record) -> Result<Swap, StoreError> {
        loop {
            if !self.has_room(self.marks.load().and_one()) {
                self.marks.sweep_if_due(self.clock.now());
            }
            // Asked under the table's lock, for the same reason.
            let may = |load| self.may_insert(key, load);
            if self.marks.insert(key, &next, self.clock.now(), may)? {
                return Ok(Swap::Done);
            }
            // Nothing is found when what stood in the way has expired since.
            if let Some(found) = self.find(key).await {
                return Ok(Swap::Lost(Some(found)));
            }
        }
    }

    /// Whether no ended record stands in the way of another; an error if there is no room for it.
    fn may_insert(&self, key: &RecordKey, load: Load) -> Result<bool, StoreError> {
        match (self.kept.may_contain(key, self.clock.now()), self.has_room(load)) {
            (true, _) => Ok(false),
            (false, true) => Ok(true),
            (false, false) => Err(StoreError::Full),
        }
    }

    /// Whether there is room for so many marks, and for the answers that they may become.
    fn has_room(&self, marks: Load) -> bool {
        let bytes = match self.options.when_full {
            WhenFull::Evict => 0,
            WhenFull::Refuse => {
                let answer = self.options.answer_bytes_max + RECORD_BYTES;
                (marks.open as u64).saturating_mul(answer).saturating_add(self.kept.bytes())
            }
        };
        marks.records <= self.options.marks_max && bytes <= self.options.bytes_max
    }

    /// Replaces the record that shows the token with one that has an answer.
    async fn settle(&self, key: &RecordKey, token: LeaseToken, next: &Record) -> Settled {
        let entry = self.fitting(next)?;
        // From here on nobody can change the mark, and whoever finds it waits.
        let Some(settling) = self.marks.begin_settling(key, token) else {
            return Ok(Swap::Lost(self.find(key).await));
        };
        self.kept.insert(key, entry).await;
        self.marks.replace(key, settling, None);
        Ok(Swap::Done)
    }

    /// The record as it is kept, if the store can hold it at all.
    fn fitting(&self, record: &Record) -> Result<Entry, StoreError> {
        let entry = Entry::of(record);
        match entry.weigh() <= self.options.bytes_max.min(u64::from(u32::MAX)) {
            true => Ok(entry),
            false => Err(StoreError::TooLarge),
        }
    }

    /// Removes the ended record that shows the token.
    async fn forget(&self, key: &RecordKey, token: LeaseToken) -> Result<Swap, StoreError> {
        let Some(found) = self.find(key).await else { return Ok(Swap::Lost(None)) };
        // From here on nobody can claim the key, and whoever finds it waits.
        let state = State::InFlight { lease_until: Timestamp::MAX };
        let guard = Record { token: self.marks.settling_token(), state, ..found };
        if !self.marks.insert(key, &guard, self.clock.now(), |_| Ok(true))? {
            return Ok(Swap::Lost(self.find(key).await));
        }
        let swapped = match self.kept.get(key, self.clock.now()).await {
            Some(kept) if kept.token == token => {
                self.kept.remove(key).await;
                Swap::Done
            }
            kept => Swap::Lost(kept),
        };
        self.marks.replace(key, guard.token, None);
        Ok(swapped)
    }
}

type Settled = Result<Swap, StoreError>;

fn is_completed(record: &Record) -> bool {
    matches!(record.state, State::Completed { .. })
}

impl Store for MemoryStore {
    fn peek(&self, key: &RecordKey) -> Option<Record> {
        self.kept.peek(key)
    }

    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async { Ok(self.find(key).await) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap> {
        Box::pin(async move {
            match (expected, next) {
                (Expected::Absent, Some(next)) => self.insert(key, next).await,
                (Expected::Absent, None) => Ok(match self.find(key).await {
                    None => Swap::Done,
                    found => Swap::Lost(found),
                }),
                (Expected::HeldBy(token), Some(next)) if is_completed(&next) => {
                    self.settle(key, token, &next).await
                }
                (Expected::HeldBy(token), next) => {
                    let forgets = next.is_none();
                    match self.marks.replace(key, token, next) {
                        true => Ok(Swap::Done),
                        false if forgets => self.forget(key, token).await,
                        false => Ok(Swap::Lost(self.find(key).await)),
                    }
                }
            }
        })
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn maintain(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.marks.sweep(self.clock.now());
            self.kept.maintain().await;
            Ok(())
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed> {
        Box::pin(async { Ok(self.page(page).await) })
    }

    fn usage(&self) -> Usage {
        let marks = self.marks.load().records as u64;
        Usage { records: self.kept.len() + marks, bytes: self.kept.bytes() + marks * MARK_BYTES }
    }
}
